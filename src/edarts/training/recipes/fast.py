"""fast: the training of the CIFAR-10 speed record (Jordan 2024), for networks of cells too.

The rate rises once and falls once, step by step; momentum is Nesterov's; biases and norms do not
decay; an image is mirrored in every other epoch, and in evaluation; networks of cells begin with
the whitening layer; norms follow the batches closely. Beside the record, contrast and brightness of
a training image are changed a little, and in long trainings images are mixed. Each part can be
switched off, so that what it brings can be measured. Of the record three things are left out, as
they cost accuracy here (results/recipe): labels are not smoothed, unless asked for; weights are not
averaged with a slow copy; the rate falls as a cosine to zero, not straight to a fifteenth.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from edarts.config import UNSET, Between, TrainConfig, check_fields
from edarts.config import resolve as fill_in
from edarts.data.batches import Transform
from edarts.data.dataset import Dataset
from edarts.space.base import Image
from edarts.training import optim
from edarts.training.recipe import Recipe

RATE = 11.5 / 7850  # highest learning rate for each image of a batch (section 3.1 and its code)
IMAGES, EPOCHS = 200_000, (10, 40)  # shown in all, as far as these bounds of epochs allow
FIRST = 0.2  # share of the highest rate at the first step
LARGE = 16  # pixels of the shorter side; smaller images lose too much at their edge and by cutout
CUTOUT = 0.25  # side of the square that is cut out of each of them, where a training is long
MIXUP, LONG = 0.2, 1.5  # images are mixed from so many times the usual epochs on
STEPS, BATCHES = 60, (32, 512)  # steps of an epoch, about, within these bounds of the batch size


class Fast(Recipe):
    """5 cells of 16 channels, trained as the speed record trains its plain network."""

    DEFAULTS: ClassVar[dict[str, object]] = {
        "cells": 5,
        "channels": 16,
        "momentum": 0.85,
        "weight_decay": 0.0153 / 11.5,
        "clip": 5.0,
        "auxiliary": 0.0,
        "drop_path": 0.0,
        "cutout": 0.0,
        "whitening": True,
    }

    @dataclass(frozen=True)
    class Options:
        """The parts that the published training does not have."""

        rise: Annotated[float, Between(0, 1)] = 0.23
        """Share of the steps in which the rate rises, from a fifth of --lr to all of it (0..1)."""
        nesterov: bool = True
        """Whether the momentum is Nesterov's."""
        smoothing: Annotated[float, Between(0, 0.9)] = 0.0
        """Share of each label that is spread over all classes (0..1)."""
        decay_all: bool = False
        """Whether biases and the parameters of norms decay too."""
        alternate: bool = True
        """Whether an image is mirrored in every other epoch, not by chance."""
        jitter: Annotated[float, Between(0, 0.9)] = 0.2
        """How far contrast and brightness of a training image are changed at random, at most: by
        this share, and by twice as many standard deviations of the pixels (0..0.9)."""
        shift: Annotated[float, Between(0, 0.5)] = 1 / 16
        """How far a training image is moved at random, at most, as a share of its longer side, but
        by one pixel at least; 0: not at all (0..0.5)."""
        edge: Literal["auto", "mirror", "zeros"] = "auto"
        """What comes in from beyond its edge then: mirror, the image in a mirror; zeros; auto:
        zeros for images of less than 16 pixels, in which a mirrored pixel changes much."""
        mixup: Annotated[float, Between(0, 10)] = UNSET
        """How much each image and its label are mixed with another one's: alpha of mixup; if not
        given, 0.2 in trainings of at least one and a half times the usual epochs, else 0, which is
        not at all (0..10)."""
        mirror: bool = True
        """Whether an answer is the mean of those to the image and to its mirror image, where
        mirroring is harmless."""

        norm_momentum: Annotated[float, Between(0.001, 1)] = 0.4
        """Share of a step's statistics in the running ones of a batch norm, by which answers are
        given: PyTorch's 0.1 lags behind the weights in a training of few steps (0.001..1)."""

        def __post_init__(self) -> None:
            check_fields(self)

    def find_defaults(self, image: Image) -> Mapping[str, object]:
        """A square is cut out of large images, which helps from some twenty epochs on."""
        return {"cutout": CUTOUT} if min(image[1:]) >= LARGE else {}

    def resolve(self, config: TrainConfig, images: int, whole: bool) -> TrainConfig:
        """Epochs and batch size by the number of images, a rate in proportion to the batch."""
        fewest, most = EPOCHS
        usual = min(most, max(fewest, round(IMAGES / images)))
        config = fill_in(config, {"epochs": usual, "batch_size": batch_size(images)})
        config = super().resolve(fill_in(config, {"lr": RATE * config.batch_size}), images, whole)
        mixup = MIXUP if config.epochs >= LONG * usual else 0.0
        return replace(config, options=fill_in(config.options, {"mixup": mixup}))

    def prepare(self, network: nn.Module, config: TrainConfig) -> None:
        options: Any = config.options
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = options.norm_momentum

    def optimizer(self, network: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
        options: Any = config.options
        return optim.sgd(
            network,
            config.lr,
            config.momentum,
            config.weight_decay,
            nesterov=options.nesterov,
            decay_all=options.decay_all,
        )

    def lr(self, config: TrainConfig, epoch: int, step: int, steps: int) -> float:
        options: Any = config.options
        at, steps = epoch * steps + step, config.epochs * steps
        return config.lr * one_cycle(at, steps, options.rise)

    def loss(self, logits: Tensor, labels: Tensor, config: TrainConfig) -> Tensor:
        options: Any = config.options
        return optim.cross_entropy(logits, labels, options.smoothing)

    def transform(self, data: Dataset, config: TrainConfig) -> Transform:
        options: Any = config.options
        edge = options.edge
        if edge == "auto":
            edge = "mirror" if min(data.shape[1:]) >= LARGE else "zeros"
        plain = super().transform(data, config)
        return replace(plain, jitter=options.jitter, shift=options.shift, edge=edge)

    def mixes(self, config: TrainConfig) -> float:
        options: Any = config.options
        return float(options.mixup or 0.0)

    def alternates(self, config: TrainConfig) -> bool:
        options: Any = config.options
        return bool(options.alternate)

    def mirrors(self, config: TrainConfig) -> bool:
        options: Any = config.options
        return bool(options.mirror)


def batch_size(images: int) -> int:
    """The power of two that gives about `STEPS` steps an epoch."""
    fewest, most = BATCHES
    return min(most, max(fewest, int(2 ** round(math.log2(max(1, images / STEPS))))))


def one_cycle(at: int, steps: int, rise: float) -> float:
    """The rate of step `at` (0-based) of `steps`, as a share of the highest.

    From FIRST straight up to 1 in the first `rise` of the steps, then down to 0 as a cosine.
    """
    peak = round(rise * steps)
    if at < peak:
        return FIRST + (1 - FIRST) * at / peak
    return optim.cosine(at - peak, max(1, steps - peak), 1.0, 0.0)


PLUGIN = Fast
