"""Best score so far by trial, mean over seeds with 95 % t-interval: curves.csv, curves.png.

And the difference between the methods in the last trial, paired by seed: difference.json.
"""

import csv
import json
import sys
from pathlib import Path

import matplotlib
import numpy as np
from scipy.stats import t

from edarts.reporting import stats

matplotlib.use("Agg")
import matplotlib.pyplot as plt

METHODS = ("regularized_evolution", "random_search")

out = Path(sys.argv[1])
rows, figure, last = [], plt.figure(figsize=(6, 4)), {}
for method in METHODS:
    runs = []
    for path in sorted(out.glob(f"{method}-*.metrics.jsonl")):
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        scores = [line["score"] for line in lines if line["score"] is not None]
        runs.append(np.maximum.accumulate(scores))
    shortest = min(map(len, runs))
    best = np.array([run[:shortest] for run in runs])
    last[method] = best[:, -1].tolist()
    mean = best.mean(axis=0)
    error = best.std(axis=0, ddof=1) / np.sqrt(len(best)) * t.ppf(0.975, len(best) - 1)
    place = np.arange(1, shortest + 1)
    plt.plot(place, mean, label=method)
    plt.fill_between(place, mean - error, mean + error, alpha=0.2)
    rows += [
        [method, n, len(best), *(round(float(v), 5) for v in (m, m - e, m + e))]
        for n, m, e in zip(place, mean, error, strict=True)
    ]
plt.xlabel("trials")
plt.ylabel("best accuracy so far, held-out training images")
plt.legend()
figure.tight_layout()
figure.savefig(out / "curves.png", dpi=150)
with (out / "curves.csv").open("w", newline="", encoding="utf-8") as file:
    csv.writer(file).writerows([["method", "trial", "seeds", "mean", "low", "high"], *rows])
gain = stats.paired(*(last[method] for method in METHODS))
found = {"best_after_all_trials": last, "difference": gain.value, "ci95": [gain.low, gain.high]}
(out / "difference.json").write_text(json.dumps(found | {"p": gain.p}, indent=2) + "\n")
print(json.dumps(found | {"p": gain.p}))
