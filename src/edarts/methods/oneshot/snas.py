"""SNAS: DARTS' choice drawn anew for every batch, weights and architecture trained together from
one loss, and cells that cost (Xie et al., ICLR 2019).

As in the authors' code (methods.md section 3), with its Adam of the path for several GPUs; every
edge is derived by its argmax, and one whose argmax is `none` is left out. Differences:
- nodes that lose all edges go, with the edges that leave them; the authors keep them as zeros;
- drop path acts on each operation's output, and not on identities; theirs on each edge's;
- the temperature falls over the epochs asked for, in place of always 150: in epoch e of E, from 0,
  it is that of (e + 1) / E, as their scheduler takes a step before the first; the cost is averaged
  over the cells there are, in place of 6 and 2;
- how much mild, moderate and aggressive weigh the cost was not published [?: methods.md]; mild is
  the authors' command, the other two are ours.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from edarts.config import SearchConfig
from edarts.errors import UsageError
from edarts.methods.oneshot.alphas import FirstOrder, gumbel
from edarts.methods.oneshot.base import DARTS, Weights
from edarts.methods.oneshot.derive import connected, strongest
from edarts.space.base import Architecture, Chosen, SearchSpace


@dataclass(frozen=True)
class Options:
    """What can be chosen of the method."""

    constraint: Literal["none", "mild", "moderate", "aggressive"] = "mild"
    """How much size, FLOPs and memory accesses of the cells cost."""


HOTTEST, COLDEST = 1.0, 0.03
ARCH_CLIP = 10.0
FACTORS = {"none": 0.0, "mild": 1.5e-3, "moderate": 5e-3, "aggressive": 1.5e-2}


class SNAS(FirstOrder):
    """log alpha (E, K) for each group; weights are a draw Z from its concrete distribution."""

    Options: ClassVar[type] = Options
    PLANTED: ClassVar[Mapping[str, Any]] = {
        "arch_lr": 0.1,
        "drop_path": 0.0,
        "constraint": "none",
    }
    DEFAULTS: ClassVar[Mapping[str, Any]] = DARTS | {
        "epochs": 150,
        "arch_update": "joint",
        "drop_path": 0.3,
    }

    def __init__(self, space: SearchSpace, config: SearchConfig, device: torch.device) -> None:
        super().__init__(space, config, device, mean=1.0, noise=0.01, clip=ARCH_CLIP)
        self.temperature = HOTTEST
        self.factor = FACTORS[config.options.constraint]
        self.costs: Weights | None = None

    def begin_epoch(self, net: nn.Module, epoch: int) -> None:
        """Linear cooling, from a step below the hottest to the coldest in the last epoch."""
        done = (epoch + 1) / self.config.epochs
        self.temperature = COLDEST + (1 - done) * (HOTTEST - COLDEST)

    def weights(self, training: bool) -> Weights:
        """In training Z (E, K), a draw that all cells of a group share; else softmax(log alpha)."""
        if not training:
            return self.alphas.softmax()
        return {
            group: sample(self.alphas.values[group], self.temperature)
            for group in self.space.groups
        }

    def penalty(self, net: nn.Module, weights: Mapping[str, Tensor]) -> Tensor | float:
        """The resource cost of Z, times the factor of the constraint.

        The supernet tells what its candidates cost: `net.resources()` -> {group: (cells, 3, E, K)}.
        Raises UsageError if it does not.
        """
        if self.factor == 0:
            return 0.0
        if self.costs is None:
            told = getattr(net, "resources", None)
            if told is None:
                raise UsageError("this space states no costs of its operations: --constraint none")
            self.costs = {group: c.to(weights[group].device) for group, c in told().items()}
        groups = self.space.groups
        return self.factor * sum(cost(weights[group], self.costs[group]) for group in groups)

    def architecture(self) -> Architecture:
        """The strongest operation on every edge; those with `none` are left out."""
        return self.space.derive(argmax(self.space, self.weights(training=False)))


def sample(log_alpha: Tensor, temperature: float) -> Tensor:
    """Z = softmax((log alpha + G) / temperature), G standard Gumbel."""
    return ((log_alpha + gumbel(log_alpha.shape).to(log_alpha.device)) / temperature).softmax(-1)


def cost(z: Tensor, table: Tensor) -> Tensor:
    """Expected cost of the cells of one group: z (E, K), table (cells, 3, E, K) -> a scalar.

    (ln size + ln FLOPs + ln memory accesses) / 3 of each edge, each at least 0; their sum over the
    edges, averaged over the cells (the authors' log form, by reparametrisation).
    """
    if len(table) == 0:
        return z.new_zeros(())
    return (table * z).sum(-1).clamp_min(1.0).log().mean(1).sum(-1).mean()


def argmax(space: SearchSpace, weights: Mapping[str, Tensor]) -> Chosen:
    """The argmax of every edge, `none` left out; DARTS' rule for groups that have nothing else."""
    chosen = {}
    for group in space.groups:
        columns = weights[group].detach().argmax(dim=-1).tolist()
        eligible, names = space.eligible(group), space.candidates(group)
        pairs = enumerate(columns)
        chosen[group] = [(row, column) for row, column in pairs if names[column] in eligible]
    return connected(space, chosen, otherwise=strongest(space, weights))


PLUGIN = SNAS
