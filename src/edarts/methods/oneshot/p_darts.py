"""P-DARTS: DARTS in three stages, ever deeper, with ever fewer operations (Chen et al., ICCV 2019).

As in the authors' code (methods.md section 5): 5, 11 and 17 cells with 8, 5 and 3 operations on an
edge. Each stage has a new supernet and new alphas, and inherits only which operations are left.
Skip connections are held back twice: by dropout behind them, which fades within a stage, and by a
cap on their number in the normal cell. Its rates are those of the authors' command; the paper
starts with none on CIFAR-10 (`--preset paper`), and has 0.1, 0.2, 0.3 on CIFAR-100 [M: methods.md].

Made general: `cells` is the first stage's depth, the others have 6 and 12 more; of K operations a
stage keeps K, 5/8 K and 3/8 K, but two at least; `epochs` is shared among the stages.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import exp
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor, nn

from edarts.config import Between, SearchConfig
from edarts.errors import UsageError
from edarts.methods.oneshot.alphas import FirstOrder
from edarts.methods.oneshot.base import DARTS, Stage, Weights
from edarts.methods.oneshot.derive import largest, strongest
from edarts.space.base import Architecture, SearchSpace


@dataclass(frozen=True)
class Options:
    """What can be chosen of the method."""

    skip_cap: Annotated[int, Between(0)] = 2
    """Most skip connections in the first group of the space, such as the normal cell."""
    skip_dropout: str = "0.1,0.4,0.7"
    """Rates of the dropout behind skip connections at the start of each stage (0..1)."""


DEEPER = (0, 6, 12)  # cells of a stage beyond those of the first
KEPT = (1, 5 / 8, 3 / 8)  # share of the operations on an edge
DECAY = 0.2  # of the rate's logarithm, an epoch
ARCH_CLIP = 5.0


class PDarts(FirstOrder):
    """alpha (E, K) for each group, and which of them are left; weights are the softmax of those."""

    Options: ClassVar[type] = Options
    # Three supernets, each begun anew and deeper than the one before.
    PLANTED: ClassVar[Mapping[str, Any]] = {
        "arch_lr": 0.2,
        "epochs": 45,
        "warm_up": 0.2,
        "cells": 2,
    }
    DEFAULTS: ClassVar[Mapping[str, Any]] = DARTS | {
        "epochs": 75,
        "warm_up": 10 / 25,
        "batch_size": 96,
        "cells": 5,
        "arch_lr": 6e-4,
        "lr_min": 0.0,
    }
    PAPER: ClassVar[Mapping[str, Any]] = {"skip_dropout": "0.0,0.4,0.7"}

    def __init__(self, space: SearchSpace, config: SearchConfig, device: torch.device) -> None:
        if config.epochs < len(DEEPER):
            raise UsageError(
                f"p_darts trains {len(DEEPER)} supernets: give that many epochs or more"
            )
        super().__init__(space, config, device, clip=ARCH_CLIP)
        self.dropout = parse_rates(config.options.skip_dropout)
        self.stage, self.epochs = 0, 1
        values = self.alphas.values
        self.left = {g: torch.ones_like(values[g], dtype=torch.bool) for g in space.groups}

    def stages(self, epochs: int) -> Iterator[Stage]:
        """Three; before the second and the third, the weakest operations go."""
        count = len(DEEPER)
        for stage in range(count):
            if stage:
                self.left = keep(self.weights(training=False), stage)
                self.alphas.redraw()
            self.stage, self.epochs = stage, (epochs + count - 1 - stage) // count
            yield Stage(self.epochs, self.config.cells + DEEPER[stage], mask=self.left)

    def begin_epoch(self, net: nn.Module, epoch: int) -> None:
        """Dropout behind skip connections, at this epoch's rate."""
        warm_up = self.config.warm_up_epochs(self.epochs)
        rate = dropout_rate(self.dropout[self.stage], epoch, self.epochs, warm_up)
        setter = getattr(net, "set_skip_dropout", None)
        if setter is None:
            raise UsageError("p_darts drops values behind skip connections; this space cannot")
        setter(rate)

    def weights(self, training: bool) -> Weights:
        """softmax(alpha) over the operations that are left; exact zeros for the others."""
        return {
            group: self.alphas.values[group].masked_fill(~left, -torch.inf).softmax(dim=-1)
            for group, left in self.left.items()
        }

    def architecture(self) -> Architecture:
        """DARTS' rule, with a cap on the skip connections of the normal cell."""
        cap = self.config.options.skip_cap
        return self.space.derive(cap_skips(self.space, self.weights(training=False), cap))

    def state_dict(self) -> dict[str, Any]:
        return {"alphas": super().state_dict(), "left": self.left}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state["alphas"])
        for group in self.space.groups:
            self.left[group].copy_(state["left"][group])


def stage_size(operations: int, stage: int) -> int:
    """Operations on an edge: of eight 8, 5, 3."""
    return max(min(operations, 2), round(KEPT[stage] * operations))


def keep(weights: Mapping[str, Tensor], stage: int) -> Weights:
    """(E, K) mask for each group: the `stage_size` largest weights of every edge.

    Of equal ones the later operations stay, as in the authors' code. `none` may be kept or go like
    any other; discretisation never takes it.
    """
    return {group: largest(w, stage_size(w.shape[-1], stage)) for group, w in weights.items()}


def parse_rates(text: str) -> tuple[float, ...]:
    """The rate of each stage. Raises UsageError for anything but three numbers in [0, 1)."""
    try:
        rates = tuple(float(part) for part in text.split(","))
    except ValueError:
        rates = ()
    if len(rates) != len(DEEPER) or not all(0 <= rate < 1 for rate in rates):
        raise UsageError(
            f"skip_dropout '{text}': give a rate from 0 to below 1 for each of the {len(DEEPER)}"
            " stages, such as 0.1,0.4,0.7"
        )
    return rates


def dropout_rate(first: float, epoch: int, epochs: int, warm_up: int) -> float:
    """Rate in epoch 0, 1, ... of a stage: falls linearly in the warm-up, then exponentially."""
    if epoch < warm_up:
        return first * (epochs - epoch - 1) / epochs
    return first * exp(-DECAY * (epoch - warm_up))


def cap_skips(
    space: SearchSpace, weights: Mapping[str, Tensor], cap: int
) -> dict[str, list[tuple[int, int]]]:
    """DARTS' choice with at most `cap` skip connections in the first group, the normal cell.

    While there are more, the weakest one's weight is set to zero and the cell derived anew (the
    authors' code, M = cap). Where an edge has nothing but its skip connection, that stays.
    """
    weights = {group: w.detach().clone() for group, w in weights.items()}
    first = space.groups[0]
    names = space.candidates(first)
    while True:
        chosen = strongest(space, weights)
        rows = [row for row, column in chosen[first] if names[column] == "skip_connect"]
        if len(rows) <= cap:
            return chosen
        shares = weights[first][:, names.index("skip_connect")]
        positive = [row for row in sorted(rows) if shares[row] > 0]
        if not positive:
            return chosen
        shares[min(positive, key=lambda row: float(shares[row]))] = 0


PLUGIN = PDarts
