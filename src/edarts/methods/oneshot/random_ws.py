"""Random search with weight sharing: a uniformly drawn cell trains the supernet on every batch, and
the best of many drawn cells is returned (Li and Talwalkar, UAI 2019): the baseline.

Nothing is learned about the architecture while the weights are trained. Then `samples` cells are
scored with the shared weights, each on the same `arch_steps` validation batches, by their loss.
The numbers, 1,000 cells on ten batches, are the paper's [from memory]; its second round, the ten
best cells on all validation images, is left out. Weights are trained as by DARTS.
"""

import random
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from edarts.config import SearchConfig, given
from edarts.errors import UsageError
from edarts.methods.oneshot.base import valid_loss, weights_of
from edarts.methods.oneshot.registry_ import Batch, OneStage
from edarts.nn.supernet import Supernet
from edarts.space.darts import Space
from edarts.space.genotype import Genotype

DEFAULTS: dict[str, Any] = {
    "epochs": 50,
    "warm_up": 0.99,  # cells are scored after the last epoch only
    "batch_size": 64,
    "cells": 8,
    "channels": 16,
    "operations": "all",
    "topology": "all",
    "data_fraction": 1.0,
    "arch_update": "epoch",
    "arch_steps": 10,
    "samples": 1000,
    "lr": 0.025,
    "lr_min": 0.001,
    "momentum": 0.9,
    "weight_decay": 3e-4,
    "clip": 5.0,
}

REASONS = {"attention": "it draws all operations alike"}


class RandomWS(OneStage):
    """Weights are the counts of a drawn genotype: ones on its edges, zeros elsewhere."""

    def __init__(self, space: Space, config: SearchConfig, device: torch.device) -> None:
        super().__init__(config)
        if config.arch_update != "epoch":
            raise UsageError("random_ws scores cells when an epoch is over: give arch_update=epoch")
        self.space, self.device = space, device
        draw = generator()
        self.cells_drawn = [space.sample(draw) for _ in range(given(config.samples))]
        self.losses = torch.zeros(len(self.cells_drawn), dtype=torch.float64)

    def begin_epoch(self, net: Supernet, epoch: int) -> None:
        """Scores of weights that have changed since are forgotten."""
        self.losses.zero_()

    def weights(self, training: bool) -> dict[str, Tensor]:
        """(E, K): in training a new cell's, else the best one's."""
        chosen = self.space.sample(generator()) if training else self.genotype()
        return weights_of(self.space, chosen, self.device)

    @torch.no_grad()
    def arch_step(
        self,
        net: Supernet,
        train_batch: Batch,
        valid_batch: Batch,
        weight_optimizer: torch.optim.Optimizer,
    ) -> dict[str, float]:
        """Score every drawn cell on one batch; returns the averages over the cells."""
        drawn = [weights_of(self.space, cell, self.device) for cell in self.cells_drawn]
        results = [valid_loss(net, weights, valid_batch)[1] for weights in drawn]
        losses = torch.tensor([result["valid_loss"] for result in results], dtype=torch.float64)
        if not losses.isfinite().all():
            raise FloatingPointError("loss of a drawn cell")
        self.losses += losses
        return {name: sum(r[name] for r in results) / len(results) for name in results[0]}

    def genotype(self) -> Genotype:
        """The cell of the lowest loss; the first one drawn while there is none."""
        return self.cells_drawn[int(self.losses.argmin())]

    def state_dict(self) -> dict[str, Any]:
        return {"losses": self.losses.clone()}  # a resumed search draws the same cells again

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.losses.copy_(state["losses"])


def generator() -> random.Random:
    """For one use, seeded by torch's generator, which the driver seeds."""
    return random.Random(int(torch.randint(2**62, ())))


PLUGIN = RandomWS
