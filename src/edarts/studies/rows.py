"""What the studies compute from rows: groups, columns, means, paired differences, best cells."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edarts.reporting import stats
from edarts.reporting.model import Plot, Series
from edarts.reporting.paired import right_answers as of_runs
from edarts.reporting.stats import Estimate
from edarts.space.base import Architecture
from edarts.studies.row import Row

Rows = Mapping[str, Row]
"""Name -> row."""


def done(rows: Rows) -> list[Row]:
    """The rows of runs that ended well."""
    return [row for row in rows.values() if row.status == "done"]


def groups(rows: Iterable[Row], key: str) -> dict[Any, list[Row]]:
    """Rows by the value of a column, in the order in which the values come."""
    found: dict[Any, list[Row]] = {}
    for row in rows:
        found.setdefault(row.get(key), []).append(row)
    return found


def column(rows: Iterable[Row], key: str) -> list[float]:
    """The values of a column, without rows that have none."""
    return [value for row in rows if (value := row.get(key)) is not None]


def accuracies(rows: Iterable[Row]) -> list[float]:
    """Test accuracies in percent."""
    return [100 * accuracy for accuracy in column(rows, "test_accuracy")]


def average(rows: Iterable[Row], key: str) -> Estimate | None:
    """Mean of a column with its interval; None without values."""
    values = column(rows, key)
    return stats.mean(values) if values else None


def total(rows: Iterable[Row], key: str) -> float:
    """Sum of a column."""
    return sum(column(rows, key))


def paired(first: Iterable[Row], second: Iterable[Row], key: str) -> Estimate | None:
    """first - second of a column, over the seeds that both have; None if there is none."""
    mine, other = (
        {row.seed: value for row in rows if (value := row.get(key)) is not None}
        for rows in (first, second)
    )
    shared = sorted(mine.keys() & other.keys())
    if not shared:
        return None
    return stats.paired([mine[seed] for seed in shared], [other[seed] for seed in shared])


def against(
    rest: Mapping[Any, Sequence[Row]], base: Sequence[Row], key: str = "test_accuracy"
) -> dict[Any, Estimate]:
    """Each group minus `base`, paired by seed, the p values corrected by Holm."""
    found = {name: paired(rows, base, key) for name, rows in rest.items()}
    return stats.corrected({name: e for name, e in found.items() if e is not None})


def best_valid(rows: Iterable[Row]) -> Row:
    """The row of the highest valid accuracy, the first of equal ones."""
    return max(rows, key=lambda row: -1.0 if row.valid_accuracy is None else row.valid_accuracy)


def found_by(by_group: Mapping[Any, Sequence[Row]], caption: str) -> dict[str, Architecture]:
    """The architecture of each group's run of the highest valid accuracy, by caption."""
    best = {group: best_valid(rows) for group, rows in by_group.items()}
    return {
        f"{caption.format(group)}, seed {row.seed}": row.genotype
        for group, row in best.items()
        if row.genotype is not None
    }


def cost_plot(by_group: Mapping[str, Sequence[Row]], text: Callable[[Row], str]) -> Plot:
    """Test accuracy of each run against the seconds of its search; `text`: what a point says."""
    return Plot(
        "cost",
        "Accuracy against what the search costs",
        "search, seconds",
        "test accuracy, %",
        [
            Series(name, column(rows, "search_seconds"), accuracies(rows), list(map(text, rows)))
            for name, rows in by_group.items()
        ],
    )


def right_answers(first: Row, second: Row) -> tuple[NDArray[np.bool_], NDArray[np.bool_]] | None:
    """(N,) each: whether each run's network answered each test image right; None if not known."""
    runs = [row.folder / row.run for row in (first, second) if row.folder and row.run]
    return of_runs(*runs) if len(runs) == 2 else None
