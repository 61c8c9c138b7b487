"""Writes table.csv from the runs' files: one row per network."""

import csv
import json
from pathlib import Path

import yaml

here = Path(__file__).parent
with (here / "table.csv").open("w", newline="", encoding="utf-8") as file:
    table = csv.writer(file)
    table.writerow(
        ["cell", "test_accuracy", "ci95_low", "ci95_high", "test_images", "parameters"]
        + ["flops", "train_images", "epochs", "train_seconds", "data"]
    )
    for name in ("edarts", "darts.v2", "random-1", "random-2"):
        result = json.loads((here / f"{name}.evaluation.json").read_text(encoding="utf-8"))
        config = yaml.safe_load((here / f"{name}.config.yaml").read_text(encoding="utf-8"))
        lines = (here / f"{name}.metrics.jsonl").read_text(encoding="utf-8").splitlines()
        low, high = result["test_accuracy_ci95"]
        table.writerow(
            [name, f"{result['test_accuracy']:.4f}", f"{low:.4f}", f"{high:.4f}"]
            + [result["test_images"], result["parameters"], result["flops"]]
            + [config["limit"], config["epochs"]]
            + [round(json.loads(lines[-1])["seconds"]), "CIFAR-10 (JPEG)"]
        )
print((here / "table.csv").read_text(encoding="utf-8"), end="")
