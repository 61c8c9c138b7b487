"""GDAS: one operation on every edge for a batch, drawn by Gumbel, learned straight through
(Dong and Yang, CVPR 2019).

The figures are the paper's [from memory], and the temperature falls as in the authors' code;
weights and architecture are trained in turn, as by DARTS. Only the drawn operations are computed,
so an alpha learns through them alone; the weights of the others are moved on by momentum and decay,
as in the authors' code with the torch of its time, which left zeros as their gradients.
Differences: docs/methods.md, section 23.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from edarts.config import SearchConfig
from edarts.methods.oneshot.alphas import FirstOrder, gumbel
from edarts.methods.oneshot.base import DARTS, Weights
from edarts.space.base import SearchSpace

HOTTEST, COLDEST = 10.0, 0.1


class GDAS(FirstOrder):
    """alpha (E, K) for each group; weights are a one-hot draw, with the soft one's gradient."""

    # An operation learns only when it is drawn, so that one with a head start learns faster.
    PLANTED: ClassVar[Mapping[str, Any]] = {"attention": "none", "epochs": 20, "arch_lr": 0.2}
    DEFAULTS: ClassVar[Mapping[str, Any]] = DARTS | {"epochs": 240}
    PAPER: ClassVar[Mapping[str, Any]] = {"cells": 6}

    def __init__(self, space: SearchSpace, config: SearchConfig, device: torch.device) -> None:
        super().__init__(space, config, device)
        self.epochs, self.temperature = config.epochs, HOTTEST

    def begin_epoch(self, net: nn.Module, epoch: int) -> None:
        """Linear cooling, to the coldest in the last epoch."""
        done = epoch / max(1, self.epochs - 1)
        self.temperature = HOTTEST + done * (COLDEST - HOTTEST)

    def weights(self, training: bool) -> Weights:
        """In training a draw; else softmax(alpha)."""
        if not training:
            return self.alphas.softmax()
        return {
            group: straight_through(self.alphas.values[group].log_softmax(-1), self.temperature)
            for group in self.space.groups
        }


def straight_through(log_p: Tensor, temperature: float) -> Tensor:
    """(E, K) one-hot argmax of log p + G, with the gradient of its softmax at `temperature`."""
    noise = gumbel(log_p.shape).to(log_p.device)
    soft = ((log_p + noise) / temperature).softmax(dim=-1)
    hard = torch.zeros_like(soft).scatter(1, soft.argmax(dim=-1, keepdim=True), 1.0)
    return hard + (soft - soft.detach())  # the bracket is exactly zero


PLUGIN = GDAS
