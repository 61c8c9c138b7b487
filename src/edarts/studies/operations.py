"""The slides' eight subsets of the operations: which operation makes good cells?"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from edarts.errors import UsageError, unknown
from edarts.reporting import stats
from edarts.reporting.model import Column, Plot, Series, Summary, Table
from edarts.reporting.stats import Estimate
from edarts.space.darts import SUBSETS
from edarts.space.genotype import Genotype
from edarts.studies import searches
from edarts.studies.base import Job, Recipe, seeds
from edarts.studies.row import Row
from edarts.studies.rows import Rows, accuracies, average, column, done, found_by, groups, paired
from edarts.studies.text import MEASURED, NO_RUN, percent, significant, verdict

BySubset = dict[str, list[Row]]
# Subsets that differ in one respect alone.
CONTRASTS = {
    "separable, not dilated (SS3 - SS4)": ("SS3", "SS4"),
    "3x3, not 5x5 (SS1 - SS2)": ("SS1", "SS2"),
    "3x3 dilated, not 5x5 dilated, beside separable 3x3 (SS1 - SS5)": ("SS1", "SS5"),
    "3x3 separable, not 5x5 separable, beside dilated 3x3 (SS1 - SS6)": ("SS1", "SS6"),
}
REFERENCE = "skip_connect"
SUBSET_COLUMNS = (
    Column("subset"),
    Column("operations"),
    Column("runs"),
    Column("test accuracy", "share"),
    Column("valid accuracy", "share"),
    Column("parameters"),
)
CHOSEN_COLUMNS = (
    Column("operation"),
    Column("edges"),
    Column("of edges where it could be"),
    Column("share", "share"),
)


@dataclass(frozen=True)
class OperationsOptions:
    """What can be chosen of the study."""

    subsets: str = "SS1..SS8"
    """Subsets of the operations, names with commas or a range such as SS1..SS8; each has the skip
    connection and the pools too."""


class OperationsStudy:
    """The recipe's search among several subsets of the operations, by any method."""

    SEEDS: ClassVar[int] = 3
    Options: ClassVar[type] = OperationsOptions

    def __init__(self, recipe: Recipe, options: OperationsOptions | None = None) -> None:
        self.recipe, self.options = recipe, options or OperationsOptions()
        recipe.leave_open("study operations varies them", "operations", "attention")
        self.subsets = _parse_subsets(self.options.subsets)

    def jobs(self, rows: Rows) -> list[Job]:
        """One for each seed and subset."""
        return [
            Job(
                f"{subset}-seed-{seed}",
                {"subset": subset, "operations": " ".join(SUBSETS[subset])},
                seed,
                self.recipe.train,
                search=self.recipe.search.changed(operations=subset),
            )
            for seed in seeds(self)
            for subset in self.subsets
        ]

    def summary(self, rows: Rows) -> Summary:
        """Whether the subsets differ, and what an edge of each operation is worth."""
        ended = done(rows)
        by_subset: BySubset = dict(sorted(groups(ended, "subset").items()))
        title = f"Operations ({self.recipe.search.method})"
        if not by_subset:
            return Summary(title, [NO_RUN], [], [])
        contrasts = _contrasts(by_subset)
        effects, note = _effects(ended)
        plots = [_accuracy_plot(ended, by_subset), _effects_plot(effects)]
        return Summary(
            title,
            [*_spread(by_subset), *_verdicts(contrasts)],
            [
                _subset_table(by_subset),
                _chosen_table(ended),
                _contrast_table(contrasts),
                _effect_table(effects, note),
            ],
            [plot for plot in plots if all(series.x for series in plot.series)],
            found_by(by_subset, "{}"),
        )


def _parse_subsets(text: str) -> list[str]:
    """The subsets named, each once. Raises UsageError."""
    chosen: list[str] = []
    for part in map(str.strip, text.split(",")):
        ends = re.fullmatch(r"SS(\d)\.\.SS(\d)", part)
        chosen += [f"SS{n}" for n in range(int(ends[1]), int(ends[2]) + 1)] if ends else [part]
    for name in chosen:
        if name not in SUBSETS:
            raise unknown("subset", name, SUBSETS)
    if not chosen:
        raise UsageError(f"subsets '{text}': give names such as SS1,SS3 or SS1..SS8")
    return list(dict.fromkeys(chosen))


# -- sentences -----------------------------------------------------------------------------------


def _spread(by_subset: BySubset) -> list[str]:
    """Whether subsets differ by more than seeds do, where there are seeds enough to tell."""
    p = stats.differ([column(group, "test_accuracy") for group in by_subset.values()])
    if p is None:
        return []
    differ = "differ" if significant(p) else "do not differ significantly"
    test = f"F test over {len(by_subset)} subsets, p = {p:.2g}"
    return [f"Test accuracies of the subsets {differ}, by the spread over seeds ({test})."]


def _verdicts(contrasts: Mapping[str, Estimate]) -> list[str]:
    return [
        verdict(difference, *(f"cells of {subset}" for subset in CONTRASTS[name]))
        for name, difference in contrasts.items()
    ]


# -- figures -------------------------------------------------------------------------------------


def _contrasts(by_subset: BySubset) -> dict[str, Estimate]:
    """`CONTRASTS` in test accuracy, as far as both subsets have runs."""
    found = {
        name: paired(by_subset[first], by_subset[second], "test_accuracy")
        for name, (first, second) in CONTRASTS.items()
        if first in by_subset and second in by_subset
    }
    return stats.corrected({name: e for name, e in found.items() if e is not None})


def _counts(row: Row) -> dict[str, int]:
    """Operation -> edges of the row's cells that carry it, for those of its subset."""
    if not isinstance(row.genotype, Genotype):
        raise TypeError(f"{row.name}: its search found no cells")
    return searches.operation_counts(row.genotype, str(row.factors["subset"]))


def _chosen(rows: Sequence[Row]) -> dict[str, tuple[int, int]]:
    """Operation -> edges that carry it, edges of cells in whose search it took part."""
    found: dict[str, tuple[int, int]] = {}
    for counts in map(_counts, rows):
        for name, count in counts.items():
            before = found.get(name, (0, 0))
            found[name] = (before[0] + count, before[1] + sum(counts.values()))
    return dict(sorted(found.items(), key=lambda item: -item[1][0] / item[1][1]))


def _effects(rows: Sequence[Row]) -> tuple[dict[str, Estimate], str]:
    """Least squares of test accuracy on the numbers of edges, and a note on them.

    Operations that were never chosen are left out.
    """
    counts = [_counts(row) for row in rows]
    known = sorted({name for c in counts for name, n in c.items() if n} - {REFERENCE})
    matrix = np.array([[float(c.get(name, 0)) for name in known] for c in counts])
    slopes = stats.regression(matrix, column(rows, "test_accuracy")) if known else None
    if slopes is None:
        return {}, (
            f"{len(rows)} cells do not determine the effects of {len(known)} operations; more"
            " seeds or subsets are needed"
        )
    return stats.corrected(dict(zip(known, slopes, strict=True))), (
        f"least squares over {len(rows)} found cells; the search chose the operations, so this is"
        " an association, not proof of a cause"
    )


# -- tables --------------------------------------------------------------------------------------


def _subset_table(by_subset: BySubset) -> Table:
    rows = [
        (
            subset,
            group[0].factors["operations"],
            len(group),
            average(group, "test_accuracy"),
            average(group, "valid_accuracy"),
            average(group, "parameters"),
        )
        for subset, group in by_subset.items()
    ]
    note = f"{MEASURED}; 95 % intervals over seeds; every subset has skip and pools too"
    return Table("By subset", SUBSET_COLUMNS, rows, note)


def _chosen_table(ended: Sequence[Row]) -> Table:
    rows = [(name, count, of, count / of) for name, (count, of) in _chosen(ended).items()]
    return Table("Which operation is chosen how often", CHOSEN_COLUMNS, rows)


def _contrast_table(contrasts: Mapping[str, Estimate]) -> Table:
    columns = (Column("contrast"), Column("difference", "points"), Column("p (Holm)"))
    rows = [(name, d, d.p) for name, d in contrasts.items()]
    return Table("Contrasts of subsets, in test accuracy", columns, rows, "paired by seed")


def _effect_table(effects: Mapping[str, Estimate], note: str) -> Table:
    columns = (Column("operation"), Column("effect", "points"), Column("p (Holm)"))
    rows = [(name, e, e.p) for name, e in effects.items()]
    title = f"One edge with the operation in place of {REFERENCE}, in test accuracy"
    return Table(title, columns, rows, note)


# -- plots ---------------------------------------------------------------------------------------


def _accuracy_plot(ended: Sequence[Row], by_subset: BySubset) -> Plot:
    ended = sorted(ended, key=lambda row: str(row.factors["subset"]))
    return Plot(
        "accuracy",
        "Accuracy of the found cells",
        "subset",
        "test accuracy, %",
        [
            Series(
                "run",
                [str(row.factors["subset"]) for row in ended],
                accuracies(ended),
                [f"{row.name}: {percent(row.test_accuracy)}" for row in ended],
            ),
            Series(
                "mean, 95 % interval over seeds",
                list(by_subset),
                [stats.mean(accuracies(group)) for group in by_subset.values()],
                [str(group[0].factors["operations"]) for group in by_subset.values()],
            ),
        ],
    )


def _effects_plot(effects: Mapping[str, Estimate]) -> Plot:
    return Plot(
        "effects",
        f"One edge with the operation in place of {REFERENCE}",
        "operation",
        "effect, points of test accuracy",
        [
            Series(
                "effect, 95 % interval",
                list(effects),
                [_in_points(effect) for effect in effects.values()],
                [f"{name}: {percent(effect, signed=True)}" for name, effect in effects.items()],
            )
        ],
    )


def _in_points(effect: Estimate) -> Estimate:
    """From a share to percentage points; a slope always has an interval."""
    low, high = effect.low, effect.high
    return replace(
        effect,
        value=100 * effect.value,
        low=None if low is None else 100 * low,
        high=None if high is None else 100 * high,
    )


PLUGIN = OperationsStudy
