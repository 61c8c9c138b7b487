"""The zoo: published cells and networks, with what their papers and the eDARTS slides say of them.

The data are in zoo.toml, which is read on first use. Names are `architecture.source`.
"""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from edarts import registry
from edarts.errors import unknown
from edarts.space import architecture
from edarts.space.base import Architecture, Size
from edarts.space.genotype import Genotype

if TYPE_CHECKING:
    from torch import nn

CIFAR = (3, 32, 32)


@dataclass(frozen=True)
class Published:
    """What is published: test errors in %, parameters in millions, search cost in GPU-days.

    None: not stated. They are the slides' figures, unless the entry says otherwise.
    """

    c10_error: float | None = None
    c100_error: float | None = None
    parameters_m: float | None = None
    gpu_days: float | None = None

    def describe(self) -> str:
        """What is stated, with units."""
        figures = {
            "{:g} M parameters": self.parameters_m,
            "{:.2f} % test error on CIFAR-10": self.c10_error,
            "{:.2f} % on CIFAR-100": self.c100_error,
            "{:g} GPU-days": self.gpu_days,
        }
        stated = [text.format(value) for text, value in figures.items() if value is not None]
        return ", ".join(stated)


@dataclass(frozen=True)
class Entry:
    """One architecture.

    `row`: its row in the slides' table, or what else it is. `method`: how it was found. `source`:
    where it was read. `differs`: what differs from the published figures, and why; may be empty.
    `cells`, `channels`: the published size; None for a whole network, which has its own.
    """

    name: str
    architecture: Architecture
    row: str
    paper: str
    year: int
    method: str
    published: Published
    source: str
    differs: str = ""
    cells: int | None = None
    channels: int | None = None

    @property
    def genotype(self) -> Genotype:
        """The cells. Raises TypeError for a whole network, which has none."""
        if not isinstance(self.architecture, Genotype):
            raise TypeError(f"{self.name} is a whole network, not a genotype")
        return self.architecture

    def build(self, classes: int = 10, *, auxiliary: bool = False) -> "nn.Module":
        """The network for CIFAR images at its published size, its weights drawn at random."""
        size = Size(self.cells, self.channels, auxiliary)
        return self.architecture.build(size, CIFAR, classes)

    def parameters(self, classes: int = 10) -> int:
        """Parameters at the published size, counted without memory for them."""
        import torch

        with torch.device("meta"):
            network = self.build(classes)
        count: int = registry.locate("edarts.nn.operations:count_parameters")(network)
        return count

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: all fields, and the `parameters` counted here."""
        fields = {key: value for key, value in vars(self).items() if key != "architecture"}
        return fields | {
            "published": asdict(self.published),
            "parameters": self.parameters(),
            "genotype": self.architecture.to_dict(),
        }

    def describe(self) -> str:
        """All of it as text, a line each."""
        sized = {"size": f"{self.cells} cells, {self.channels} channels"} if self.cells else {}
        lines = {
            **self.architecture.lines(),
            **self.architecture.details(),
            **sized,
            "parameters": f"{self.parameters():,} counted here, 10 classes, no auxiliary head",
            "published": self.published.describe(),
            "known as": self.row,
            "paper": f"{self.paper} {self.year}",
            "found by": self.method,
            "read in": self.source,
        }
        if self.differs:
            lines["differs"] = self.differs
        return "\n".join(f"{key:16}{value}" for key, value in lines.items())


def names() -> list[str]:
    """All names, in the order of the slides' table."""
    return list(_fields())


@cache
def get(name: str) -> Entry:
    """The entry called `name`; raises UsageError with the nearest names."""
    if name not in _fields():
        raise unknown("zoo name", name, _fields())
    fields = _fields()[name]
    known = {k: v for k, v in fields.items() if k in Entry.__dataclass_fields__}
    known["published"] = Published(**fields["published"])
    return Entry(name, architecture.from_dict(fields), **known)


def absent(row: str) -> Published | None:
    """The figures of a row of the slides' table whose architecture is not published in numbers."""
    figures = {entry["row"]: entry["published"] for entry in _data()["absent"]}
    return Published(**figures[row]) if row in figures else None


def rows() -> list[dict[str, Any]]:
    """`name`, `row`, `method`, `parameters` counted here and `published` figures of all entries."""
    return [
        {
            "name": entry.name,
            "row": entry.row,
            "method": entry.method,
            "parameters": entry.parameters(),
            "published": asdict(entry.published),
        }
        for entry in map(get, names())
    ]


def table(rows: Iterable[Mapping[str, Any]]) -> str:
    """`rows` as text: the slides' comparison table, the parameters published and counted here.

    Below it the slides' rows whose architecture is not published in numbers.
    """
    lines = [
        _line("name", "C10 %", "C100 %", "published M", "counted here", "GPU-days", "found by")
    ]
    absent = [{**row, "name": row["row"], "parameters": None} for row in _data()["absent"]]
    for row in [*rows, *absent]:
        published = Published(**row["published"])
        lines.append(
            _line(
                row["name"],
                _number(published.c10_error, 2),
                _number(published.c100_error, 2),
                _number(published.parameters_m),
                "-" if row["parameters"] is None else f"{row['parameters']:,}",
                _number(published.gpu_days),
                row["method"],
            )
        )
    return "\n".join(lines)


def _line(name: str, *columns: str) -> str:
    *numbers, method = columns
    widths = (5, 6, 11, 12, 8)
    aligned = [f"{text:>{width}}" for text, width in zip(numbers, widths, strict=True)]
    return "  ".join([f"{name:25}", *aligned, method])


def _number(value: float | None, digits: int | None = None) -> str:
    if value is None:
        return "-"
    return f"{value:g}" if digits is None else f"{value:.{digits}f}"


@cache
def _data() -> dict[str, Any]:
    return tomllib.loads(resources.files("edarts.space").joinpath("zoo.toml").read_text("utf-8"))


@cache
def _fields() -> dict[str, dict[str, Any]]:
    """The fields of each entry, by its name; building its architecture may need torch."""
    found = {}
    for family, table in _data().items():
        if not isinstance(table, dict):
            continue
        own = {k: v for k, v in table.items() if isinstance(v, dict) and k != "published"}
        shared = {k: v for k, v in table.items() if k not in own}
        for source, fields in own.items():
            found[f"{family}.{source}"] = shared | fields
    return found
