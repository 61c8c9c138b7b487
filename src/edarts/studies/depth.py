"""Supernets of different depth, each found cell trained alike: does searching deeper pay?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from edarts.errors import UsageError
from edarts.reporting import stats
from edarts.reporting.model import Column, Plot, Series, Summary, Table
from edarts.reporting.stats import Estimate
from edarts.studies import searches
from edarts.studies.base import Job, Recipe, seeds
from edarts.studies.row import Row
from edarts.studies.rows import (
    Rows,
    accuracies,
    against,
    average,
    column,
    cost_plot,
    done,
    found_by,
    groups,
)
from edarts.studies.text import MEASURED, NO_RUN, percent, verdict

ByDepth = dict[int, list[Row]]
COLUMNS = (
    Column("cells"),
    Column("runs"),
    Column("test accuracy", "share"),
    Column("valid accuracy", "share"),
    Column("minus shallowest", "points"),
    Column("p (Holm)"),
    Column("parameters"),
    Column("search s", "s"),
    Column("images seen"),
    Column("peak MiB", "MiB"),
)


@dataclass(frozen=True)
class DepthOptions:
    """What can be chosen of the study; all else of the search is the recipe's."""

    cells: str = "5,8,11,14,17,20"
    """Numbers of cells of the supernets, with commas."""


class DepthStudy:
    """The recipe's search in supernets of several depths."""

    SEEDS: ClassVar[int] = 3
    Options: ClassVar[type] = DepthOptions

    def __init__(self, recipe: Recipe, options: DepthOptions | None = None) -> None:
        self.recipe, self.options = recipe, options or DepthOptions()
        searches.need_supernet(recipe.search, "depth", "the cells")
        recipe.leave_open("study depth varies it", "cells")
        self.depths = _parse_depths(self.options.cells)

    def jobs(self, rows: Rows) -> list[Job]:
        """One for each seed and depth."""
        return [
            Job(
                f"cells-{cells:02}-seed-{seed}",
                {"search_cells": cells},
                seed,
                self.recipe.train,
                search=self.recipe.search.changed(cells=cells),
            )
            for seed in seeds(self)
            for cells in self.depths
        ]

    def summary(self, rows: Rows) -> Summary:
        """Each depth against the shallowest one."""
        ended = done(rows)
        by_depth: ByDepth = dict(sorted(groups(ended, "search_cells").items()))
        title = f"Depth of the supernet ({self.recipe.search.method})"
        if not by_depth:
            return Summary(title, [NO_RUN], [], [])
        shallowest, *deeper = by_depth
        differences = against({d: by_depth[d] for d in deeper}, by_depth[shallowest])
        sentences = [
            verdict(difference, f"{cells} cells", f"{shallowest} cells")
            for cells, difference in differences.items()
        ]
        if deeper:
            sentences.append(_cost_of_depth(ended, by_depth))
        return Summary(
            title,
            sentences,
            [_table(by_depth, differences)],
            [_accuracy_plot(ended, by_depth), _cost_plot(by_depth)],
            found_by(by_depth, "{} cells"),
        )


def _parse_depths(text: str) -> list[int]:
    """Numbers of cells, each once, ascending. Raises UsageError."""
    try:
        depths = sorted({int(part) for part in text.split(",")})
    except ValueError:
        depths = []
    if not depths or depths[0] < 1:
        raise UsageError(f"cells '{text}': give depths from 1 on, such as 5,8,11")
    return depths


def _cost_of_depth(ended: Sequence[Row], by_depth: ByDepth) -> str:
    shallowest, deepest = min(by_depth), max(by_depth)
    costs = [average(by_depth[depth], "search_seconds") for depth in (shallowest, deepest)]
    ratio = costs[1].value / costs[0].value if costs[0] and costs[1] else 0.0
    rho = stats.rank_correlation(column(ended, "search_cells"), column(ended, "test_accuracy"))
    p = f" (p = {rho.p:.2g})" if rho.p is not None else ""
    return (
        f"A search with {deepest} cells takes {ratio:.1f} times as long as one with {shallowest};"
        f" the rank correlation of test accuracy with depth (Spearman's rho) is {rho.value:.2f}{p}."
    )


def _table(by_depth: ByDepth, differences: dict[int, Estimate]) -> Table:
    rows = [
        (
            depth,
            len(group),
            average(group, "test_accuracy"),
            average(group, "valid_accuracy"),
            differences.get(depth),
            differences[depth].p if depth in differences else None,
            average(group, "parameters"),
            average(group, "search_seconds"),
            average(group, "images_seen"),
            average(group, "search_peak_mib"),
        )
        for depth, group in by_depth.items()
    ]
    note = f"{MEASURED}; 95 % intervals over seeds; images seen: in forward passes of the search"
    return Table("By depth of the supernet", COLUMNS, rows, note)


def _accuracy_plot(ended: Sequence[Row], by_depth: ByDepth) -> Plot:
    texts = [
        f"{row.name}: test {percent(row.test_accuracy)}, search {row.search_seconds:.0f} s"
        for row in ended
    ]
    means = [stats.mean(accuracies(group)) for group in by_depth.values()]
    return Plot(
        "accuracy",
        "Accuracy of the found cells",
        "cells of the supernet",
        "test accuracy, %",
        [
            Series("run", column(ended, "search_cells"), accuracies(ended), texts),
            Series("mean, 95 % interval over seeds", list(by_depth), means, line=True),
        ],
    )


def _cost_plot(by_depth: ByDepth) -> Plot:
    named = {f"{depth} cells": group for depth, group in by_depth.items()}
    return cost_plot(named, lambda row: row.name)


PLUGIN = DepthStudy
