"""Supernets of different depth, each found cell trained alike: does searching deeper pay?"""

from dataclasses import dataclass, replace
from typing import ClassVar

from edarts.errors import UsageError
from edarts.reporting import stats
from edarts.reporting.model import Plot, Series, Summary, Table
from edarts.studies.base import (
    MEASURED,
    Job,
    Recipe,
    Rows,
    accuracies,
    against,
    average,
    cells_of,
    column,
    cost_plot,
    done,
    groups,
    percent,
    seeds,
    verdict,
)


@dataclass(frozen=True)
class Depth:
    """`cells`: depths of the supernets, with commas. All else of the search is the recipe's."""

    SEEDS: ClassVar[int] = 3
    recipe: Recipe
    cells: str = "5,8,11,14,17,20"

    def __post_init__(self) -> None:
        self.recipe.leave_open("study depth varies it", "cells")
        self.depths()

    def depths(self) -> list[int]:
        """The numbers of cells, each once."""
        try:
            depths = sorted({int(part) for part in self.cells.split(",")})
        except ValueError:
            depths = []
        if not depths or depths[0] < 1:
            raise UsageError(f"cells '{self.cells}': give depths from 1 on, such as 5,8,11")
        return depths

    def jobs(self, rows: Rows) -> list[Job]:
        return [
            Job(
                f"cells-{cells:02}-seed-{seed}",
                {"search_cells": cells},
                seed,
                self.recipe.train,
                search=replace(self.recipe.search, cells=cells),
            )
            for seed in seeds(self)
            for cells in self.depths()
        ]

    def summary(self, rows: Rows) -> Summary:
        ended = done(rows)
        by_depth = dict(sorted(groups(ended, "search_cells").items()))
        title = f"Depth of the supernet ({self.recipe.search.method})"
        if not by_depth:
            return Summary(title, ["No run has ended."], [], [])
        shallowest, *deeper = by_depth
        differences = against({d: by_depth[d] for d in deeper}, by_depth[shallowest])
        sentences = [
            verdict(difference, f"{cells} cells", f"{shallowest} cells")
            for cells, difference in differences.items()
        ]
        if deeper:
            costs = [average(by_depth[d], "search_seconds") for d in (shallowest, deeper[-1])]
            ratio = costs[1].value / costs[0].value if costs[0] and costs[1] else 0.0
            rho = stats.rank_correlation(
                column(ended, "search_cells"), column(ended, "test_accuracy")
            )
            sentences.append(
                f"A search with {deeper[-1]} cells takes {ratio:.1f} times as long as one with"
                f" {shallowest}; test accuracy goes with depth by Spearman's rho {rho.value:.2f}"
                + (f" (p = {rho.p:.2g})." if rho.p is not None else ".")
            )
        table = Table(
            "By depth of the supernet",
            (
                *("cells", "runs", "test accuracy", "valid accuracy", "minus shallowest"),
                *("p (Holm)", "parameters", "search s", "images seen", "peak MiB"),
            ),
            [
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
            ],
            f"{MEASURED}; 95 % intervals over seeds; images seen: in forward passes of the search",
        )
        texts = [
            f"{row['name']}: test {percent(row['test_accuracy'])}, search"
            f" {row['search_seconds']:.0f} s"
            for row in ended
        ]
        points = accuracies(ended)
        means = [stats.mean(accuracies(g)) for g in by_depth.values()]
        plots = [
            Plot(
                "accuracy",
                "Accuracy of the found cells",
                "cells of the supernet",
                "test accuracy, %",
                [
                    Series("run", column(ended, "search_cells"), points, texts),
                    Series("mean, 95 % interval over seeds", list(by_depth), means, line=True),
                ],
            ),
            cost_plot(
                {f"{depth} cells": group for depth, group in by_depth.items()},
                lambda row: str(row["name"]),
            ),
        ]
        return Summary(title, sentences, [table], plots, cells_of(by_depth, "{} cells"))


PLUGIN = Depth
