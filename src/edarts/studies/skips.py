"""The slides' table of four rows: what a data subset and sparse updates do to skip connections."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from edarts.config import SearchConfig
from edarts.errors import UsageError
from edarts.reporting import stats
from edarts.reporting.model import Plot, Series, Summary, Table
from edarts.studies.base import (
    MEASURED,
    Job,
    Recipe,
    Row,
    Rows,
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

# The slides' figures: skip connections in normal and reduction cells summed over the seeds,
# accuracy of the shallow network in %, parameters in millions, GPU hours.
SLIDES = {
    "DARTS": (14, 19, 90.25, 0.11, 36),
    "+ data subset": (4, 14, 91.27, 0.15, 6),
    "+ epoch update": (5, 11, 91.33, 0.16, 4.6),
    "+ both": (5, 8, 92.15, 0.2, 0.85),
}


@dataclass(frozen=True)
class Skips:
    """`subset`: share of the training images in the rows with a data subset.

    A learning rate of the architecture that the recipe gives is that of the rows that update it at
    every step; the others have one by which it can travel as far as in DARTS' search.
    """

    SEEDS: ClassVar[int] = 4
    recipe: Recipe
    subset: float = 1 / 6

    def __post_init__(self) -> None:
        self.recipe.leave_open(
            "study skips varies it", "data_fraction", "arch_update", "arch_steps"
        )
        if not 0 < self.subset < 1:
            raise UsageError(f"subset must lie between 0 and 1, got {self.subset}")

    def rows(self) -> dict[str, dict[str, Any]]:
        """Row -> what it changes in the search."""
        pairs = ((1.0, "step"), (self.subset, "step"), (1.0, "epoch"), (self.subset, "epoch"))
        return {
            name: {"data_fraction": share, "arch_update": update}
            for name, (share, update) in zip(SLIDES, pairs, strict=True)
        }

    def _search(self, changes: dict[str, Any]) -> SearchConfig:
        lr = self.recipe.search.arch_lr if changes["arch_update"] == "step" else None
        return replace(self.recipe.search, arch_lr=lr, **changes)

    def jobs(self, rows: Rows) -> list[Job]:
        return [
            Job(
                f"row-{number}-seed-{seed}",
                {"row": row, **changes},
                seed,
                self.recipe.train,
                search=self._search(changes),
            )
            for seed in seeds(self)
            for number, (row, changes) in enumerate(self.rows().items(), 1)
        ]

    def summary(self, rows: Rows) -> Summary:
        ended = done(rows)
        by_row = {name: group for name in SLIDES if (group := groups(ended, "row").get(name))}
        title = f"Skip connections ({self.recipe.search.method})"
        if "DARTS" not in by_row:
            return Summary(title, ["No run of the first row has ended."], [], [])
        base = by_row["DARTS"]
        rest = {name: group for name, group in by_row.items() if name != "DARTS"}
        accuracy = against(rest, base)
        skips = against(_with_skips(rest), _with_skips({"": base})[""], "skips")
        sentences = [verdict(d, name, "DARTS") for name, d in accuracy.items()]
        sentences += [_fewer(name, d) for name, d in skips.items()]
        table = Table(
            "The slides' table, measured",
            (
                *("row", "runs", "normal skips", "reduction skips", "test accuracy"),
                *("minus DARTS", "p (Holm)", "parameters", "search s", "time ratio"),
                *("images seen", "images ratio"),
            ),
            [
                (
                    name,
                    len(group),
                    int(sum(column(group, "normal_skips"))),
                    int(sum(column(group, "reduce_skips"))),
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
            ],
            f"{MEASURED}; skips: summed over the runs; ratios: first row / row, same seeds",
        )
        published = Table(
            "The slides' figures, on CIFAR-10",
            (
                *("row", "normal skips", "reduction skips", "accuracy, %"),
                *("parameters, M", "GPU hours", "time ratio"),
            ),
            [(name, *figures, round(36 / figures[-1], 1)) for name, figures in SLIDES.items()],
            "over 4 seeds as far as the slides tell; their skips are sums",
        )
        plots = [
            Plot(
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
            ),
            cost_plot(by_row, lambda row: f"{row['name']}: {percent(row['test_accuracy'])}"),
        ]
        return Summary(title, sentences, [table, published], plots, cells_of(by_row, "{}"))


def _with_skips(by_row: dict[str, list[Row]]) -> dict[str, list[Row]]:
    return {
        name: [row | {"skips": row["normal_skips"] + row["reduce_skips"]} for row in group]
        for name, group in by_row.items()
    }


def _fewer(name: str, d: stats.Estimate) -> str:
    interval = "" if d.low is None else f" ({d.low:+.1f} to {d.high:+.1f})"
    size = f"{name} minus DARTS: {d.value:+.1f} skip connections a run{interval}"
    if d.p is None:
        return f"{size}; nothing can be concluded from {d.n} seed(s), or from equal differences."
    change = "more" if d.value > 0 else "fewer"
    told = change if d.p < 0.05 else "it cannot be told from no change"
    return f"{size}: {told} (p = {d.p:.2g}, paired over {d.n} seeds, Holm's correction)."


def _ratio(base: list[Row], group: list[Row], key: str) -> float | None:
    seeds_of = {row["seed"] for row in group} & {row["seed"] for row in base}
    mine, first = (sum(r[key] for r in rows if r["seed"] in seeds_of) for rows in (group, base))
    return first / mine if mine else None


PLUGIN = Skips
