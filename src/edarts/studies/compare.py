"""Methods and published cells, trained alike, each method beside random cells of equal cost."""

import hashlib
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from edarts.config import UNSET, SearchConfig, TrainConfig
from edarts.errors import UsageError
from edarts.reporting import stats
from edarts.reporting.model import Column, Plot, Series, Summary, Table
from edarts.reporting.stats import Estimate
from edarts.space import zoo
from edarts.space.zoo import Published
from edarts.studies import searches
from edarts.studies.base import Job, Recipe, seeds, words
from edarts.studies.row import Factor, Row
from edarts.studies.rows import (
    Rows,
    average,
    best_valid,
    column,
    done,
    found_by,
    groups,
    paired,
    right_answers,
    total,
)
from edarts.studies.text import MEASURED, NO_RUN, percent, verdict

ByName = dict[str, list[Row]]
Pairs = dict[tuple[str, str], Estimate]
Compared = tuple[tuple[str, str], list[Row], list[Row]]
"""The names of two groups of rows, and the rows."""
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
COLUMNS = (
    Column("architecture"),
    Column("runs"),
    Column("test error", "share"),
    Column("parameters"),
    Column("FLOPs"),
    Column("search s", "s"),
    Column("images seen"),
    Column("search peak MiB", "MiB"),
    Column("train s", "s"),
    Column("cells drawn"),
)
PUBLISHED_COLUMNS = (
    Column("architecture"),
    Column("C10 error, %", "%"),
    Column("C100 error, %", "%"),
    Column("parameters, M", "M"),
    Column("GPU-days", "d"),
)
PAIR_COLUMNS = (
    Column("first"),
    Column("second"),
    Column("first - second", "points"),
    Column("p (Holm)"),
)
IMAGE_COLUMNS = (
    Column("first"),
    Column("second"),
    Column("seed"),
    Column("first - second", "points"),
    Column("p (Holm)"),
)


@dataclass(frozen=True)
class CompareOptions:
    """What can be chosen of the comparison."""

    methods: str = "edarts,darts,random_ws"
    """Methods, one-shot or black-box, names with commas."""
    zoo: str = ""
    """Published cells and networks, names with commas (see `edarts zoo list`)."""
    random_cells: int | None = None
    """How many random cells each method and seed is compared with; if not given, as many as its
    search and training together could have trained."""

    def __post_init__(self) -> None:
        if self.random_cells is not None and self.random_cells < 1:
            raise UsageError(f"random_cells must be at least 1, got {self.random_cells}")
        if not words(self.methods):
            raise UsageError("compare needs at least one method, such as --methods edarts,darts")


class CompareStudy:
    """Each method's architecture against published ones and against the best of random cells.

    Of the random cells of a seed the one with the highest valid accuracy counts.
    """

    SEEDS: ClassVar[int] = 3
    Options: ClassVar[type] = CompareOptions

    def __init__(self, recipe: Recipe, options: CompareOptions | None = None) -> None:
        self.recipe, self.options = recipe, options or CompareOptions()
        self.methods, self.published = words(self.options.methods), words(self.options.zoo)
        taken = set().union(*(searches.taken(name) for name in self.methods))
        if untaken := recipe.search.given().keys() - taken:
            recipe.leave_open("none of the methods takes it", *untaken)
        for name in self.published:
            zoo.get(name)

    # -- runs ------------------------------------------------------------------------------------

    def jobs(self, rows: Rows) -> list[Job]:
        """The methods and published cells of each seed, then the random cells of ended methods."""
        named = [
            job
            for seed in seeds(self)
            for job in (
                *(self._method_job(method, seed) for method in self.methods),
                *(self._zoo_job(entry, seed) for entry in self.published),
            )
        ]
        drawn = [
            self._random_job(method, seed, number)
            for seed in seeds(self)
            for method in self.methods
            for number in range(self._cells_due(method, seed, rows))
        ]
        return list({job.name: job for job in [*named, *drawn]}.values())

    def search(self, method: str) -> SearchConfig:
        """The recipe's search with this method; an option that it does not take is left out."""
        return self.recipe.search.for_method(method)

    def _method_job(self, method: str, seed: int) -> Job:
        factors = {"kind": "method", "architecture": method}
        search = self.search(method)
        return Job(f"{method}-seed-{seed}", factors, seed, self.recipe.train, search=search)

    def _zoo_job(self, entry: str, seed: int) -> Job:
        factors = {"kind": "zoo", "architecture": entry}
        train = _recipe_of(entry, self.recipe.train)
        return Job(f"{entry}-seed-{seed}", factors, seed, train, genotype=entry)

    def _random_job(self, method: str, seed: int, number: int) -> Job:
        """Cell `number` of the seed's draws; methods with the same space share them."""
        draws = searches.draws(self.search(method))
        mark = hashlib.sha256(draws.text.encode()).hexdigest()[:6]
        cell = draws.sample(random.Random(f"{draws.text} {seed} {number}"))
        factors: dict[str, Factor] = {
            "kind": "random",
            "architecture": f"random-{mark}",
            "draw": number,
        }
        name = f"random-{mark}-{number}-seed-{seed}"
        return Job(name, factors, seed, self.recipe.train, genotype=cell)

    def _cells_due(self, method: str, seed: int, rows: Rows) -> int:
        """How many trainings cost as much as the method's search and training did."""
        row = rows.get(f"{method}-seed-{seed}")
        if row is None or row.status != "done":
            return 0
        if self.options.random_cells is not None:
            return self.options.random_cells
        return 1 + round((row.search_seconds or 0.0) / max(row.train_seconds or 0.0, 1e-9))

    # -- answer ----------------------------------------------------------------------------------

    def baselines(self, rows: Rows) -> ByName:
        """Method -> the best random cell of each seed by valid accuracy, if all were trained.

        Its search seconds are those of all the trainings; `cells_drawn`: how many there were.
        """
        found: ByName = {}
        for method in self.methods:
            for seed in seeds(self):
                count = self._cells_due(method, seed, rows)
                drawn = [rows.get(self._random_job(method, seed, n).name) for n in range(count)]
                ended = [row for row in drawn if row is not None and row.status == "done"]
                if ended and None not in drawn:
                    found.setdefault(method, []).append(_best_of(ended))
        return found

    def summary(self, rows: Rows) -> Summary:
        """Every method against its random cells, and the first one against all others."""
        named = groups((row for row in done(rows) if row.get("kind") != "random"), "architecture")
        if not named:
            return Summary("Comparison", [NO_RUN], [], [])
        baselines = self.baselines(rows)
        pairs = _pairs(named, baselines)
        random_named = {f"random cells ({name})": group for name, group in baselines.items()}
        shown = {**named, **random_named}
        return Summary(
            "Comparison",
            [*(verdict(e, *key) for key, e in pairs.items()), _caveat(pairs)],
            [
                _measured_table(shown),
                _pair_table(pairs),
                *_image_table(_compared(named, baselines)),
                _published_table(named),
            ],
            [_error_plot(shown), _size_plot(shown)],
            found_by(named, "{}"),
        )


def _recipe_of(entry: str, train: TrainConfig) -> TrainConfig:
    """The recipe of a zoo entry; a whole network has a depth and a width of its own."""
    if zoo.get(entry).architecture.sized:
        return train
    return replace(train, cells=UNSET, channels=UNSET, auxiliary=0.0, drop_path=0.0)


def _best_of(rows: list[Row]) -> Row:
    """The random cell that counts, with what all of them cost."""
    best = best_valid(rows)
    return replace(
        best,
        factors={**best.factors, "cells_drawn": len(rows)},
        search_seconds=total(rows, "train_seconds"),
    )


def _compared(named: ByName, baselines: ByName) -> list[Compared]:
    """Every method and its random cells; the first and every other."""
    first = next(iter(named))
    compared = [
        ((method, f"random cells ({method}'s space and cost)"), named[method], group)
        for method, group in baselines.items()
    ]
    return compared + [
        ((first, name), named[first], group) for name, group in named.items() if name != first
    ]


def _pairs(named: ByName, baselines: ByName) -> Pairs:
    """(first, second) -> difference in test accuracy, paired by seed, corrected by Holm."""
    compared = _compared(named, baselines)
    found = {key: paired(mine, other, "test_accuracy") for key, mine, other in compared}
    return stats.corrected({key: e for key, e in found.items() if e is not None})


def _caveat(pairs: Pairs) -> str:
    least = min((e.n for e in pairs.values()), default=0)
    few = f" (at least {least}: only large differences can show)" if least else ""
    return (
        f"The intervals and tests are over seeds{few}, on one data split. Nothing follows for other"
        " data, sizes or longer training."
    )


# -- tables --------------------------------------------------------------------------------------


def _measured_table(shown: ByName) -> Table:
    averaged = (
        *("parameters", "flops", "search_seconds", "images_seen", "search_peak_mib"),
        *("train_seconds", "cells_drawn"),
    )
    rows = [
        (name, len(group), _error(group), *(average(group, key) for key in averaged))
        for name, group in shown.items()
    ]
    note = (
        f"{MEASURED}; every row has the same training recipe; means with 95 % intervals over seeds."
        " Random cells: the best by valid accuracy of as many as the method's cost pays for; their"
        " search seconds are those of all trainings. Peak: of the process, or of the GPU"
    )
    return Table("Measured", COLUMNS, rows, note)


def _error(group: list[Row]) -> Estimate:
    return stats.mean([1 - accuracy for accuracy in column(group, "test_accuracy")])


def _pair_table(pairs: Pairs) -> Table:
    rows = [(*key, e, e.p) for key, e in pairs.items()]
    note = "paired by seed; t test; Holm's correction over this table"
    return Table("Differences in test accuracy", PAIR_COLUMNS, rows, note)


def _image_table(compared: Iterable[Compared]) -> list[Table]:
    """The runs of each seed on the same test images; none where no run kept its answers."""
    found = {}
    for names, mine, others in compared:
        of_seed = {row.seed: row for row in others}
        for row in mine:
            other = of_seed.get(row.seed)
            answers = None if other is None else right_answers(row, other)
            if answers is not None:
                found[*names, row.seed] = stats.paired_proportion(*answers)
    rows = [(*key, e, e.p) for key, e in stats.corrected(found).items()]
    note = (
        "paired by test image; McNemar's exact test; Holm's correction over this table. The"
        " intervals are over test images, for these trained networks, not over seeds"
    )
    return [Table("Image by image", IMAGE_COLUMNS, rows, note)] if rows else []


def _published_table(named: ByName) -> Table:
    known = {name: published for name in named if (published := _published(name)) is not None}
    rows = [(name, *vars(published).values()) for name, published in known.items()]
    note = "the papers' figures, of networks of 20 cells: not comparable with those measured here"
    title = "Published, at full size on CIFAR-10 and CIFAR-100"
    return Table(title, PUBLISHED_COLUMNS, rows, note)


def _published(name: str) -> Published | None:
    entry = PUBLISHED.get(name, name)
    return zoo.get(entry).published if entry in zoo.names() else zoo.absent(entry)


# -- plots ---------------------------------------------------------------------------------------


def _errors(group: list[Row]) -> list[float]:
    """Test errors in percent."""
    return [100 * (1 - accuracy) for accuracy in column(group, "test_accuracy")]


def _texts(group: list[Row]) -> list[str]:
    return [f"{row.name}: {percent(1 - (row.test_accuracy or 0.0))}" for row in group]


def _error_plot(shown: Mapping[str, list[Row]]) -> Plot:
    every = shown.items()
    runs = Series(
        "run",
        [name for name, group in every for _ in group],
        [error for _, group in every for error in _errors(group)],
        [text for _, group in every for text in _texts(group)],
    )
    means = [stats.mean(_errors(group)) for _, group in every]
    mean = Series("mean, 95 % interval over seeds", list(shown), means)
    return Plot("error", "Test error", "architecture", "test error, %", [runs, mean])


def _size_plot(shown: Mapping[str, list[Row]]) -> Plot:
    series = [
        Series(
            name,
            [parameters / 1000 for parameters in column(group, "parameters")],
            _errors(group),
            _texts(group),
        )
        for name, group in shown.items()
    ]
    title = "Test error against size"
    return Plot("size", title, "parameters, thousands", "test error, %", series)


PLUGIN = CompareStudy
