"""Methods and published cells, trained alike, each method beside random cells of equal cost."""

import hashlib
import random
from dataclasses import dataclass, replace
from functools import cache
from typing import ClassVar

from edarts.config import SearchConfig, TrainConfig
from edarts.errors import UsageError
from edarts.methods.oneshot import driver as oneshot
from edarts.methods.oneshot import registry_ as methods
from edarts.nn.whole import Whole
from edarts.reporting import stats
from edarts.reporting.model import Plot, Series, Summary, Table
from edarts.space import zoo
from edarts.space.darts import Space
from edarts.space.zoo import Published
from edarts.studies.base import (
    MEASURED,
    Job,
    Recipe,
    Row,
    Rows,
    average,
    cells_of,
    column,
    done,
    groups,
    paired,
    percent,
    seeds,
    verdict,
)

# The published row that a method's measured one stands beside.
PUBLISHED = {
    "edarts": "eDARTS CIFAR10 + cutout",
    "darts": "darts.v1",
    "pc_darts": "pc_darts.cifar10",
    "p_darts": "p_darts.cifar10",
    "fair_darts": "fair_darts.a",
    "snas": "snas.moderate",
    "proxyless": "proxyless.cifar10",
    "enas": "enas.script",
}


@dataclass(frozen=True)
class Compare:
    """`methods`, `zoo`: names with commas. `random_cells`: how many random cells each method and
    seed is compared with; None: as many trainings as its search and training took the time of.
    Of them the one with the highest valid accuracy counts.
    """

    SEEDS: ClassVar[int] = 3
    recipe: Recipe
    methods: str = "edarts,darts,random_ws"
    zoo: str = ""
    random_cells: int | None = None

    def __post_init__(self) -> None:
        if self.random_cells is not None and self.random_cells < 1:
            raise UsageError(f"random_cells must be at least 1, got {self.random_cells}")
        if not self.names():
            raise UsageError("compare needs at least one method, such as --methods edarts,darts")
        taken = {option for name in self.names() for option in methods.options(name)}
        untaken = set(vars(self.recipe.search)) - taken - {"method"}
        if untaken:
            self.recipe.leave_open("none of the methods takes it", *untaken)
        for name in self.published():
            zoo.get(name)

    def names(self) -> list[str]:
        """The methods, each once."""
        return _words(self.methods)

    def published(self) -> list[str]:
        """The zoo names, each once."""
        return _words(self.zoo)

    def search(self, method: str) -> SearchConfig:
        """The recipe's search with this method; an option that it does not take is left out."""
        taken = methods.options(method)
        kept = {key: value for key, value in vars(self.recipe.search).items() if key in taken}
        return SearchConfig(method=method, **kept)

    def jobs(self, rows: Rows) -> list[Job]:
        found = []
        for seed in seeds(self):
            for method in self.names():
                name = f"{method}-seed-{seed}"
                factors = {"kind": "method", "architecture": method}
                search = self.search(method)
                found.append(Job(name, factors, seed, self.recipe.train, search=search))
            for entry in self.published():
                factors = {"kind": "zoo", "architecture": entry}
                train = _recipe_of(entry, self.recipe.train)
                found.append(Job(f"{entry}-seed-{seed}", factors, seed, train, genotype=entry))
        for seed in seeds(self):
            for method in self.names():
                for number in range(self._random_cells(method, seed, rows)):
                    found.append(self._random(method, seed, number))
        return list({job.name: job for job in found}.values())

    def _random_cells(self, method: str, seed: int, rows: Rows) -> int:
        """How many trainings cost as much as the method's search and training did."""
        row = rows.get(f"{method}-seed-{seed}")
        if row is None or row["status"] != "done":
            return 0
        if self.random_cells is not None:
            return self.random_cells
        ratio: float = row["search_seconds"] / max(row["train_seconds"], 1e-9)
        return 1 + round(ratio)

    def _random(self, method: str, seed: int, number: int) -> Job:
        """Cell `number` of the seed's draws; methods with the same space share them."""
        space = _space(self.search(method))
        text = repr((space.operations, space.normal, space.reduce, space.pairs))
        mark = hashlib.sha256(text.encode()).hexdigest()[:6]
        draw = random.Random(f"{text} {seed} {number}")
        factors = {"kind": "random", "architecture": f"random-{mark}", "draw": number}
        name = f"random-{mark}-{number}-seed-{seed}"
        return Job(name, factors, seed, self.recipe.train, genotype=space.sample(draw))

    def baselines(self, rows: Rows) -> dict[str, list[Row]]:
        """Method -> the best random cell of each seed by valid accuracy, if all were trained."""
        found: dict[str, list[Row]] = {}
        for method in self.names():
            for seed in seeds(self):
                count = self._random_cells(method, seed, rows)
                drawn = [rows.get(self._random(method, seed, n).name) for n in range(count)]
                ended = [row for row in drawn if row is not None and row["status"] == "done"]
                if ended and None not in drawn:
                    best = max(ended, key=lambda row: row["valid_accuracy"])
                    total = sum(row["train_seconds"] for row in ended)
                    found.setdefault(method, []).append(
                        best | {"cells_drawn": len(ended), "search_seconds": total}
                    )
        return found

    def summary(self, rows: Rows) -> Summary:
        ended = done(rows)
        named = groups((row for row in ended if row["kind"] != "random"), "architecture")
        baselines = self.baselines(rows)
        if not named:
            return Summary("Comparison", ["No run has ended."], [], [])
        pairs: dict[tuple[str, str], stats.Estimate] = {}
        for method, group in baselines.items():
            _add(pairs, (method, f"random cells ({method}'s space and cost)"), named[method], group)
        first = next(iter(named))
        for name, group in named.items():
            if name != first:
                _add(pairs, (first, name), named[first], group)
        pairs = stats.corrected(pairs)
        sentences = [verdict(e, *key) for key, e in pairs.items()]
        least = min((e.n for e in pairs.values()), default=0)
        sentences.append(
            "The intervals and tests are over seeds, on one data split"
            + (f", of which there are {least}: only large differences can show." if least else ".")
            + " Nothing follows for other data, sizes or longer training."
        )
        shown = {
            **named,
            **{f"random cells ({method})": group for method, group in baselines.items()},
        }
        table = Table(
            "Measured",
            (
                *("architecture", "runs", "test error", "parameters", "FLOPs", "search s"),
                *("images seen", "search peak MiB", "train s", "cells drawn"),
            ),
            [
                (
                    name,
                    len(group),
                    _error(group),
                    average(group, "parameters"),
                    average(group, "flops"),
                    average(group, "search_seconds"),
                    average(group, "images_seen"),
                    average(group, "search_peak_mib"),
                    average(group, "train_seconds"),
                    average(group, "cells_drawn"),
                )
                for name, group in shown.items()
            ],
            f"{MEASURED}; every row has the same training recipe; means with 95 % intervals over"
            " seeds. Random cells: the best by valid accuracy of as many as the method's cost pays"
            " for; their search seconds are those of all trainings. Peak: of the process, or of"
            " the GPU",
        )
        published = Table(
            "Published, at full size on CIFAR-10 and CIFAR-100",
            ("architecture", "C10 error, %", "C100 error, %", "parameters, M", "GPU-days"),
            [(name, *vars(p).values()) for name in named if (p := _published(name)) is not None],
            "the papers' figures, of networks of 20 cells: not comparable with those measured here",
        )
        tests = Table(
            "Differences in test accuracy",
            ("first", "second", "first - second", "p (Holm)"),
            [(*key, e, e.p) for key, e in pairs.items()],
            "paired by seed; t test; Holm's correction over this table",
        )
        return Summary(
            "Comparison", sentences, [table, tests, published], _plots(shown), cells_of(named, "{}")
        )


def _plots(shown: dict[str, list[Row]]) -> list[Plot]:
    def error(row: Row) -> float:
        return 100 * (1 - float(row["test_accuracy"]))

    members = [(name, row) for name, group in shown.items() for row in group]
    texts = {name: [f"{r['name']}: {percent(1 - r['test_accuracy'])}" for r in g]
             for name, g in shown.items()}  # fmt: skip
    return [
        Plot(
            "error",
            "Test error",
            "architecture",
            "test error, %",
            [
                Series(
                    "run",
                    [name for name, _ in members],
                    [error(row) for _, row in members],
                    [text for group in texts.values() for text in group],
                ),
                Series(
                    "mean, 95 % interval over seeds",
                    list(shown),
                    [stats.mean([error(row) for row in group]) for group in shown.values()],
                ),
            ],
        ),
        Plot(
            "size",
            "Test error against size",
            "parameters, thousands",
            "test error, %",
            [
                Series(
                    name,
                    [row["parameters"] / 1000 for row in group],
                    [error(row) for row in group],
                    texts[name],
                )
                for name, group in shown.items()
            ],
        ),
    ]


def _words(text: str) -> list[str]:
    return list(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))


def _recipe_of(entry: str, train: TrainConfig) -> TrainConfig:
    """A whole network has its own depth and width."""
    if not isinstance(zoo.get(entry).architecture, Whole):
        return train
    return replace(train, cells=None, channels=None, auxiliary=0.0, drop_path=0.0)


@cache
def _space(config: SearchConfig) -> Space:
    """The data decide nothing of a space."""
    return oneshot.resolve_config(config, 1000, 10)[1]


def _add(
    pairs: dict[tuple[str, str], stats.Estimate],
    key: tuple[str, str],
    first: list[Row],
    second: list[Row],
) -> None:
    difference = paired(first, second, "test_accuracy")
    if difference is not None:
        pairs[key] = difference


def _error(group: list[Row]) -> stats.Estimate:
    return stats.mean([1 - accuracy for accuracy in column(group, "test_accuracy")])


def _published(name: str) -> Published | None:
    entry = PUBLISHED.get(name, name)
    if entry in zoo.names():
        return zoo.get(entry).published
    return zoo.absent(entry)


PLUGIN = Compare
