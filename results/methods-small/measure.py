"""Runs `edarts search` for each method in a process of its own; keeps what it says and costs."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from edarts import registry

here = Path(__file__).parent
BUDGET = "--limit 500 --epochs 5 --batch-size 50 --cells 5 --channels 8 --seed 0"
# With 25 architecture steps the papers' learning rates would leave alpha where it starts.
GRADIENT = "--arch-lr 0.02"
SAMPLED = {"enas": "--samples 5 --arch-steps 4", "random_ws": "--samples 20 --arch-steps 5"}

for method in registry.names("methods"):
    kept = here / f"{method}.json"
    if kept.exists():
        continue
    run = Path("runs/methods-small") / method
    shutil.rmtree(run, ignore_errors=True)  # a part of a search would be measured as a whole one
    options = f"search {sys.argv[1]} --method {method} {BUDGET} {SAMPLED.get(method, GRADIENT)}"
    start = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "edarts", *options.split(), "--out", str(run), "--json", "--quiet"],
        stdout=subprocess.PIPE,
        text=True,
    )
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{method}: failed")
    result = json.loads(output.splitlines()[-1])
    result |= {
        "method": method,
        "command": f"edarts {options}",
        "wall_seconds": round(time.monotonic() - start, 1),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_mib": round(usage.ru_maxrss / 1024),
    }
    for file in ("config.yaml", "environment.json", "metrics.jsonl"):
        shutil.copy(run / file, here / f"{method}.{file}")
    kept.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"{method}: {result['wall_seconds']} s, {result['peak_mib']} MiB", flush=True)
