"""DrNAS: the weights of an edge are a draw from a Dirichlet distribution that learns its
concentration, in two stages (Chen et al., ICLR 2021).

As in the authors' code: seven operations without `none`; first with 1/6 of the channels through
them, then with 1/4 and the four strongest of each edge. The second stage goes on with the weights
of the first, widened, their momentum, and one cosine of learning rates over both; in each the
architecture rests for 10 of 25 epochs. The regularisation is the decay of alpha (their `l2`).
Differences: docs/methods.md, section 23. The defaults are 8 cells of 24 channels in place of 20 of
36 (`--preset paper`).

Made general: `channel_fraction` is that of the second stage, and the first has two thirds of it, or
the next smaller share that divides the channels; of K operations 4/7 K stay, but two at least;
`epochs` is shared between the stages.
"""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from edarts.config import SearchConfig
from edarts.errors import UsageError
from edarts.methods.oneshot.alphas import FirstOrder
from edarts.methods.oneshot.base import DARTS, WITHOUT_NONE, Stage, Weights
from edarts.methods.oneshot.derive import largest
from edarts.space.base import SearchSpace

STAGES = 2
FIRST_SHARE = 2 / 3  # of the second stage's share of the channels: 1/6 before 1/4
KEPT = 4 / 7  # share of the operations that the second stage has


class DrNAS(FirstOrder):
    """alpha (E, K) for each group, and which of them are left; weights are a draw from
    Dirichlet(elu(alpha) + 1), of those that are left.
    """

    PLANTED: ClassVar[Mapping[str, Any]] = {"warm_up": 0.2}
    DEFAULTS: ClassVar[Mapping[str, Any]] = DARTS | {
        "operations": WITHOUT_NONE,
        "channels": 24,  # both shares divide it
        "warm_up": 10 / 25,
        "channel_fraction": 1 / 4,
        "arch_lr": 6e-4,
        "lr": 0.1,
        "lr_min": 0.0,
    }
    PAPER: ClassVar[Mapping[str, Any]] = {"cells": 20, "channels": 36}

    def __init__(self, space: SearchSpace, config: SearchConfig, device: torch.device) -> None:
        if config.epochs < STAGES:
            raise UsageError(f"drnas has {STAGES} stages: give that many epochs or more")
        super().__init__(space, config, device)
        for value in self.alphas.values.values():  # so that concentrations follow the attention
            share = value.data.softmax(dim=-1) * value.shape[-1]
            value.data = torch.where(share > 1, share - 1, share.log())
        values = self.alphas.values
        self.left = {g: torch.ones_like(values[g], dtype=torch.bool) for g in space.groups}

    def stages(self, epochs: int) -> Iterator[Stage]:
        """Two; before the second, the weakest operations go, and their alphas are set to zero."""
        cells, first = self.config.cells, (epochs + 1) // STAGES
        share = first_fraction(self.config.channel_fraction, self.config.channels)
        yield Stage(first, cells, channel_fraction=share, rates=(0, epochs))
        for group, value in self.alphas.values.items():
            self.left[group] = largest(value, kept(value.shape[-1]))
            value.data *= self.left[group]
        yield Stage(epochs - first, cells, self.left, grows=True, rates=(first, epochs))

    def weights(self, training: bool) -> Weights:
        """In training a draw, with its pathwise gradient; else the mean of the distribution."""
        return {
            group: among(draw(c) if training else c / c.sum(-1, True), self.left[group])
            for group, c in self.concentrations().items()
        }

    def concentrations(self) -> Weights:
        """(E, K) for each group, all above zero; one is uniform over the simplex."""
        return {k: torch.nn.functional.elu(v) + 1 for k, v in self.alphas.values.items()}

    def state_dict(self) -> dict[str, Any]:
        return {"alphas": super().state_dict(), "left": self.left}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state["alphas"])
        for group in self.space.groups:
            self.left[group].copy_(state["left"][group])


def draw(concentration: Tensor) -> Tensor:
    """(E, K), rows sum to one; drawn on the CPU, alike for every device."""
    return torch.distributions.Dirichlet(concentration.cpu()).rsample().to(concentration.device)


def among(weights: Tensor, left: Tensor) -> Tensor:
    """(E, K) of which only what is `left` stays, and sums to one again."""
    if bool(left.all()):
        return weights
    shares = weights * left
    return shares / shares.sum(dim=-1, keepdim=True)


def kept(operations: int) -> int:
    """Operations on an edge in the second stage: of seven four."""
    return max(min(operations, 2), round(KEPT * operations))


def first_fraction(fraction: float, channels: int) -> float:
    """Share of the channels in the first stage: before 1/4 it is 1/6, where 6 divides them.

    All of them before all.
    """
    if fraction == 1:
        return 1.0
    least = round(1 / (FIRST_SHARE * fraction))
    return 1 / next((n for n in range(least, channels) if channels % n == 0), channels)


PLUGIN = DrNAS
