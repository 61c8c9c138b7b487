"""Trials per minute of a random search on the digits with one worker and with two, in turn.

From the root of the repository, on an idle machine: `python results/workers/measure.py`. Writes
workers.json. One worker has all threads of the process, two have half of them each; a third row is
one worker with one thread. The first trial of each worker is left out: it starts Python and loads
torch. The clock runs from the end of the last of these to the end of the last trial.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import optuna

from edarts.run import environment

TRIALS, ROUNDS = 32, 2
SEARCH = [
    *("search", "digits", "--method", "random_search", "--trials", str(TRIALS), "--quiet"),
    *("--operations", "all", "--topology", "all"),
    *("--epochs", "4", "--cells", "3", "--channels", "8", "--batch-size", "128"),
]


def rate(workers: int, threads: int | None) -> float:
    """Trials per minute; `threads` of the process, None for those that it takes by itself."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    limit = {} if threads is None else dict.fromkeys(names, str(threads))
    with tempfile.TemporaryDirectory() as folder:
        storage = f"sqlite:///{folder}/ledger.db"
        command = [sys.executable, "-m", "edarts", *SEARCH, "--workers", str(workers)]
        subprocess.run(
            [*command, "--storage", storage, "--out", f"{folder}/run"],
            check=True,
            stdout=subprocess.DEVNULL,
            env=os.environ | limit,
        )
        trials = optuna.load_study(study_name=None, storage=storage).get_trials(deepcopy=False)
    ends = sorted(t.datetime_complete for t in trials if t.datetime_complete)
    return 60 * (len(ends) - workers) / (ends[-1] - ends[workers - 1]).total_seconds()


CASES = {"1": (1, None), "2": (2, None), "1, one thread": (1, 1)}
found: dict[str, list[float]] = {case: [] for case in CASES}
for _ in range(ROUNDS):
    for case, rates in found.items():
        rates.append(round(rate(*CASES[case]), 2))
        print(case, rates[-1], flush=True)
one, two, single = (statistics.median(rates) for rates in found.values())
result = {
    "command": "edarts " + " ".join(SEARCH) + " --workers N",
    "trials_per_minute": found,
    "ratio_of_medians": round(two / one, 2),
    "ratio_to_one_thread": round(two / single, 2),
    "cores": os.cpu_count(),
    "environment": environment(),
}
Path(__file__).with_name("workers.json").write_text(json.dumps(result, indent=2) + "\n")
print(json.dumps(result["ratio_of_medians"]))
