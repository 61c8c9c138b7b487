"""What `edarts search --dry-run` tells: the values of every option, and the time."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edarts.reporting.reports import text


@dataclass(frozen=True)
class SearchPlan:
    """What a one-shot search would run at, and about how long: nothing was searched.

    `settings`: every option of the search with its value. `usual`: the method's defaults.
    `seconds`: of the whole search on this machine.
    """

    settings: Mapping[str, Any]
    usual: Mapping[str, Any]
    seconds: float

    @property
    def hours(self) -> float:
        """The same in hours."""
        return self.seconds / 3600

    def summary(self) -> str:
        """A line for each option, with the default where that is another value."""
        lines = {name: self._shown(name) for name in self.settings}
        told = f"{self.hours:.3g}" if self.hours < 100 else f"{self.hours:,.0f}"
        lines["time"] = f"about {told} hours on this machine"
        return text(lines)

    def _shown(self, name: str) -> str:
        value, usual = self.settings[name], self.usual.get(name)
        return f"{value}" if value == usual or name == "preset" else f"{value}   (default: {usual})"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"settings": dict(self.settings), "seconds": self.seconds, "hours": self.hours}
