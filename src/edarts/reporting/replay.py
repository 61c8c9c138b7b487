"""The replay of a search: what the page's slider shows, epoch by epoch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

from markupsafe import Markup

from edarts.config import SearchConfig
from edarts.reporting.drawing import picture_of, svg
from edarts.space import architecture
from edarts.space.base import SearchSpace

Line = Mapping[str, Any]
"""One line of metrics.jsonl."""


@dataclass(frozen=True)
class Heat:
    """The table of a group's weights: a row for each edge and a column for each operation."""

    group: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Column:
    """One column of the replay: the different drawings of a part, and a table of weights.

    `heat`: None where the space has fewer groups than its architectures have parts.
    """

    caption: str
    drawings: tuple[Markup, ...]
    heat: Heat | None


@dataclass(frozen=True)
class Replay:
    """`frames`, one for each epoch, as the page's script reads them, and the `columns` beneath.

    A frame has a `label`; for each column the index of its drawing, `drawing`, and the rows of its
    table, `weights`; None where there is none.
    """

    frames: tuple[dict[str, Any], ...]
    columns: tuple[Column, ...]


@dataclass
class _Part:
    """A part of the architecture: its different drawings so far, in the order of their epochs."""

    caption: str
    drawings: dict[str, int] = field(default_factory=dict)

    def index(self, drawing: str) -> int:
        return self.drawings.setdefault(drawing, len(self.drawings))


def replay(settings: Mapping[str, Any], lines: Sequence[Line]) -> Replay | None:
    """The replay of a search with one line an epoch; None if no line holds weights."""
    search = [line for line in lines if "weights" in line]
    if not search:
        return None
    heats, parts = _rows(settings), list[_Part]()
    shown = [_drawings(line, parts) for line in search]
    paired = list(zip_longest(parts, heats))
    frames = tuple(
        {
            "label": f"{line['phase']}, epoch {line['epoch'] + 1}",
            "drawing": [drawn.get(column) for column in range(len(paired))],
            "weights": [line["weights"].get(heat.group) if heat else None for _, heat in paired],
        }
        for line, drawn in zip(search, shown, strict=True)
    )
    return Replay(frames, tuple(_column(part, heat) for part, heat in paired))


def _drawings(line: Line, parts: list[_Part]) -> dict[int, int]:
    """Part -> its drawing in this line; adds drawings, and parts, that have not been seen yet."""
    picture = picture_of(architecture.from_dict(line["genotype"]))
    panels = () if picture is None else picture.panels
    parts += [_Part(panel.caption) for panel in panels[len(parts) :]]
    return {index: parts[index].index(svg(panel)) for index, panel in enumerate(panels)}


def _column(part: _Part | None, heat: Heat | None) -> Column:
    if part is None:
        return Column(heat.group if heat else "", (), heat)
    return Column(part.caption, tuple(map(Markup, part.drawings)), heat)


def _rows(settings: Mapping[str, Any]) -> list[Heat]:
    """The tables of weights of the space that `settings` name, one for each group."""
    config = SearchConfig.from_settings(settings)
    space: SearchSpace = config.plugins()[1].of(config.with_options({}).space_options)
    return [
        Heat(group, _names(space.edges(group)), space.candidates(group)) for group in space.groups
    ]


def _names(edges: Sequence[tuple[int, int]]) -> tuple[str, ...]:
    """Of the rows of a table, where an edge may have two."""
    names: list[str] = []
    for source, node in edges:
        name = f"{source} to {node}"
        names.append(f"{name}, second" if name in names else name)
    return tuple(names)
