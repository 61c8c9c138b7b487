"""What a page shows: tables whose columns carry their unit, plots, and a summary of both."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from edarts.reporting.pictures import Gallery
from edarts.reporting.stats import Estimate
from edarts.space.base import Architecture


@dataclass(frozen=True)
class Column:
    """One column of a table: what it is called, and the unit of its values.

    `unit`: `share` for numbers from 0 to 1, which are shown in percent; `points` for a signed
    difference of two shares, which is shown in percentage points; `s`, `MiB`, `%` and any other
    unit for numbers that are shown as they are; empty for texts, counts and plain numbers.
    """

    name: str
    unit: str = ""


@dataclass(frozen=True)
class Table:
    """`rows` of values in the order of `columns`: texts, numbers, estimates, None for none."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]]
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: `columns` holds the names, `units` the unit of each."""
        plain = [[v.to_dict() if isinstance(v, Estimate) else v for v in row] for row in self.rows]
        return {
            "title": self.title,
            "columns": [column.name for column in self.columns],
            "units": [column.unit for column in self.columns],
            "rows": plain,
            "note": self.note,
        }


@dataclass(frozen=True)
class Series:
    """Points with a name: `x` numbers or texts, `y` values with or without intervals.

    `texts`: what each point says of itself. `line`: whether they are joined.
    """

    name: str
    x: Sequence[float | str]
    y: Sequence[float | Estimate]
    texts: Sequence[str] = ()
    line: bool = False


@dataclass(frozen=True)
class Plot:
    """A picture of series over one pair of axes; `name` is that of its file.

    `log`: whether the x axis is logarithmic.
    """

    name: str
    title: str
    x: str
    y: str
    series: Sequence[Series]
    log: bool = False


@dataclass(frozen=True)
class Summary:
    """What a study found: sentences, tables, plots, and cells to draw, by caption."""

    title: str
    sentences: list[str]
    tables: list[Table]
    plots: list[Plot]
    architectures: dict[str, Architecture] = field(default_factory=dict)
    galleries: list[Gallery] = field(default_factory=list)
