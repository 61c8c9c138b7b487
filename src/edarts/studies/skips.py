"""The slides' table of four rows: what a data subset and sparse updates do to skip connections."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from edarts.config import SearchConfig
from edarts.errors import UsageError
from edarts.reporting import stats
from edarts.reporting.model import Column, Plot, Series, Summary, Table
from edarts.reporting.stats import Estimate
from edarts.studies import searches
from edarts.studies.base import Job, Recipe, seeds
from edarts.studies.row import Row
from edarts.studies.rows import (
    Rows,
    against,
    average,
    column,
    cost_plot,
    done,
    found_by,
    groups,
    total,
)
from edarts.studies.text import MEASURED, percent, significant, tested, untested, verdict

ByRow = dict[str, list[Row]]
BASE = "DARTS"
# The slides' figures: skip connections in normal and reduction cells summed over the seeds,
# accuracy of the shallow network in %, parameters in millions, GPU hours.
SLIDES = {
    BASE: (14, 19, 90.25, 0.11, 36),
    "+ data subset": (4, 14, 91.27, 0.15, 6),
    "+ epoch update": (5, 11, 91.33, 0.16, 4.6),
    "+ both": (5, 8, 92.15, 0.2, 0.85),
}
COLUMNS = (
    Column("row"),
    Column("runs"),
    Column("normal skips"),
    Column("reduction skips"),
    Column("test accuracy", "share"),
    Column("minus DARTS", "points"),
    Column("p (Holm)"),
    Column("parameters"),
    Column("search s", "s"),
    Column("time ratio"),
    Column("images seen"),
    Column("images ratio"),
)
SLIDES_COLUMNS = (
    Column("row"),
    Column("normal skips"),
    Column("reduction skips"),
    Column("accuracy, %", "%"),
    Column("parameters, M", "M"),
    Column("GPU hours", "h"),
    Column("time ratio"),
)


@dataclass(frozen=True)
class SkipsOptions:
    """What can be chosen of the study."""

    subset: float = 1 / 6
    """Share of the training images in the rows with a data subset (0..1, both excluded)."""

    def __post_init__(self) -> None:
        if not 0 < self.subset < 1:
            raise UsageError(f"subset must lie between 0 and 1, got {self.subset}")


class SkipsStudy:
    """The recipe's search with all or some of the images, and with dense or sparse updates.

    A learning rate of the architecture that the recipe gives is that of the rows that update it at
    every step; the others have one by which it can travel as far as in DARTS' search.
    """

    SEEDS: ClassVar[int] = 4
    Options: ClassVar[type] = SkipsOptions

    def __init__(self, recipe: Recipe, options: SkipsOptions | None = None) -> None:
        self.recipe, self.options = recipe, options or SkipsOptions()
        searches.need_supernet(recipe.search, "skips", "the updates")
        recipe.leave_open("study skips varies it", "data_fraction", "arch_update", "arch_steps")

    def changes(self) -> dict[str, dict[str, Any]]:
        """Row of the table -> what it changes in the search."""
        subset = self.options.subset
        pairs = ((1.0, "step"), (subset, "step"), (1.0, "epoch"), (subset, "epoch"))
        return {
            name: {"data_fraction": share, "arch_update": update}
            for name, (share, update) in zip(SLIDES, pairs, strict=True)
        }

    def jobs(self, rows: Rows) -> list[Job]:
        """One for each seed and row of the table."""
        return [
            Job(
                f"row-{number}-seed-{seed}",
                {"row": row, **changes},
                seed,
                self.recipe.train,
                search=self._search(changes),
            )
            for seed in seeds(self)
            for number, (row, changes) in enumerate(self.changes().items(), 1)
        ]

    def _search(self, changes: Mapping[str, Any]) -> SearchConfig:
        lr = self.recipe.search.arch_lr if changes["arch_update"] == "step" else None
        return self.recipe.search.changed(arch_lr=lr, **changes)

    def summary(self, rows: Rows) -> Summary:
        """Each row of the table against the first, in accuracy and in skip connections."""
        found = groups(done(rows), "row")
        by_row: ByRow = {name: found[name] for name in SLIDES if name in found}
        title = f"Skip connections ({self.recipe.search.method})"
        if BASE not in by_row:
            return Summary(title, ["No run of the first row has ended."], [], [])
        rest = {name: group for name, group in by_row.items() if name != BASE}
        accuracy = against(rest, by_row[BASE])
        fewer = against(rest, by_row[BASE], "skips")
        sentences = [verdict(difference, name, BASE) for name, difference in accuracy.items()]
        sentences += [_skips_verdict(name, difference) for name, difference in fewer.items()]
        return Summary(
            title,
            sentences,
            [_table(by_row, accuracy), _slides_table()],
            [_skips_plot(by_row), _cost_plot(by_row)],
            found_by(by_row, "{}"),
        )


def _skips_verdict(name: str, difference: Estimate) -> str:
    """A sentence on a difference in skip connections a run."""
    low, high = difference.low, difference.high
    interval = "" if low is None or high is None else f" ({low:+.1f} to {high:+.1f})"
    size = f"{name} minus {BASE}: {difference.value:+.1f} skip connections a run{interval}"
    if difference.p is None:
        return f"{size}; {untested(difference)}."
    if not significant(difference.p):
        return f"{size}: no significant change ({tested(difference)})."
    change = "more" if difference.value > 0 else "fewer"
    return f"{size}: significantly {change} ({tested(difference)})."


def _table(by_row: ByRow, accuracy: Mapping[str, Estimate]) -> Table:
    base = by_row[BASE]
    rows = [
        (
            name,
            len(group),
            int(total(group, "normal_skips")),
            int(total(group, "reduce_skips")),
            average(group, "test_accuracy"),
            accuracy.get(name),
            accuracy[name].p if name in accuracy else None,
            average(group, "parameters"),
            average(group, "search_seconds"),
            _ratio(base, group, "search_seconds"),
            average(group, "images_seen"),
            _ratio(base, group, "images_seen"),
        )
        for name, group in by_row.items()
    ]
    note = f"{MEASURED}; skips: summed over the runs; ratios: first row / row, same seeds"
    return Table("The slides' table, measured", COLUMNS, rows, note)


def _slides_table() -> Table:
    hours = SLIDES[BASE][-1]
    rows = [(name, *figures, round(hours / figures[-1], 1)) for name, figures in SLIDES.items()]
    note = "over 4 seeds as far as the slides tell; their skips are sums"
    return Table("The slides' figures, on CIFAR-10", SLIDES_COLUMNS, rows, note)


def _ratio(base: list[Row], group: list[Row], key: str) -> float | None:
    """The sum of a column in the first row over that of another, over the seeds of both."""
    shared = {row.seed for row in group} & {row.seed for row in base}
    mine, first = (
        total((row for row in rows if row.seed in shared), key) for rows in (group, base)
    )
    return first / mine if mine else None


def _skips_plot(by_row: ByRow) -> Plot:
    return Plot(
        "skips",
        "Skip connections in a found cell",
        "row",
        "skip connections",
        [
            Series(
                kind,
                list(by_row),
                [stats.mean(column(group, key)) for group in by_row.values()],
                [f"{name}: {column(group, key)}" for name, group in by_row.items()],
            )
            for kind, key in (("normal", "normal_skips"), ("reduction", "reduce_skips"))
        ],
    )


def _cost_plot(by_row: ByRow) -> Plot:
    return cost_plot(by_row, lambda row: f"{row.name}: {percent(row.test_accuracy)}")


PLUGIN = SkipsStudy
