"""Now minus before, paired by seed: test accuracy of the found cells, search time; difference.json."""

import csv
import json
from pathlib import Path

from edarts.reporting import stats

out = Path(__file__).parent
runs = {}
for attention in ("before", "now"):
    with (out / attention / "rows.csv").open(encoding="utf-8", newline="") as file:
        runs[attention] = sorted(csv.DictReader(file), key=lambda row: int(row["seed"]))
assert [row["seed"] for row in runs["before"]] == [row["seed"] for row in runs["now"]]
found = {}
for column in ("test_accuracy", "search_seconds", "parameters"):
    before, now = ([float(row[column]) for row in runs[name]] for name in ("before", "now"))
    gain = stats.paired(now, before)
    found[column] = {
        "before": round(sum(before) / len(before), 4),
        "now": round(sum(now) / len(now), 4),
        "difference": gain.value,
        "ci95": [gain.low, gain.high],
        "p": gain.p,
    }
(out / "difference.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
print(json.dumps(found, indent=2))
