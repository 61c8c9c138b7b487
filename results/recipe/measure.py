"""What each part of the recipe `fast` brings: python results/recipe/measure.py [PLACE ...]

Trains with `shallow`, with `fast`, and with `fast` less one part at a time, on training images of
which a fifth is held out; the test split is not read. Each training is a row of rows.csv, written
when it ends; what is there is not trained again. Then prints a table.
"""

import csv
import json
import statistics
import sys
import tempfile
from pathlib import Path

import edarts
from edarts.config import DataConfig, TrainConfig
from edarts.runtime import Session

HERE = Path(__file__).parent
ROWS = HERE / "rows.csv"
SEEDS = (0, 1, 2)
DATA = "../shared/data"
PLACES = {  # name -> architecture and data
    "digits": ("darts.v2", DataConfig("digits")),
    "cifar10": ("resnet", DataConfig(f"{DATA}/cifar10", limit=5000)),
}
RECIPES = {
    "shallow": TrainConfig.of("shallow", valid_fraction=0.2),
    "fast": TrainConfig.of("fast", valid_fraction=0.2),
    "fast, cosine": TrainConfig.of("fast", valid_fraction=0.2, rise=1.0),
    "fast, no Nesterov": TrainConfig.of("fast", valid_fraction=0.2, nesterov=False),
    "fast, no smoothing": TrainConfig.of("fast", valid_fraction=0.2, smoothing=0.0),
    "fast, all decays": TrainConfig.of("fast", valid_fraction=0.2, decay_all=True),
}
Key = tuple[str, str, int]


def rows() -> dict[Key, tuple[float, float]]:
    """(place, recipe, seed) -> accuracy on the images held out, and the seconds of training."""
    if not ROWS.exists():
        return {}
    with ROWS.open(encoding="utf-8") as file:
        return {
            (row["place"], row["recipe"], int(row["seed"])): (
                float(row["valid_accuracy"]),
                float(row["seconds"]),
            )
            for row in csv.DictReader(file)
        }


def train(place: str, recipe: str, seed: int) -> None:
    """One training, and its row."""
    architecture, data = PLACES[place]
    with tempfile.TemporaryDirectory() as folder:
        session = Session(seed=seed, device="cpu", out=Path(folder) / "run")
        done = edarts.train(architecture, data, RECIPES[recipe], session)
        environment = json.loads((Path(folder) / "run" / "environment.json").read_text("utf-8"))
    (HERE / "environment.json").write_text(json.dumps(environment, indent=2) + "\n", "utf-8")
    first = not ROWS.exists()
    with ROWS.open("a", encoding="utf-8") as file:
        if first:
            file.write("place,recipe,seed,valid_accuracy,seconds\n")
        file.write(f'{place},"{recipe}",{seed},{done.valid_accuracy},{done.seconds["train"]}\n')


def table(place: str) -> str:
    """Mean accuracy, each seed's difference to `fast`, and the median of the seconds."""
    found = rows()
    lines = [
        f"| {place} | accuracy, % | minus that of fast, points, by seed | seconds |",
        "|---|---|---|---|",
    ]
    for recipe in RECIPES:
        runs = [found[place, recipe, seed] for seed in SEEDS if (place, recipe, seed) in found]
        if len(runs) < len(SEEDS):
            continue
        fast = [found[place, "fast", seed] for seed in SEEDS]
        mean = 100 * statistics.mean(accuracy for accuracy, _ in runs)
        minus = ", ".join(f"{100 * (a[0] - b[0]):+.2f}" for a, b in zip(runs, fast, strict=True))
        seconds = statistics.median(seconds for _, seconds in runs)
        lines.append(f"| {recipe} | {mean:.2f} | {minus} | {seconds:.1f} |")
    return "\n".join(lines)


def main(places: list[str]) -> None:
    for place in places or PLACES:
        for seed in SEEDS:
            for recipe in RECIPES:
                if (place, recipe, seed) not in rows():
                    train(place, recipe, seed)
        print(table(place), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
