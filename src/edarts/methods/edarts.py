"""eDARTS: DARTS' softmax on a fixed topology, more attention to important operations, seldom
updated, in a shallow supernet on a subset of the data (Siddiqui, Kyrkou, Theocharides, ICPR 2020).

Only the abstract and slides are public, so the details are this project's reading:
- topology: each cell has 8 edges instead of 14, and an operation is chosen by argmax on each; the
  default is topology 1 of 180, that of DARTS' published normal cells, until a study says better;
- attention: alpha starts at the logarithm of an operation's share, plus noise; operations without
  a share (`none`, average pooling, 5x5 dilated convolution) are not built;
- sparse update: first-order updates at the end of each epoch only, with a learning rate that lets
  alpha travel as far as in DARTS' search (see `oneshot.resolve_config`).
Every part is an option that other methods take too.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from edarts.alphas import Alphas, strongest, valid_loss
from edarts.config import SearchConfig, given
from edarts.errors import UsageError
from edarts.genotype import Genotype
from edarts.loop import frozen
from edarts.methods import Batch, Stage
from edarts.space import Space
from edarts.supernet import Supernet

DEFAULTS: dict[str, Any] = {
    "order": 1,
    "epochs": 50,
    "batch_size": 64,
    "cells": 5,
    "channels": 16,
    "topology": "1",
    "attention": ("sep_conv_3x3=4,sep_conv_5x5=2,dil_conv_3x3=1,skip_connect=1,max_pool_3x3=1"),
    "data_fraction": 1 / 6,
    "arch_update": "epoch",
    "arch_lr": 3e-4,
    "arch_weight_decay": 1e-3,
    "lr": 0.025,
    "lr_min": 0.001,
    "momentum": 0.9,
    "weight_decay": 3e-4,
    "clip": 5.0,
}


class Method:
    """alpha (E, K) for each kind, started at log(share); weights are its softmax."""

    def __init__(self, space: Space, config: SearchConfig, device: torch.device) -> None:
        if config.order == 2:
            raise UsageError("edarts is a first-order method; for order 2 give --method darts")
        self.space, self.cells = space, given(config.cells)
        self.alphas = Alphas.of(space, config, device)

    def stages(self, epochs: int) -> list[Stage]:
        """One."""
        return [Stage(epochs, self.cells)]

    def weights(self, training: bool) -> dict[str, Tensor]:
        """softmax(alpha), in training and out of it."""
        return self.alphas.softmax()

    def arch_step(
        self,
        net: Supernet,
        train_batch: Batch,
        valid_batch: Batch,
        weight_optimizer: torch.optim.Optimizer,
    ) -> dict[str, float]:
        """Adam on the validation loss at the current weights."""
        with frozen(net):
            loss, metrics = valid_loss(net, self.weights(training=True), valid_batch)
        self.alphas.step(self.alphas.gradient(loss))
        return metrics

    def genotype(self) -> Genotype:
        """The strongest operation on every edge of the fixed topology."""
        return strongest(self.space, self.alphas.softmax())

    def state_dict(self) -> dict[str, Any]:
        return self.alphas.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.alphas.load_state_dict(state)
