"""What each part of the recipe `fast` brings:

    python results/recipe/measure.py [PLACE ...] [--device cuda] [--workers N] [--data FOLDER]

Trains with `fast`, with `fast` less one part at a time, and with `shallow`, on training images of
which a fifth is held out; the test split is not read. Half the recipe's usual epochs or fewer, so
that it ends within hours on two cores; in the places called long, as many as `find` trains for, and
what may be done with more time. Each training is a row of rows.csv, written when it ends;
what is there for the device is not trained again. Then prints a table for each place. left-out.csv
holds what was measured with parts that the recipe has no longer. `--workers` are so many at once.
"""

import argparse
import csv
import json
import multiprocessing
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import edarts
from edarts.config import DataConfig, TrainConfig
from edarts.nn.baselines.convnet import ConvNet
from edarts.runtime import Session

HERE = Path(__file__).parent
ROWS = HERE / "rows.csv"
SEEDS = (0, 1, 2)
DATA = "../shared/data"
FIELDS = ("device", "place", "recipe", "seed", "valid_accuracy", "seconds")


@dataclass(frozen=True)
class Place:
    """An architecture on data, trained for `epochs` epochs in a precision."""

    architecture: str | ConvNet
    data: DataConfig
    epochs: int
    precision: Any
    parts: Mapping[str, Mapping[str, Any]]


FAST: dict[str, dict[str, Any]] = {
    "fast": {},
    "no rise of the rate": {"rise": 0.0},
    "no Nesterov": {"nesterov": False},
    "labels smoothed by 0.2": {"smoothing": 0.2},
    "zeros around": {"edge": "zeros"},
    "norms and biases decay": {"decay_all": True},
    "flips by chance": {"alternate": False},
    "no mirrored evaluation": {"mirror": False},
    "no jitter": {"jitter": 0.0},
    "batches of 256": {"batch_size": 256},
    "norms follow by a tenth": {"norm_momentum": 0.1},
    "cutout of a quarter": {"cutout": 0.25},
}
CELLS: dict[str, dict[str, Any]] = {
    "fast": {},
    "no whitening stem": {"whitening": False},
    "norms follow by a tenth": {"norm_momentum": 0.1},
}


def long(cutout: float, *trainings: tuple[int, int]) -> dict[str, dict[str, Any]]:
    """Trainings of so many epochs with batches of so many images, as `find` does them."""
    return {
        f"{epochs} epochs, batches of {batch}": {
            "epochs": epochs,
            "batch_size": batch,
            "cutout": cutout,
            "mixup": 0.0,
        }
        for epochs, batch in trainings
    }


def mixed(epochs: int, batch: int) -> dict[str, dict[str, Any]]:
    """The same, and images mixed a little or much."""
    ((name, part),) = long(0.25, (epochs, batch)).items()
    return {name: part} | {
        f"{name}, mixup {alpha}": part | {"mixup": alpha} for alpha in (0.2, 1.0)
    }


SMOOTHED = {
    f"{name}, labels smoothed by 0.1": part | {"smoothing": 0.1}
    for name, part in long(0.25, (64, 256)).items()
}
CIFAR10, CIFAR100 = f"{DATA}/cifar10", f"{DATA}/cifar100"
SMALL, SMILES = DataConfig(CIFAR10, limit=5000), DataConfig(f"{DATA}/smiles", flip=True)
PLACES = {
    "digits": Place("convnet", DataConfig("digits"), 20, "fp32", FAST),
    "cifar10": Place("convnet", SMALL, 12, "bf16", FAST),
    "smiles": Place("convnet", SMILES, 6, "bf16", FAST),
    "cifar100": Place("convnet", DataConfig(CIFAR100, limit=10_000), 6, "bf16", FAST),
    "digits, cells": Place("darts.v2", DataConfig("digits"), 20, "fp32", CELLS),
    "cifar10, cells": Place("darts.v2", SMALL, 6, "fp32", CELLS),
    "digits, long": Place("resnet", DataConfig("digits"), 40, "fp32", long(0, (40, 64), (40, 32))),
    "smiles, long": Place(
        "convnet",
        SMILES,
        48,
        "bf16",
        long(0.25, (48, 256), (64, 256), (64, 128)) | SMOOTHED | mixed(48, 128),
    ),
    "smiles, long, twice as wide": Place(ConvNet(64), SMILES, 24, "bf16", long(0.25, (24, 128))),
    "cifar10, long": Place(
        "convnet", SMALL, 100, "bf16", long(0.25, (100, 128), (200, 128)) | mixed(100, 64)
    ),
    "cifar10, long, twice as wide": Place(
        ConvNet(64), SMALL, 50, "bf16", long(0.25, (50, 128), (50, 64))
    ),
}
Key = tuple[str, str, int]


def recipes(place: str) -> dict[str, TrainConfig]:
    """What is compared there, by name."""
    asked = PLACES[place]
    found = {
        name: TrainConfig.of("fast", **{"valid_fraction": 0.2, "epochs": asked.epochs, **part})
        for name, part in asked.parts.items()
    }
    if "long" in place:
        return found
    times = (1, 3) if "cells" in place else (1,)
    return found | {
        "shallow" if n == 1 else "shallow, three times the epochs": TrainConfig.of(
            "shallow", valid_fraction=0.2, epochs=n * asked.epochs
        )
        for n in times
    }


def rows(device: str) -> dict[Key, float]:
    """(place, recipe, seed) -> accuracy on the images held out, as trained on the device."""
    if not ROWS.exists():
        return {}
    with ROWS.open(encoding="utf-8") as file:
        return {
            (row["place"], row["recipe"], int(row["seed"])): float(row["valid_accuracy"])
            for row in csv.DictReader(file)
            if row["device"] == device
        }


def train(device: str, data: str, key: Key) -> tuple[list[Any], dict[str, Any]]:
    """One training: its row, and where it ran."""
    name, recipe, seed = key
    place = PLACES[name]
    images = replace(place.data, data=place.data.data.replace(DATA, data))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        session = Session(seed=seed, device=device, out=out, precision=place.precision)
        done = edarts.train(place.architecture, images, recipes(name)[recipe], session)
        environment = json.loads((out / "environment.json").read_text("utf-8"))
    return [device, *key, done.valid_accuracy, done.seconds["train"]], environment


def keep(row: Sequence[Any], environment: dict[str, Any]) -> None:
    """Add a row."""
    text = json.dumps(environment, indent=2) + "\n"
    (HERE / f"environment-{row[0]}.json").write_text(text, "utf-8")
    first = not ROWS.exists()
    with ROWS.open("a", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if first:
            writer.writerow(FIELDS)
        writer.writerow(row)


def table(place: str, device: str) -> str:
    """Mean accuracy, and each seed's difference to the first recipe of the place."""
    found, first = rows(device), next(iter(recipes(place)))
    lines = [
        f"| {place} | accuracy, % | minus that of {first}, points, by seed |",
        "|---|---|---|",
    ]
    for recipe in recipes(place):
        seeds = [
            seed for seed in SEEDS if {(place, recipe, seed), (place, first, seed)} <= {*found}
        ]
        if not seeds:
            continue
        runs, usual = ([found[place, name, seed] for seed in seeds] for name in (recipe, first))
        mean = 100 * statistics.mean(runs)
        minus = ", ".join(f"{100 * (a - b):+.2f}" for a, b in zip(runs, usual, strict=True))
        lines.append(f"| {recipe} | {mean:.2f} | {minus} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("places", nargs="*", default=[*PLACES])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--data", default=DATA)
    asked = parser.parse_args()
    there = rows(asked.device)
    every = [
        (place, name, seed) for seed in SEEDS for place in asked.places for name in recipes(place)
    ]
    with ProcessPoolExecutor(asked.workers, multiprocessing.get_context("spawn")) as pool:
        trained = [
            pool.submit(train, asked.device, asked.data, key) for key in every if key not in there
        ]
        for one in as_completed(trained):
            keep(*one.result())
    for place in asked.places:
        print(table(place, asked.device), end="\n\n", flush=True)


if __name__ == "__main__":
    main()
