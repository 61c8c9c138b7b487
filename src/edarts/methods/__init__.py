"""One file per method. Listing the methods is listing this folder; no file imports another.

A method file has `DEFAULTS`, the SearchConfig fields that its paper sets, and a class `Method` that
fulfils `OneShot`. It proposes; the driver in search.py opens data, writes, prints and resumes.
"""

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from edarts.errors import unknown

if TYPE_CHECKING:  # listing the methods, as --help does, needs no torch
    import torch
    from torch import Tensor

    from edarts.config import SearchConfig
    from edarts.genotype import Genotype
    from edarts.space import Space
    from edarts.supernet import Supernet

Batch: TypeAlias = "tuple[Tensor, Tensor]"
"""Normalised images (B, C, H, W) and labels (B,)."""


@dataclass(frozen=True)
class Stage:
    """A part of a search with one supernet: `epochs` epochs with `cells` cells."""

    epochs: int
    cells: int


class OneShot(Protocol):
    """A method that learns the weights of a supernet's operations."""

    def __init__(self, space: "Space", config: "SearchConfig", device: "torch.device") -> None:
        """Draws its first parameters from torch's generator; `config` is resolved."""

    def stages(self, epochs: int) -> list[Stage]:
        """The supernets to train, in order; their epochs sum to `epochs`."""

    def weights(self, training: bool) -> "dict[str, Tensor]":
        """{"normal": (E, K), "reduce": (E, K)}: how much of each operation each edge takes."""

    def arch_step(
        self,
        net: "Supernet",
        train_batch: Batch,
        valid_batch: Batch,
        weight_optimizer: "torch.optim.Optimizer",
    ) -> dict[str, float]:
        """Update the architecture once; returns `valid_loss` and `valid_accuracy`."""

    def genotype(self) -> "Genotype":
        """The cells that the method would return now."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


def names() -> list[str]:
    """The methods there are."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))


def load(name: str) -> ModuleType:
    """The module of method `name`; raises UsageError with the nearest names."""
    if name not in names():
        raise unknown("method", name, names())
    return importlib.import_module(f"{__name__}.{name}")
