"""What `--balance` does for a rare class: python results/balance/measure.py

1,900 automobiles and 100 trucks of CIFAR-10's training images; recall of both classes on the 1,000
test images of each. Each training is a row of rows.csv; what is there is not trained again. Then
prints a table.
"""

import csv
import json
import statistics
import tempfile
from pathlib import Path

import torch

import edarts
from edarts.config import DataConfig, TrainConfig
from edarts.data import Dataset, load
from edarts.runtime import Session

HERE = Path(__file__).parent
ROWS = HERE / "rows.csv"
SEEDS = range(5)
HOW = ("none", "loss", "sampler")
NAMES, COUNTS = ("automobile", "truck"), (1900, 100)


def part(split: str, counts: tuple[int, int]) -> Dataset:
    """So many images of the two classes."""
    data = load(DataConfig("../shared/data/cifar10"), split)  # type: ignore[arg-type]
    index, labels = [], []
    for label, (name, count) in enumerate(zip(NAMES, counts, strict=True)):
        mine = torch.nonzero(data.labels == data.classes.index(name)).flatten()[:count]
        index.append(mine)
        labels.append(torch.full((len(mine),), label))
    return Dataset(data.images[torch.cat(index)], torch.cat(labels), NAMES, "unbalanced")


def rows() -> dict[tuple[str, int], tuple[float, float]]:
    """(balance, seed) -> recall of the common and of the rare class."""
    if not ROWS.exists():
        return {}
    with ROWS.open(encoding="utf-8") as file:
        return {
            (row["balance"], int(row["seed"])): (float(row["common"]), float(row["rare"]))
            for row in csv.DictReader(file)
        }


def main() -> None:
    # 0.01 of the training images is cut off as a test split, which nothing is asked of.
    train = DataConfig.of(part("train", COUNTS), test_fraction=0.01)
    test = part("test", (1000, 1000))
    for seed in SEEDS:
        for how in HOW:
            if (how, seed) in rows():
                continue
            with tempfile.TemporaryDirectory() as folder:
                session = Session(seed=seed, device="cpu", out=Path(folder) / "run")
                config = TrainConfig(epochs=12, balance=how)  # type: ignore[arg-type]
                done = edarts.train("resnet", train, config, session)
                found = edarts.evaluate(done, test)
                environment = json.loads((Path(folder) / "run" / "environment.json").read_text())
            (HERE / "environment.json").write_text(json.dumps(environment, indent=2) + "\n")
            first = not ROWS.exists()
            with ROWS.open("a", encoding="utf-8", newline="") as file:
                writer = csv.writer(file, lineterminator="\n")
                if first:
                    writer.writerow(("balance", "seed", "common", "rare"))
                writer.writerow([how, seed, *(found.per_class[name] for name in NAMES)])
    print("| --balance | recall of automobiles, % | recall of trucks (rare), % by seed | mean |")
    print("|---|---|---|---|")
    for how in HOW:
        mine = [rows()[how, seed] for seed in SEEDS]
        rare = [100 * row[1] for row in mine]
        common = 100 * statistics.mean(row[0] for row in mine)
        each = ", ".join(f"{value:.1f}" for value in rare)
        print(f"| {how} | {common:.1f} | {each} | {statistics.mean(rare):.1f} |")


if __name__ == "__main__":
    main()
