"""The slides' eight subsets of the operations: which operation makes good cells?"""

import re
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from edarts.errors import UsageError, unknown
from edarts.reporting import stats
from edarts.reporting.model import Plot, Series, Summary, Table
from edarts.reporting.stats import Estimate
from edarts.space.darts import SUBSETS, Space
from edarts.space.genotype import Genotype
from edarts.studies.base import (
    MEASURED,
    Job,
    Recipe,
    Row,
    Rows,
    accuracies,
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

# Subsets that differ in one respect alone.
CONTRASTS = {
    "separable, not dilated (SS3 - SS4)": ("SS3", "SS4"),
    "3x3, not 5x5 (SS1 - SS2)": ("SS1", "SS2"),
    "3x3 dilated, not 5x5 dilated, beside separable 3x3 (SS1 - SS5)": ("SS1", "SS5"),
    "3x3 separable, not 5x5 separable, beside dilated 3x3 (SS1 - SS6)": ("SS1", "SS6"),
}
REFERENCE = "skip_connect"


@dataclass(frozen=True)
class Operations:
    """`subsets`: names with commas, or a range such as SS1..SS8; each has skip and pools too."""

    SEEDS: ClassVar[int] = 3
    recipe: Recipe
    subsets: str = "SS1..SS8"

    def __post_init__(self) -> None:
        self.recipe.leave_open("study operations varies them", "operations", "attention")
        self.names()

    def names(self) -> list[str]:
        """The subsets asked for, each once."""
        chosen: list[str] = []
        for part in self.subsets.split(","):
            ends = re.fullmatch(r"SS(\d)\.\.SS(\d)", part.strip())
            chosen += (
                [f"SS{n}" for n in range(int(ends[1]), int(ends[2]) + 1)]
                if ends
                else [part.strip()]
            )
        for name in chosen:
            if name not in SUBSETS:
                raise unknown("subset", name, SUBSETS)
        if not chosen:
            raise UsageError(f"subsets '{self.subsets}': give names such as SS1,SS3 or SS1..SS8")
        return list(dict.fromkeys(chosen))

    def jobs(self, rows: Rows) -> list[Job]:
        return [
            Job(
                f"{subset}-seed-{seed}",
                {"subset": subset, "operations": " ".join(SUBSETS[subset])},
                seed,
                self.recipe.train,
                search=replace(self.recipe.search, operations=subset),
            )
            for seed in seeds(self)
            for subset in self.names()
        ]

    def summary(self, rows: Rows) -> Summary:
        ended = done(rows)
        by_subset = dict(sorted(groups(ended, "subset").items()))
        title = f"Operations ({self.recipe.search.method})"
        if not by_subset:
            return Summary(title, ["No run has ended."], [], [])
        contrasts = stats.corrected(
            {
                name: difference
                for name, (a, b) in CONTRASTS.items()
                if a in by_subset
                and b in by_subset
                and (difference := paired(by_subset[a], by_subset[b], "test_accuracy")) is not None
            }
        )
        sentences = [
            verdict(difference, *(f"cells of {subset}" for subset in CONTRASTS[name]))
            for name, difference in contrasts.items()
        ]
        p = stats.differ([column(group, "test_accuracy") for group in by_subset.values()])
        if p is not None:
            sentences.insert(
                0,
                f"Subsets {'differ' if p < 0.05 else 'cannot be shown to differ'} by more than"
                f" seeds do (F test over {len(by_subset)} subsets, p = {p:.2g}).",
            )
        chosen = _chosen(ended)
        effects, note = _effects(ended)
        tables = [
            Table(
                "By subset",
                ("subset", "operations", "runs", "test accuracy", "valid accuracy", "parameters"),
                [
                    (
                        subset,
                        group[0]["operations"],
                        len(group),
                        average(group, "test_accuracy"),
                        average(group, "valid_accuracy"),
                        average(group, "parameters"),
                    )
                    for subset, group in by_subset.items()
                ],
                f"{MEASURED}; 95 % intervals over seeds; every subset has skip and pools too",
            ),
            Table(
                "Which operation is chosen how often",
                ("operation", "edges", "of edges where it could be", "share"),
                [(name, count, of, count / of) for name, (count, of) in chosen.items()],
            ),
            Table(
                "Contrasts of subsets, in test accuracy",
                ("contrast", "difference", "p (Holm)"),
                [(name, d, d.p) for name, d in contrasts.items()],
                "paired by seed",
            ),
            Table(
                f"One edge with the operation in place of {REFERENCE}, in test accuracy",
                ("operation", "effect", "p (Holm)"),
                [(name, e, e.p) for name, e in effects.items()],
                note,
            ),
        ]
        plots = [
            Plot(
                "accuracy",
                "Accuracy of the found cells",
                "subset",
                "test accuracy, %",
                [
                    Series(
                        "run",
                        [row["subset"] for row in _sorted(ended)],
                        accuracies(_sorted(ended)),
                        [f"{r['name']}: {percent(r['test_accuracy'])}" for r in _sorted(ended)],
                    ),
                    Series(
                        "mean, 95 % interval over seeds",
                        list(by_subset),
                        [stats.mean(accuracies(group)) for group in by_subset.values()],
                        [group[0]["operations"] for group in by_subset.values()],
                    ),
                ],
            ),
            Plot(
                "effects",
                f"One edge with the operation in place of {REFERENCE}",
                "operation",
                "effect, points of test accuracy",
                [
                    Series(
                        "effect, 95 % interval",
                        list(effects),
                        [_times100(e) for e in effects.values()],
                        [f"{name}: {percent(e, signed=True)}" for name, e in effects.items()],
                    )
                ],
            ),
        ]
        plots = [plot for plot in plots if all(series.x for series in plot.series)]
        return Summary(title, sentences, tables, plots, cells_of(by_subset, "{}"))


def _sorted(rows: list[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: str(row["subset"]))


def _times100(e: Estimate) -> Estimate:
    assert e.low is not None and e.high is not None
    return replace(e, value=100 * e.value, low=100 * e.low, high=100 * e.high)


def _counts(row: Row) -> dict[str, int]:
    cells = Genotype.from_dict(row["genotype"])
    return {
        name: cells.count("normal", name) + cells.count("reduce", name)
        for name in Space.parse(row["subset"]).operations
    }


def _chosen(rows: list[Row]) -> dict[str, tuple[int, int]]:
    """Operation -> edges that carry it, edges of cells in whose search it took part."""
    found: dict[str, tuple[int, int]] = {}
    for row in rows:
        counts = _counts(row)
        for name, count in counts.items():
            before = found.get(name, (0, 0))
            found[name] = (before[0] + count, before[1] + sum(counts.values()))
    return dict(sorted(found.items(), key=lambda item: -item[1][0] / item[1][1]))


def _effects(rows: list[Row]) -> tuple[dict[str, Estimate], str]:
    """Least squares of test accuracy on the numbers of edges; operations never chosen are out."""
    counts = [_counts(row) for row in rows]
    known = sorted({name for c in counts for name, n in c.items() if n} - {REFERENCE})
    matrix = np.array([[float(c.get(name, 0)) for name in known] for c in counts])
    values = column(rows, "test_accuracy")
    slopes = stats.regression(matrix, values) if known else None
    if slopes is None:
        return {}, (
            f"{len(rows)} cells do not determine the effects of {len(known)} operations; more"
            " seeds or subsets are needed"
        )
    return stats.corrected(dict(zip(known, slopes, strict=True))), (
        f"least squares over {len(rows)} found cells; the search chose the operations, so this is"
        " an association, not proof of a cause"
    )


PLUGIN = Operations
