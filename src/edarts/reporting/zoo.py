"""The zoo as a person asks for it: listed, shown, drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edarts.errors import UsageError, unknown
from edarts.reporting import drawing
from edarts.reporting.reports import FilesReport
from edarts.space import zoo as entries

ACTIONS = ("list", "show", "draw")


@dataclass(frozen=True)
class ZooReport:
    """All entries, or one of them."""

    entries: Sequence[entries.Entry]
    one: bool

    def summary(self) -> str:
        """For a terminal: the comparison table, or all that is known of one."""
        return self.entries[0].describe() if self.one else entries.table(entries.rows())

    def to_dict(self) -> Any:
        """JSON-ready: a list of short rows, or all of one."""
        return self.entries[0].to_dict() if self.one else entries.rows()


def zoo(
    action: str = "list", name: str | None = None, out: str | Path | None = None
) -> ZooReport | FilesReport:
    """List all, show one, or draw one into the folder `out`. Raises UsageError, EdartsError."""
    if action not in ACTIONS:
        raise unknown("zoo action", action, ACTIONS)
    if action == "list" and name is not None:
        raise UsageError(f"zoo list takes no name; `edarts zoo show {name}` shows one")
    if out is not None and action != "draw":
        raise UsageError(f"--out is for zoo draw; zoo {action} writes no file")
    if action == "list":
        return ZooReport([entries.get(each) for each in entries.names()], one=False)
    if name is None:
        raise UsageError(f"zoo {action} needs a name; `edarts zoo list` lists them")
    entry = entries.get(name)
    if action == "show":
        return ZooReport([entry], one=True)
    paths = drawing.draw(entry.architecture, Path(out or "."), title=name, stem=name)
    return FilesReport(tuple(paths), name)
