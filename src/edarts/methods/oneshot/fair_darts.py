"""Fair DARTS: sigmoids in place of DARTS' softmax, and a zero-one loss (Chu et al., ECCV 2020).

As in the authors' code (methods.md section 6): operations do not compete, each is on or off by
itself, and what stays below a threshold is left out, so that a node may have two inputs, one or
none. Two differences:
- a kind of cell in which nothing passes the threshold is derived as DARTS does; the authors' code
  returns an empty cell, which is no network;
- with attention, the first odds of the operations are in proportion to their shares.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from edarts.config import SearchConfig, given
from edarts.errors import UsageError
from edarts.methods.oneshot.base import FirstOrder, connected, strongest
from edarts.nn.supernet import Supernet
from edarts.space.darts import Space
from edarts.space.genotype import KINDS, Genotype

DEFAULTS: dict[str, Any] = {
    "epochs": 50,
    "batch_size": 128,
    "cells": 8,
    "channels": 16,
    "operations": (
        "max_pool_3x3,avg_pool_3x3,skip_connect,sep_conv_3x3,sep_conv_5x5,dil_conv_3x3,dil_conv_5x5"
    ),
    "topology": "all",
    "attention": "none",
    "data_fraction": 1.0,
    "arch_update": "step",
    "arch_lr": 3e-3,
    "arch_weight_decay": 1e-3,
    "lr": 0.005,
    "lr_min": 0.001,
    "momentum": 0.9,
    "weight_decay": 3e-4,
    "clip": 5.0,
    "zero_one": 10.0,
    "threshold": 0.85,
}


class FairDarts(FirstOrder):
    """alpha (E, K) for each kind, zero at first; weights are its sigmoid."""

    def __init__(self, space: Space, config: SearchConfig, device: torch.device) -> None:
        if "none" in space.operations:
            raise UsageError(
                "fair_darts turns each operation on or off: leave out operation 'none'"
            )
        super().__init__(space, config, device, betas=(0.9, 0.999), noise=0.0)
        for value in self.alphas.values.values():
            value.data -= value.data.mean(dim=-1, keepdim=True)
        self.zero_one, self.threshold = given(config.zero_one), given(config.threshold)

    def weights(self, training: bool) -> dict[str, Tensor]:
        """sigmoid(alpha), in training and out of it."""
        return {kind: value.sigmoid() for kind, value in self.alphas.values.items()}

    def penalty(self, net: Supernet, weights: Mapping[str, Tensor]) -> Tensor:
        """The zero-one loss, times its factor."""
        return self.zero_one * zero_one_loss(weights)

    def genotype(self) -> Genotype:
        """Of DARTS' two strongest edges into each node, those that reach the threshold."""
        return derive(self.space, self.weights(training=False), self.threshold)


def zero_one_loss(weights: Mapping[str, Tensor]) -> Tensor:
    """-mean (w - 0.5)^2 over both kinds together: least at 0 and 1."""
    return -((torch.cat([weights[kind].flatten() for kind in KINDS]) - 0.5) ** 2).mean()


def derive(space: Space, weights: Mapping[str, Tensor], threshold: float) -> Genotype:
    """The authors' `threshold_sparse`: rank edges, keep two a node, then drop the weak ones.

    An edge from a node that has lost its inputs goes with them.
    """
    ranked = strongest(space, weights)
    passing = {}
    for kind in KINDS:
        strength = dict(
            zip(space.candidates(kind), weights[kind].detach().flatten().tolist(), strict=True)
        )
        passing[kind] = [edge for edge in ranked.edges(kind) if strength[edge] >= threshold]
    return connected(space, passing, otherwise=ranked)


PLUGIN = FairDarts
