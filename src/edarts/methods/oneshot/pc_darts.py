"""PC-DARTS: DARTS on a quarter of the channels, with normalised edges (Xu et al., ICLR 2020).

As in the authors' code (methods.md section 4): on every edge the first quarter of the channels
goes through the operations, the others pass by, and a channel shuffle mixes both; every edge has a
beta beside its alphas, softmaxed over the edges of its node; the architecture rests for the first
15 of 50 epochs. The channels are the supernet's part (`Cell`); the edges that pass by take the sum
of an edge's weights, which is its beta.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from edarts.config import SearchConfig
from edarts.methods.oneshot.alphas import NOISE, FirstOrder
from edarts.methods.oneshot.base import DARTS, Weights
from edarts.space.base import SearchSpace


class PCDarts(FirstOrder):
    """alpha (E, K) and beta (E,) for each group; weights are the product of their softmaxes."""

    DEFAULTS: ClassVar[Mapping[str, Any]] = DARTS | {
        "warm_up": 15 / 50,
        "batch_size": 256,
        "channel_fraction": 1 / 4,
        "arch_lr": 6e-4,
        "lr": 0.1,
        "lr_min": 0.0,
    }

    def __init__(self, space: SearchSpace, config: SearchConfig, device: torch.device) -> None:
        super().__init__(space, config, device)
        self.betas = {
            group: self.alphas.add(f"{group} beta", NOISE * torch.randn(space.shape(group)[0]))
            for group in self.space.groups
        }

    def weights(self, training: bool) -> Weights:
        """(E, K): softmax(alpha) over operations times softmax(beta) over the edges of a node.

        A row sums to the share of its edge; so DARTS' rule on these weights is the authors' too.
        """
        alphas, shares = self.alphas.softmax(), self.edge_shares()
        return {group: shares[group][:, None] * alphas[group] for group in self.space.groups}

    def edge_shares(self) -> Weights:
        """(E,) for each group: softmax of beta, over the edges that enter the same node."""
        return {
            group: torch.cat(
                [
                    self.betas[group][rows].softmax(dim=0)
                    for rows in self.space.incoming(group).values()
                ]
            )
            for group in self.space.groups
        }


PLUGIN = PCDarts
