"""One file per method. Listing the methods is listing this folder; no file imports another.

A method file has `DEFAULTS`, the SearchConfig fields that it takes with its paper's values, and a
class `Method` that fulfils `OneShot`. It proposes; the driver in oneshot.py opens data, writes,
prints and resumes. A field that DEFAULTS leaves out is refused, with the reason in `REASONS` if the
file has one, unless it is one of `GENERAL`, which the driver and the supernet provide for all.
"""

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

from edarts import registry
from edarts.config import given
from edarts.errors import UsageError, unknown
from edarts.methods.blackbox import registry_ as samplers

if TYPE_CHECKING:  # listing the methods, as --help does, needs no torch
    import torch
    from torch import Tensor

    from edarts.config import SearchConfig
    from edarts.nn.supernet import Supernet
    from edarts.space.darts import Space
    from edarts.space.genotype import Genotype

Batch: TypeAlias = "tuple[Tensor, Tensor]"
"""Normalised images (B, C, H, W) and labels (B,)."""


GENERAL: dict[str, Any] = {"warm_up": 0.0, "partial": 1, "drop_path": 0.0}
"""Options of every method, with the values of those that set no other."""


@dataclass(frozen=True)
class Stage:
    """A part of a search with one supernet: `epochs` epochs with `cells` cells.

    `built`: {kind: (E, K) mask} of the operations that its supernet has; None: all.
    """

    epochs: int
    cells: int
    built: "Mapping[str, Tensor] | None" = None


class OneShot(Protocol):
    """A method that learns the weights of a supernet's operations."""

    def __init__(self, space: "Space", config: "SearchConfig", device: "torch.device") -> None:
        """Draws its first parameters from torch's generator; `config` is resolved."""

    def stages(self, epochs: int) -> Iterator[Stage]:
        """The supernets to train, in order; their epochs sum to `epochs`.

        Each is asked for when the one before is trained, so it may depend on what that has taught.
        """

    def begin_epoch(self, net: "Supernet", epoch: int) -> None:
        """Set what changes with the epoch of the stage (0-based), here or in `net`.

        Called before every step, as a resumed search begins amid an epoch.
        """

    def weights(self, training: bool) -> "dict[str, Tensor]":
        """{"normal": (E, K), "reduce": (E, K)}: how much of each operation each edge takes.

        `training`: for a step on a batch, where a method may draw them, else what it expects.
        """

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


@runtime_checkable
class Joint(Protocol):
    """What a method has whose architecture can learn from the loss of the weights' step."""

    def penalty(self, net: "Supernet", weights: "Mapping[str, Tensor]") -> "Tensor | float":
        """What the architecture's loss has beside the cross entropy."""

    def joint_step(self) -> None:
        """Update the architecture along the gradients that the backward pass has left in it."""


class OneStage:
    """What most methods share: one supernet, and nothing that changes with the epoch."""

    def __init__(self, config: "SearchConfig") -> None:
        self.cells = given(config.cells)

    def stages(self, epochs: int) -> Iterator[Stage]:
        """One."""
        yield Stage(epochs, self.cells)

    def begin_epoch(self, net: "Supernet", epoch: int) -> None:
        """Nothing."""


def names() -> list[str]:
    """The methods there are."""
    return registry.names("methods")


def load(name: str) -> ModuleType:
    """The module of method `name`; raises UsageError with the nearest names."""
    if name not in names():
        raise unknown("method", name, [*names(), *samplers.names()])
    return importlib.import_module(f"edarts.methods.oneshot.{name}")


def options(name: str) -> dict[str, Any]:
    """The SearchConfig fields that method `name` takes, with their defaults."""
    declared = GENERAL | load(name).DEFAULTS
    return {"arch_steps": None, **declared} if "arch_update" in declared else declared


def check_options(config: "SearchConfig") -> None:
    """Raises UsageError if `config` sets an option that its method does not take."""
    module, taken = load(config.method), options(config.method)
    for name, value in vars(config).items():
        if value is not None and name != "method" and name not in taken:
            reason = getattr(module, "REASONS", {}).get(name)
            others = [other for other in names() if name in options(other)]
            raise UsageError(
                f"method {config.method} takes no --{name.replace('_', '-')}"
                + (f": {reason}" if reason else "")
                + f" (methods that do: {', '.join(others)})"
            )
