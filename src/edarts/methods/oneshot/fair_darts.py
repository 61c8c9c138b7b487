"""Fair DARTS: sigmoids in place of DARTS' softmax, and a zero-one loss (Chu et al., ECCV 2020).

As in the authors' code (methods.md section 6): operations do not compete, each is on or off by
itself, and what stays below a threshold is left out, so that a node may have two inputs, one or
none. Differences:
- an edge that leaves a node without inputs is dropped with it; the authors' genotype lists it, and
  their network skips it when it is built, so both compute the same;
- of a cell in which no edge is left DARTS' rule derives one; the authors' code lists no edges, and
  fails when it builds that network;
- with attention, the first odds of the operations are in proportion to their shares;
- in training the cell from scratch the authors drop the sum at a node, identities included; here
  that is `--recipe darts --drop nodes`, and else each operation but identities is dropped.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor, nn

from edarts.config import Between, SearchConfig
from edarts.errors import UsageError
from edarts.methods.oneshot.alphas import FirstOrder
from edarts.methods.oneshot.base import DARTS, WITHOUT_NONE, Weights
from edarts.methods.oneshot.derive import connected, strongest
from edarts.space.base import Architecture, Chosen, SearchSpace


@dataclass(frozen=True)
class Options:
    """What can be chosen of the method."""

    zero_one: Annotated[float, Between(0)] = 10.0
    """Factor of the loss that drives weights to zero or one."""
    threshold: Annotated[float, Between(0, 1)] = 0.85
    """Least weight of an operation that is kept (0..1)."""


class FairDarts(FirstOrder):
    """alpha (E, K) for each group, zero at first; weights are its sigmoid."""

    Options: ClassVar[type] = Options
    # Operations do not compete, so none is driven out that only has a head start; the zero-one loss
    # on each of the 32 entries there is as strong as on each of 196 in the paper.
    PLANTED: ClassVar[Mapping[str, Any]] = {"attention": "none", "zero_one": 10 * 32 / 196}
    DEFAULTS: ClassVar[Mapping[str, Any]] = DARTS | {
        "batch_size": 128,
        "operations": WITHOUT_NONE,
        "arch_lr": 3e-3,
        "lr": 0.005,
    }

    def __init__(self, space: SearchSpace, config: SearchConfig, device: torch.device) -> None:
        if any("none" in space.candidates(group) for group in space.groups):
            raise UsageError(
                "fair_darts turns each operation on or off: leave out operation 'none'"
            )
        super().__init__(space, config, device, betas=(0.9, 0.999), noise=0.0)
        for value in self.alphas.values.values():
            value.data -= value.data.mean(dim=-1, keepdim=True)
        self.zero_one, self.threshold = config.options.zero_one, config.options.threshold

    def weights(self, training: bool) -> Weights:
        """sigmoid(alpha), in training and out of it."""
        return {group: value.sigmoid() for group, value in self.alphas.values.items()}

    def penalty(self, net: nn.Module, weights: Mapping[str, Tensor]) -> Tensor:
        """The zero-one loss, times its factor."""
        penalty: Tensor = self.zero_one * zero_one_loss(weights)
        return penalty

    def architecture(self) -> Architecture:
        """Of DARTS' two strongest edges into each node, those that reach the threshold."""
        return self.space.derive(passing(self.space, self.weights(training=False), self.threshold))


def zero_one_loss(weights: Mapping[str, Tensor]) -> Tensor:
    """-mean (w - 0.5)^2 over all groups together: least at 0 and 1."""
    return -((torch.cat([w.flatten() for w in weights.values()]) - 0.5) ** 2).mean()


def passing(space: SearchSpace, weights: Mapping[str, Tensor], threshold: float) -> Chosen:
    """The authors' `threshold_sparse`: rank edges, keep two a node, then drop the weak ones.

    An edge from a node that has lost its inputs goes with them.
    """
    ranked = strongest(space, weights)
    strong = {
        group: [pair for pair in pairs if float(weights[group][pair].detach()) >= threshold]
        for group, pairs in ranked.items()
    }
    return connected(space, strong, otherwise=ranked)


PLUGIN = FairDarts
