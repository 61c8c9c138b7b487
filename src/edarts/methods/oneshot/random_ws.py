"""Random search with weight sharing: a uniformly drawn cell trains the supernet on every batch, and
the best of many drawn cells is returned (Li and Talwalkar, UAI 2019): the baseline.

Nothing is learned about the architecture while the weights are trained. Then `samples` cells are
scored with the shared weights, each on the same `arch_steps` validation batches, by their loss.
The numbers, 1,000 cells on ten batches, are the paper's [from memory]; its second round, the ten
best cells on all validation images, is left out. Weights are trained as by DARTS.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from torch import nn

from edarts.config import Between, SearchConfig
from edarts.methods.oneshot.alphas import valid_loss
from edarts.methods.oneshot.base import DARTS, Batch, OneShot, Weights
from edarts.space.base import Architecture, SearchSpace


@dataclass(frozen=True)
class Options:
    """What can be chosen of the method."""

    samples: Annotated[int, Between(1)] = 1000
    """Cells drawn and scored, of which the best is returned."""


class RandomWS(OneShot):
    """Weights are the counts of a drawn architecture: ones on its edges, zeros elsewhere."""

    Options: ClassVar[type] = Options
    DEFAULTS: ClassVar[Mapping[str, Any]] = {
        name: value
        for name, value in DARTS.items()
        if name not in ("attention", "arch_lr", "arch_weight_decay", "arch_update")
    } | {"warm_up": 0.99, "arch_steps": 10}  # cells are scored after the last epoch only
    FIXED: ClassVar[Mapping[str, Any]] = {"arch_update": "epoch"}
    REASONS: ClassVar[Mapping[str, str]] = {
        "attention": "it draws all operations alike",
        "arch_update": "it scores cells when an epoch is over",
    }

    def __init__(self, space: SearchSpace, config: SearchConfig, device: torch.device) -> None:
        super().__init__(space, config, device)
        self.rng = generator()
        self.losses = torch.zeros(config.options.samples, dtype=torch.float64)
        self._drawn: list[Any] = []

    @property
    def cells_drawn(self) -> list[Any]:
        """The architectures that are scored: drawn when they are first asked for."""
        while len(self._drawn) < len(self.losses):
            self._drawn.append(self.space.sample(self.rng))
        return self._drawn

    def begin_epoch(self, net: nn.Module, epoch: int) -> None:
        """Scores of weights that have changed since are forgotten."""
        self.losses.zero_()

    def weights(self, training: bool) -> Weights:
        """(E, K): in training a new cell's, else the best one's."""
        return self._weights_of(self.space.sample(generator()) if training else self.architecture())

    def _weights_of(self, architecture: Any) -> Weights:
        weights = self.space.weights_of(architecture)
        return {group: w.to(self.device) for group, w in weights.items()}

    @torch.no_grad()
    def arch_step(
        self,
        net: nn.Module,
        train_batch: Batch,
        valid_batch: Batch,
        weight_optimizer: torch.optim.Optimizer,
    ) -> dict[str, float]:
        """Score every drawn cell on one batch; returns the averages over the cells."""
        drawn = [self._weights_of(cell) for cell in self.cells_drawn]
        results = [valid_loss(net, weights, valid_batch)[1] for weights in drawn]
        losses = torch.tensor([result["valid_loss"] for result in results], dtype=torch.float64)
        if not losses.isfinite().all():
            raise FloatingPointError("loss of a drawn cell")
        self.losses += losses
        return {name: sum(r[name] for r in results) / len(results) for name in results[0]}

    def architecture(self) -> Architecture:
        """The cell of the lowest loss; the first one drawn while there is none."""
        best: Architecture = self.cells_drawn[int(self.losses.argmin())]
        return best

    def state_dict(self) -> dict[str, Any]:
        return {"losses": self.losses.clone()}  # a resumed search draws the same cells again

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.losses.copy_(state["losses"])


def generator() -> random.Random:
    """For one use, seeded by torch's generator, which the driver seeds."""
    return random.Random(int(torch.randint(2**62, ())))


PLUGIN = RandomWS
