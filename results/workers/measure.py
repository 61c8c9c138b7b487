"""Trials per minute of a random search on the digits with one worker and with two, in turn.

From the root of the repository, on an idle machine: `python results/workers/measure.py`. Writes
workers.json. One worker has all threads of the process, two have half of them each; a third row is
one worker with one thread. Batches of 128 images keep two threads busy, those of 16 hardly. The
first trial of each worker is left out: it starts Python and loads torch. The clock runs from the
end of the last of these to the end of the last trial.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import optuna

from edarts.runs.environment import environment

TRIALS, ROUNDS = {128: 32, 16: 16}, 2  # trials for each batch size
SEARCH = [
    *("search", "digits", "--method", "random_search", "--quiet"),
    *("--operations", "all", "--topology", "all"),
    *("--epochs", "4", "--cells", "3", "--channels", "8"),
]


def rate(batch: int, workers: int, threads: int | None) -> float:
    """Trials per minute; `threads` of the process, None for those that it takes by itself."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    limit = {} if threads is None else dict.fromkeys(names, str(threads))
    with tempfile.TemporaryDirectory() as folder:
        storage = f"sqlite:///{folder}/ledger.db"
        command = [sys.executable, "-m", "edarts", *SEARCH, "--workers", str(workers)]
        size = ["--batch-size", str(batch), "--trials", str(TRIALS[batch])]
        subprocess.run(
            [*command, *size, "--storage", storage, "--out", f"{folder}/run"],
            check=True,
            stdout=subprocess.DEVNULL,
            env=os.environ | limit,
        )
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        trials = optuna.load_study(study_name=None, storage=storage).get_trials(deepcopy=False)
    ends = sorted(t.datetime_complete for t in trials if t.datetime_complete)
    return 60 * (len(ends) - workers) / (ends[-1] - ends[workers - 1]).total_seconds()


CASES = {"1": (1, None), "2": (2, None), "1, one thread": (1, 1)}
result: dict[str, object] = {
    "command": "edarts " + " ".join(SEARCH) + " --batch-size B --trials T --workers N",
    "cores": os.cpu_count(),
    "environment": environment(),
}
for batch in TRIALS:
    found: dict[str, list[float]] = {case: [] for case in CASES}
    for _ in range(ROUNDS):
        for case, rates in found.items():
            rates.append(round(rate(batch, *CASES[case]), 2))
            print(batch, case, rates[-1], flush=True)
    one, two, single = (statistics.median(rates) for rates in found.values())
    result[f"batches of {batch}"] = {
        "trials_per_minute": found,
        "ratio_of_medians": round(two / one, 2),
        "ratio_to_one_thread": round(two / single, 2),
    }
    print(json.dumps(result[f"batches of {batch}"]))
Path(__file__).with_name("workers.json").write_text(json.dumps(result, indent=2) + "\n")
