"""GDAS: one operation on every edge for a batch, drawn by Gumbel, learned straight through
(Dong and Yang, CVPR 2019).

The figures are the paper's [from memory]; weights and architecture are trained in turn, as by
DARTS. Only the drawn operations are computed, so an alpha learns through them alone.
"""

from typing import Any

import torch
from torch import Tensor

from edarts.config import SearchConfig, given
from edarts.methods.oneshot.base import FirstOrder, gumbel
from edarts.nn.supernet import Supernet
from edarts.space.darts import Space
from edarts.space.genotype import KINDS

DEFAULTS: dict[str, Any] = {
    "epochs": 240,
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

HOTTEST, COLDEST = 10.0, 0.1


class GDAS(FirstOrder):
    """alpha (E, K) for each kind; weights are a one-hot draw, with the gradient of the soft one."""

    def __init__(self, space: Space, config: SearchConfig, device: torch.device) -> None:
        super().__init__(space, config, device)
        self.epochs, self.temperature = given(config.epochs), HOTTEST

    def begin_epoch(self, net: Supernet, epoch: int) -> None:
        """Linear cooling, to the coldest in the last epoch."""
        done = epoch / max(1, self.epochs - 1)
        self.temperature = HOTTEST + done * (COLDEST - HOTTEST)

    def weights(self, training: bool) -> dict[str, Tensor]:
        """In training a draw; else softmax(alpha)."""
        if not training:
            return self.alphas.softmax()
        return {
            kind: straight_through(self.alphas.values[kind].log_softmax(-1), self.temperature)
            for kind in KINDS
        }


def straight_through(log_p: Tensor, temperature: float) -> Tensor:
    """(E, K) one-hot argmax of log p + G, with the gradient of its softmax at `temperature`."""
    noise = gumbel(log_p.shape).to(log_p.device)
    soft = ((log_p + noise) / temperature).softmax(dim=-1)
    hard = torch.zeros_like(soft).scatter(1, soft.argmax(dim=-1, keepdim=True), 1.0)
    return hard + (soft - soft.detach())  # the bracket is exactly zero


PLUGIN = GDAS
