"""DrNAS: the weights of an edge are a draw from a Dirichlet distribution that learns its
concentration (Chen et al., ICLR 2021).

The figures are the paper's [from memory]. Its regularisation is the decay of alpha, in the form of
its l2 variant. Its progressive learning, in two stages, is left out: the supernet stays as it is,
with one in four channels through the operations.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from edarts.config import SearchConfig
from edarts.methods.oneshot.alphas import FirstOrder
from edarts.methods.oneshot.base import DARTS, Weights
from edarts.space.base import SearchSpace


class DrNAS(FirstOrder):
    """alpha (E, K) for each group; weights are a draw from Dirichlet(elu(alpha) + 1)."""

    DEFAULTS: ClassVar[Mapping[str, Any]] = DARTS | {
        "channel_fraction": 1 / 4,
        "arch_lr": 6e-4,
        "lr": 0.1,
        "lr_min": 0.0,
    }

    def __init__(self, space: SearchSpace, config: SearchConfig, device: torch.device) -> None:
        super().__init__(space, config, device)
        for value in self.alphas.values.values():  # so that concentrations follow the attention
            share = value.data.softmax(dim=-1) * value.shape[-1]
            value.data = torch.where(share > 1, share - 1, share.log())

    def weights(self, training: bool) -> Weights:
        """In training a draw, with its pathwise gradient; else the mean of the distribution."""
        return {
            group: draw(concentration) if training else concentration / concentration.sum(-1, True)
            for group, concentration in self.concentrations().items()
        }

    def concentrations(self) -> Weights:
        """(E, K) for each group, all above zero; one is uniform over the simplex."""
        return {k: torch.nn.functional.elu(v) + 1 for k, v in self.alphas.values.items()}


def draw(concentration: Tensor) -> Tensor:
    """(E, K), rows sum to one; drawn on the CPU, alike for every device."""
    return torch.distributions.Dirichlet(concentration.cpu()).rsample().to(concentration.device)


PLUGIN = DrNAS
