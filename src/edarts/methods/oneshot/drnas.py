"""DrNAS: the weights of an edge are a draw from a Dirichlet distribution that learns its
concentration (Chen et al., ICLR 2021).

The figures are the paper's [from memory]. Its regularisation is the decay of alpha, in the form of
its l2 variant. Its progressive learning, in two stages, is left out: the supernet stays as it is,
with one in four channels through the operations.
"""

from typing import Any

import torch
from torch import Tensor

from edarts.config import SearchConfig
from edarts.methods.oneshot.base import FirstOrder
from edarts.space.darts import Space

DEFAULTS: dict[str, Any] = {
    "epochs": 50,
    "batch_size": 64,
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


class DrNAS(FirstOrder):
    """alpha (E, K) for each kind; weights are a draw from Dirichlet(elu(alpha) + 1)."""

    def __init__(self, space: Space, config: SearchConfig, device: torch.device) -> None:
        super().__init__(space, config, device)
        for value in self.alphas.values.values():  # so that concentrations follow the attention
            share = value.data.softmax(dim=-1) * value.shape[-1]
            value.data = torch.where(share > 1, share - 1, share.log())

    def weights(self, training: bool) -> dict[str, Tensor]:
        """In training a draw, with its pathwise gradient; else the mean of the distribution."""
        return {
            kind: draw(concentration) if training else concentration / concentration.sum(-1, True)
            for kind, concentration in self.concentrations().items()
        }

    def concentrations(self) -> dict[str, Tensor]:
        """(E, K) for each kind, all above zero; one is uniform over the simplex."""
        return {k: torch.nn.functional.elu(v) + 1 for k, v in self.alphas.values.items()}


def draw(concentration: Tensor) -> Tensor:
    """(E, K), rows sum to one; drawn on the CPU, alike for every device."""
    return torch.distributions.Dirichlet(concentration.cpu()).rsample().to(concentration.device)


PLUGIN = DrNAS
