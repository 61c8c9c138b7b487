"""Recipe: how a network is trained from scratch. A file of `recipes/` or a plug-in is one.

The training (`fit`) asks its recipe for the optimizer, the learning rate of every step, the loss
and the augmentation; what a new recipe does not change, it inherits.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from edarts import registry
from edarts.config import TrainConfig
from edarts.config import resolve as fill_in
from edarts.data.batches import Transform
from edarts.data.dataset import Dataset
from edarts.errors import UsageError
from edarts.space.base import Image
from edarts.training import optim

# Settings that networks without cells do not have: a choice of depth and width, an auxiliary head,
# edges to drop.
OF_CELLS = {
    "cells": None,
    "channels": None,
    "auxiliary": 0.0,
    "drop_path": 0.0,
    "whitening": False,
}


class Recipe:
    """SGD with momentum, cosine to zero by epoch, random crop and flip: DARTS' retraining.

    Base of all recipes. Hooks get a resolved config. A recipe keeps no state: what a training
    learns is in its network and optimizer.
    """

    DEFAULTS: ClassVar[Mapping[str, object]] = {}
    """Fields of TrainConfig -> their values where the user gives none."""

    @dataclass(frozen=True)
    class Options:
        """The settings that this recipe alone has, a frozen dataclass; see `TrainConfig.of`."""

    def find_defaults(self, image: Image) -> Mapping[str, object]:
        """Like `DEFAULTS`, of `find` alone, which trains longer; for images of that shape."""
        return {}

    def resolve(self, config: TrainConfig, images: int, whole: bool) -> TrainConfig:
        """Fill in what `config` leaves open, for a training split of `images`.

        `whole`: the network has its own depth and width. Raises UsageError if `config` asks for
        what only networks of cells have, or if the recipe leaves something open.
        """
        defaults = {"whitening": False, "valid_fraction": 0.0, **self.DEFAULTS}
        if whole:
            _refuse_cells(config)
            defaults |= OF_CELLS
        if config.options is None:
            config = dataclasses.replace(config, options=self.Options())
        config = fill_in(config, defaults)
        for field in fields(config):
            if getattr(config, field.name) is None and not (whole and field.name in OF_CELLS):
                raise UsageError(f"recipe {config.recipe} sets no {field.name}: give one")
        return config

    def prepare(self, network: nn.Module, config: TrainConfig) -> None:
        """Set in the network what the training asks of it, before its first step."""

    def optimizer(self, network: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
        """The optimizer of all parameters; `lr` sets its learning rate before every step."""
        return optim.sgd(network, config.lr, config.momentum, config.weight_decay)

    def lr(self, config: TrainConfig, epoch: int, step: int, steps: int) -> float:
        """The learning rate of `step` of `steps` in `epoch`, both 0-based."""
        return optim.cosine(epoch, config.epochs, config.lr, 0.0)

    def loss(self, logits: Tensor, labels: Tensor, config: TrainConfig) -> Tensor:
        """The loss of logits (B, classes) and labels (B,), a scalar; of the auxiliary head too."""
        return optim.cross_entropy(logits, labels)

    def transform(self, data: Dataset, config: TrainConfig) -> Transform:
        """How training images are augmented and all images are normalised."""
        return Transform.of(data, config.cutout)

    def mixes(self, config: TrainConfig) -> float:
        """alpha of mixup (Zhang et al. 2018); 0: images are not mixed.

        Another image is mixed into each, and its label, by a share that is drawn for each batch:
        the smaller one of L and 1 - L, L from Beta(alpha, alpha).
        """
        return 0.0

    def alternates(self, config: TrainConfig) -> bool:
        """Whether an image is mirrored in every other epoch, not by chance, where it may be."""
        return False

    def mirrors(self, config: TrainConfig) -> bool:
        """Whether evaluation takes the mean of an image's and its mirror image's logits."""
        return False


def _refuse_cells(config: TrainConfig) -> None:
    for name in OF_CELLS:
        if getattr(config, name):
            raise UsageError(f"{name} is for networks of cells; this is a whole network")


def load(recipe: Any) -> Recipe:
    """The recipe of that name, or the class or object itself.

    Raises UnknownPlugin with the nearest names.
    """
    found = registry.get("recipes", recipe)
    made: Recipe = found() if isinstance(found, type) else found
    return made
