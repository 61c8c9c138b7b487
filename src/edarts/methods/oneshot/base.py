"""What a one-shot method is: it learns which of a supernet's operations each edge takes.

A method knows a space by its groups, edges and candidates alone, so it searches any space. It
proposes; the driver opens data, writes, prints and resumes.
Shapes: E edges, K candidates, B images.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor, nn

from edarts.config import NoOptions, SearchConfig
from edarts.space.base import Architecture, SearchSpace

Batch: TypeAlias = tuple[Tensor, Tensor]
"""Normalised images (B, C, H, W) and labels (B,)."""
Weights: TypeAlias = dict[str, Tensor]
"""{group: (E, K)}: how much of each operation each edge takes."""

DARTS: dict[str, Any] = {
    "epochs": 50,
    "batch_size": 64,
    "cells": 8,
    "channels": 16,
    "operations": "all",
    "topology": "all",
    "attention": "none",
    "data_fraction": 1.0,
    "arch_update": "step",
    "arch_lr": 3e-4,
    "arch_weight_decay": 1e-3,
    "lr": 0.025,
    "lr_min": 0.001,
    "momentum": 0.9,
    "weight_decay": 3e-4,
    "clip": 5.0,
}
"""The values of DARTS' search (Liu et al. 2019; methods.md section 1), from which others differ."""

WITHOUT_NONE = (
    "max_pool_3x3,avg_pool_3x3,skip_connect,sep_conv_3x3,sep_conv_5x5,dil_conv_3x3,dil_conv_5x5"
)
"""DARTS' operations but `none`: the candidates of Fair DARTS and DrNAS."""

GENERAL: dict[str, Any] = {
    "preset": None,
    "warm_up": 0.0,
    "arch_every": 1,
    "nesterov": False,
    "channel_fraction": 1.0,
    "drop_path": 0.0,
    "patience": 0,
}
"""Options of every method, with the values of those that set no other."""


@dataclass(frozen=True)
class Stage:
    """A part of a search with one supernet: `epochs` epochs with `cells` cells.

    `mask`: {group: (E, K)} of the operations that its supernet has; None: all. `channel_fraction`:
    see `SearchConfig`; None: the config's. `grows`: whether the weights and their momentum are
    those of the stage before, widened, in place of new ones; where the supernet says how, by
    `grown_from(older)` -> (parameter, the older's, what widens a tensor). `rates`: (first, all):
    its learning rates are those of the epochs `first`, `first` + 1, ... of a cosine over `all`
    epochs; None: of a cosine of its own.
    """

    epochs: int
    cells: int
    mask: Mapping[str, Tensor] | None = None
    channel_fraction: float | None = None
    grows: bool = False
    rates: tuple[int, int] | None = None


class OneShot(ABC):
    """A method that learns the weights of a supernet's operations.

    `Options`: its own options. `DEFAULTS`: the shared options that it takes, with its paper's
    values, and its values for options of its space; a shared option that is in neither `DEFAULTS`
    nor `GENERAL` is refused, with the reason in `REASONS` if there is one. `PAPER`: what its paper
    ran at (`--preset paper`), as a difference to `DEFAULTS`, which suit two cores, and to its own
    options. `FIXED`: shared options that it sets itself. `SPACE`: the space that it searches unless
    told otherwise. `RESTS`: whether the weights of operations that a batch did not draw rest; if
    not, their momentum and decay move them on, as in code that computes all operations, or that
    leaves zeros as gradients. `PLANTED`: the options with which it solves the image problem of the
    contract tests in seconds, where its paper searches for days.
    """

    Options: ClassVar[type] = NoOptions
    DEFAULTS: ClassVar[Mapping[str, Any]] = DARTS
    FIXED: ClassVar[Mapping[str, Any]] = {}
    REASONS: ClassVar[Mapping[str, str]] = {}
    PAPER: ClassVar[Mapping[str, Any]] = {}
    RESTS: ClassVar[bool] = False
    SPACE: ClassVar[str] = "darts"
    PLANTED: ClassVar[Mapping[str, Any]] = {}
    is_black_box: ClassVar[bool] = False

    def __init__(self, space: SearchSpace, config: SearchConfig, device: torch.device) -> None:
        """Draws its first parameters from torch's generator; `config` is resolved.

        Raises UsageError for what it cannot search.
        """
        self.space, self.config, self.device = space, config, device

    @property
    def valid_batches(self) -> int:
        """How many validation batches an architecture step gets, one behind the other."""
        return 1

    @property
    def augments_valid(self) -> bool:
        """Whether those are augmented as training batches are."""
        return True

    @classmethod
    def taken(cls) -> dict[str, Any]:
        """The shared options that it takes, and its space's, with its values for them."""
        found = {**GENERAL, **cls.DEFAULTS}
        return {"arch_steps": None, **found} if "arch_update" in found else found

    def stages(self, epochs: int) -> Iterator[Stage]:
        """The supernets to train, in order; their epochs sum to `epochs`.

        Each is asked for when the one before is trained, so it may depend on what that has taught.
        """
        yield Stage(epochs, self.config.cells)

    def begin_epoch(self, net: nn.Module, epoch: int) -> None:  # noqa: B027 - most set nothing
        """Set what changes with the epoch of the stage (0-based), here or in `net`.

        Called before every step, as a resumed search begins amid an epoch.
        """

    @abstractmethod
    def weights(self, training: bool) -> Weights:
        """(E, K) for each group.

        `training`: for a step on a batch, where a method may draw them, else what it expects.
        """

    @abstractmethod
    def arch_step(
        self,
        net: nn.Module,
        train_batch: Batch,
        valid_batch: Batch,
        weight_optimizer: torch.optim.Optimizer,
    ) -> dict[str, float]:
        """Update the architecture once; returns `valid_loss` and `valid_accuracy`."""

    @abstractmethod
    def architecture(self) -> Architecture:
        """What the method would return now."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """All that a resumed search needs of it; tensors are copies."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""


@runtime_checkable
class Joint(Protocol):
    """What a method has whose architecture can learn from the loss of the weights' step."""

    def penalty(self, net: nn.Module, weights: Mapping[str, Tensor]) -> Tensor | float:
        """What the architecture's loss has beside the cross entropy."""

    def joint_step(self) -> None:
        """Update the architecture along the gradients that the backward pass has left in it."""
