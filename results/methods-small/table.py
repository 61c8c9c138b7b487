"""Writes table.csv and table.md from the searches' files: one row per method."""

import csv
import json
from pathlib import Path

from edarts import Genotype

here = Path(__file__).parent
HEAD = ("method", "seconds", "cpu_seconds", "peak_mib", "weight_steps", "architecture_steps")
HEAD += ("forward", "backward", "images_seen", "skips_normal", "skips_reduce", "normal", "reduce")
rows = []
for path in sorted(here.glob("*.json")):
    if path.name.endswith(".environment.json"):
        continue
    r = json.loads(path.read_text(encoding="utf-8"))
    cells = Genotype.from_dict(r["genotype"])
    rows.append(
        [r["method"], r["seconds"]["search"], r["cpu_seconds"], r["peak_mib"]]
        + [r["steps"]["weight"], r["steps"]["architecture"]]
        + [r["passes"]["forward"], r["passes"]["backward"], r["images_seen"]]
        + [r["skips"]["normal"], r["skips"]["reduce"]]
        + [cells.describe("normal"), cells.describe("reduce")]
    )
with (here / "table.csv").open("w", newline="", encoding="utf-8") as file:
    csv.writer(file).writerows([HEAD, *rows])
lines = [HEAD, ["---"] * len(HEAD), *rows]
text = "".join("| " + " | ".join(map(str, line)) + " |\n" for line in lines)
(here / "table.md").write_text(text, encoding="utf-8")
print(text, end="")
