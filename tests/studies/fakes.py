"""Rows, recipes and verbs that the tests of the studies share."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edarts import api
from edarts.config import DataConfig, SearchConfig, TrainConfig
from edarts.data import Opened
from edarts.runtime import Session
from edarts.space import zoo
from edarts.space.base import Architecture
from edarts.space.genotype import Genotype
from edarts.studies.base import Recipe
from edarts.studies.driver import StudyReport
from edarts.studies.row import Row
from edarts.studies.work import Verbs

DATA = DataConfig("digits", limit=60)
TRAIN = TrainConfig(cells=2, channels=4, epochs=1, batch_size=16, valid_fraction=0.4)
SEARCH = SearchConfig(method="darts", cells=2, channels=4, epochs=1, batch_size=16)
RECIPE = Recipe(SearchConfig(method="darts"), TRAIN)
CELL = [["sep_conv_3x3", 0, 2], ["skip_connect", 1, 2]]
CELLS = Genotype.from_dict({"normal": CELL, "reduce": CELL})


def fake(name: str, seed: int = 0, valid: float = 0.5, test: float = 0.5, **columns: Any) -> Row:
    """The row of a run that ended; what is no field of a row is a factor."""
    return Row.from_dict(
        {
            "name": name,
            "seed": seed,
            "status": "done",
            "valid_accuracy": valid,
            "valid_images": 100,
            "test_accuracy": test,
            "test_images": 1000,
            "parameters": 1000,
            "flops": 10_000,
            "search_seconds": 10.0,
            "train_seconds": 5.0,
            "seconds": 15.0,
            "images_seen": 600,
            "search_peak_mib": 100.0,
            "normal_skips": 1,
            "reduce_skips": 1,
            "genotype": CELLS.to_dict(),
            **columns,
        }
    )


def named(rows: Iterable[Row]) -> dict[str, Row]:
    """Rows by name, as a study gets them."""
    return {row.name: row for row in rows}


@dataclass(frozen=True)
class Report:
    """What the studies read of all three verbs."""

    genotype: Architecture
    seconds: dict[str, float]
    images_seen: int | None = None
    valid_accuracy: float | None = None
    parameters: int = 1000
    flops: int = 10_000
    test_accuracy: float = 0.5
    test_accuracy_ci95: tuple[float, float] = (0.4, 0.6)
    test_images: int = 359
    run: str | Path | None = None


@dataclass
class Called:
    """One call of a verb."""

    verb: str
    data: Opened
    session: Session
    what: Any
    decoded: int


def recording() -> tuple[Verbs, list[Called]]:
    """Verbs that train nothing, decode what they need, and tell how they were called."""
    calls: list[Called] = []

    def note(verb: str, split: Any, data: Opened, session: Session, what: Any) -> None:
        calls.append(Called(verb, data, session, what, id(data.split(split))))

    def search(data: Opened, config: SearchConfig, session: Session) -> Report:
        note("search", "train", data, session, config)
        return Report(CELLS, {"search": 2.0}, images_seen=100)

    def train(
        design: Architecture | str, data: Opened, config: TrainConfig, session: Session
    ) -> Report:
        note("train", "train", data, session, design)
        made = zoo.get(design).architecture if isinstance(design, str) else design
        valid = 0.5 + session.seed / 100
        return Report(made, {"train": 1.0}, valid_accuracy=valid, run=session.out)

    def evaluate(trained: Report, data: Opened, session: Session) -> Report:
        note("evaluate", "test", data, session, trained.run)
        return Report(CELLS, {"evaluate": 0.1})

    return Verbs(search, train, evaluate), calls


def seeds(recipe: Recipe, count: int) -> Recipe:
    """The recipe with so many seeds."""
    return replace(recipe, seeds=count)


def study(
    kind: str, data: Any, recipe: Recipe, session: Session | None = None, **options: Any
) -> StudyReport:
    """`edarts.study` with what a recipe holds."""
    search, train = recipe.search, recipe.train
    return api.study(kind, data, search, train, session, seeds=recipe.seeds, **options)
