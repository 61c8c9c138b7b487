"""PC-DARTS: DARTS on a quarter of the channels, with normalised edges (Xu et al., ICLR 2020).

As in the authors' code (methods.md section 4): on every edge the first quarter of the channels
goes through the operations, the others pass by, and a channel shuffle mixes both; every edge has a
beta beside its alphas, softmaxed over the edges of its node; the architecture rests for the first
15 of 50 epochs. The channels are the supernet's part (`Cell`); the edges that pass by take the sum
of an edge's weights, which is its beta.
"""

from typing import Any

import torch
from torch import Tensor

from edarts.config import SearchConfig
from edarts.methods.oneshot.base import NOISE, FirstOrder
from edarts.space.darts import Space
from edarts.space.genotype import KINDS

DEFAULTS: dict[str, Any] = {
    "epochs": 50,
    "warm_up": 15 / 50,
    "batch_size": 256,
    "cells": 8,
    "channels": 16,
    "partial": 4,
    "operations": "all",
    "topology": "all",
    "attention": "none",
    "data_fraction": 1.0,
    "arch_update": "step",
    "arch_lr": 6e-4,
    "arch_weight_decay": 1e-3,
    "lr": 0.1,
    "lr_min": 0.0,
    "momentum": 0.9,
    "weight_decay": 3e-4,
    "clip": 5.0,
}


class PCDarts(FirstOrder):
    """alpha (E, K) and beta (E,) for each kind; weights are the product of their softmaxes."""

    def __init__(self, space: Space, config: SearchConfig, device: torch.device) -> None:
        super().__init__(space, config, device)
        self.betas = {
            kind: self.alphas.add(f"{kind} beta", NOISE * torch.randn(len(space.topology(kind))))
            for kind in KINDS
        }

    def weights(self, training: bool) -> dict[str, Tensor]:
        """(E, K): softmax(alpha) over operations times softmax(beta) over the edges of a node.

        A row sums to the share of its edge; so DARTS' rule on these weights is the authors' too.
        """
        alphas, shares = self.alphas.softmax(), self.edge_shares()
        return {kind: shares[kind][:, None] * alphas[kind] for kind in KINDS}

    def edge_shares(self) -> dict[str, Tensor]:
        """(E,) for each kind: softmax of beta, over the edges that enter the same node."""
        return {
            kind: torch.cat(
                [
                    self.betas[kind][rows].softmax(dim=0)
                    for rows in self.space.incoming(kind).values()
                ]
            )
            for kind in KINDS
        }


PLUGIN = PCDarts
