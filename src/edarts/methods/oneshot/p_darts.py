"""P-DARTS: DARTS in three stages, ever deeper, with ever fewer operations (Chen et al., ICCV 2019).

As in the authors' code (methods.md section 5): 5, 11 and 17 cells with 8, 5 and 3 operations on an
edge. Each stage has a new supernet and new alphas, and inherits only which operations are left.
Skip connections are held back twice: by dropout behind them, which fades within a stage, and by a
cap on their number in the normal cell. Its rates are those of the authors' command; the paper
starts CIFAR-10 with none [M: methods.md].

Made general: `cells` is the first stage's depth, the others have 6 and 12 more; of K operations a
stage keeps K, 5/8 K and 3/8 K, but two at least; `epochs` is shared among the stages.
"""

from collections.abc import Iterator, Mapping
from math import exp
from typing import Any

import torch
from torch import Tensor

from edarts.config import SearchConfig, given
from edarts.errors import UsageError
from edarts.methods.oneshot.base import FirstOrder, strongest
from edarts.methods.oneshot.registry_ import Stage
from edarts.nn.supernet import Supernet
from edarts.space.darts import Space
from edarts.space.genotype import KINDS, Genotype

DEFAULTS: dict[str, Any] = {
    "epochs": 75,
    "warm_up": 10 / 25,
    "batch_size": 96,
    "cells": 5,
    "channels": 16,
    "operations": "all",
    "topology": "all",
    "attention": "none",
    "data_fraction": 1.0,
    "arch_update": "step",
    "arch_lr": 6e-4,
    "arch_weight_decay": 1e-3,
    "lr": 0.025,
    "lr_min": 0.0,
    "momentum": 0.9,
    "weight_decay": 3e-4,
    "clip": 5.0,
    "skip_cap": 2,
}

DEEPER = (0, 6, 12)  # cells of a stage beyond those of the first
KEPT = (1, 5 / 8, 3 / 8)  # share of the operations on an edge
DROPOUT = (0.1, 0.4, 0.7)  # first rate behind skip connections
DECAY = 0.2  # of the rate's logarithm, an epoch
ARCH_CLIP = 5.0


class PDarts(FirstOrder):
    """alpha (E, K) for each kind, and which of them are left; weights are the softmax of those."""

    def __init__(self, space: Space, config: SearchConfig, device: torch.device) -> None:
        if given(config.epochs) < len(DEEPER):
            raise UsageError(
                f"p_darts trains {len(DEEPER)} supernets: give that many epochs or more"
            )
        super().__init__(space, config, device, clip=ARCH_CLIP)
        self.config = config
        self.stage, self.epochs = 0, 1
        self.left = {
            kind: torch.ones_like(self.alphas.values[kind], dtype=torch.bool) for kind in KINDS
        }

    def stages(self, epochs: int) -> Iterator[Stage]:
        """Three; before the second and the third, the weakest operations go."""
        count = len(DEEPER)
        operations = len(self.space.operations)
        for stage in range(count):
            if stage:
                self.left = keep(self.weights(training=False), stage_size(operations, stage))
                self.alphas.redraw()
            self.stage, self.epochs = stage, (epochs + count - 1 - stage) // count
            yield Stage(self.epochs, self.cells + DEEPER[stage], built=self.left)

    def begin_epoch(self, net: Supernet, epoch: int) -> None:
        """Dropout behind skip connections, at this epoch's rate."""
        warm_up = self.config.warm_up_epochs(self.epochs)
        net.set_skip_dropout(dropout_rate(DROPOUT[self.stage], epoch, self.epochs, warm_up))

    def weights(self, training: bool) -> dict[str, Tensor]:
        """softmax(alpha) over the operations that are left; exact zeros for the others."""
        return {
            kind: self.alphas.values[kind].masked_fill(~self.left[kind], -torch.inf).softmax(dim=-1)
            for kind in KINDS
        }

    def genotype(self) -> Genotype:
        """DARTS' rule, with a cap on the skip connections of the normal cell."""
        return cap_skips(self.space, self.weights(training=False), given(self.config.skip_cap))

    def state_dict(self) -> dict[str, Any]:
        return {"alphas": super().state_dict(), "left": self.left}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state["alphas"])
        for kind in KINDS:
            self.left[kind].copy_(state["left"][kind])


def stage_size(operations: int, stage: int) -> int:
    """Operations on an edge: of eight 8, 5, 3."""
    return max(min(operations, 2), round(KEPT[stage] * operations))


def keep(weights: Mapping[str, Tensor], size: int) -> dict[str, Tensor]:
    """(E, K) mask for each kind: the `size` largest weights of every edge.

    `none` may be kept or go like any other; discretisation never takes it.
    """
    return {
        kind: torch.zeros_like(w, dtype=torch.bool).scatter(1, w.topk(size, dim=-1).indices, True)
        for kind, w in weights.items()
    }


def dropout_rate(first: float, epoch: int, epochs: int, warm_up: int) -> float:
    """Rate in epoch 0, 1, ... of a stage: falls linearly in the warm-up, then exponentially."""
    if epoch < warm_up:
        return first * (epochs - epoch - 1) / epochs
    return first * exp(-DECAY * (epoch - warm_up))


def cap_skips(space: Space, weights: Mapping[str, Tensor], cap: int) -> Genotype:
    """DARTS' genotype with at most `cap` skip connections in the normal cell.

    While there are more, the weakest one's weight is set to zero and the cell derived anew (the
    authors' code, M = cap). Where an edge has nothing but its skip connection, that stays.
    """
    weights = {kind: w.detach().clone() for kind, w in weights.items()}
    while True:
        genotype = strongest(space, weights)
        rows = [
            space.topology("normal").index((edge.source, edge.node))
            for edge in genotype.normal
            if edge.operation == "skip_connect"
        ]
        if len(rows) <= cap:
            return genotype
        column = weights["normal"][:, space.operations.index("skip_connect")]
        positive = [row for row in rows if column[row] > 0]
        if not positive:
            return genotype
        column[min(positive, key=lambda row: float(column[row]))] = 0


PLUGIN = PDarts
