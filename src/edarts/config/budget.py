"""Budget: limits of what finding a network may cost, and of the network that is returned."""

from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal

from edarts.config.fields import UNSET, Between, Count, check_fields

CANDIDATES = "found,convnet,resnet,mobilenetv2,linear"
"""Who races if nothing else is said: the found cell, and plain networks."""


@dataclass(frozen=True)
class Budget:
    """Limits of what finding a network may cost, and of the network that is returned."""

    minutes: Annotated[float | None, Between(0.01)] = None
    """Minutes for everything: search, race, training and evaluation; a run that is continued counts
    those of before."""
    max_parameters: Count = UNSET
    """Parameters of the network at most."""
    max_macs: Count = UNSET
    """Multiply-adds for one image at most."""
    max_ms: Annotated[float | None, Between(1e-3)] = None
    """Milliseconds for one image at most: the median on one thread, measured here."""
    max_ram: Count = UNSET
    """KiB of memory at most: weights and the results that are alive at once, one image, step by
    step."""
    ram_type: Literal["float32", "int8"] = "float32"
    """What a number takes in that memory: four bytes or one."""

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def seconds(self) -> float | None:
        """The seconds of `minutes`."""
        return None if self.minutes is None else 60 * self.minutes

    @property
    def limits(self) -> dict[str, float]:
        """Those on the network that are given, by name."""
        names = [f.name for f in fields(self) if f.name.startswith("max_")]
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    def to_settings(self) -> dict[str, Any]:
        """What is given, for config.yaml."""
        given: dict[str, Any] = {"minutes": self.minutes, **self.limits}
        if "max_ram" in given:
            given["ram_type"] = self.ram_type
        return {name: value for name, value in given.items() if value is not None}
