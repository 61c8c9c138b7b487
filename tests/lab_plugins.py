"""A package of plug-ins as a user would write it: one of each group, each as small as can be.

The tests of the plug-ins copy this file into a folder of its own, beside the metadata that an
installed package has.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from optuna.study import Study
from optuna.trial import FrozenTrial
from torch import Tensor, nn

from edarts.config import Between, DataConfig, TrainConfig
from edarts.data.catalogue import Catalogue
from edarts.errors import EdartsError, UsageError
from edarts.exports.base import Export
from edarts.methods.blackbox.base import LedgerOptions, LedgerSampler
from edarts.methods.blackbox.ledger import goodness, history
from edarts.methods.oneshot.alphas import FirstOrder
from edarts.methods.oneshot.base import Weights
from edarts.nn.operations import build
from edarts.nn.whole import Whole, WholeNetwork
from edarts.reporting.model import Column, Summary, Table
from edarts.space.base import Architecture, Chosen, Image, SearchSpace, Size
from edarts.space.operations import Operation
from edarts.studies.base import Job, Recipe, seeds
from edarts.studies.rows import Rows, done
from edarts.training.models import TrainedModel
from edarts.training.recipes.darts import Published

# -- a one-shot method ---------------------------------------------------------------------------


@dataclass(frozen=True)
class SharpOptions:
    """What can be chosen of the method."""

    sharpness: Annotated[float, Between(0.1, 10)] = 2.0
    """What the architecture's values are multiplied by before the softmax."""


class Sharp(FirstOrder):
    """DARTS with a sharper softmax."""

    Options: ClassVar[type] = SharpOptions

    def weights(self, training: bool) -> Weights:
        values, factor = self.alphas.values, self.config.options.sharpness
        return {group: (factor * values[group]).softmax(dim=-1) for group in self.space.groups}


# -- a black-box method --------------------------------------------------------------------------


@dataclass(frozen=True)
class ClimbOptions(LedgerOptions):
    """What can be chosen of the method."""

    first: Annotated[int, Between(1)] = 5
    """Architectures drawn at random before the climb begins."""


class Climb(LedgerSampler):
    """Changes the best architecture so far."""

    Options: ClassVar[type] = ClimbOptions
    DEFAULTS: ClassVar[Mapping[str, Any]] = {"operations": "all", "topology": "all"}

    def propose(
        self, study: Study, trial: FrozenTrial, draw: random.Random
    ) -> dict[str, int | str]:
        known = history(study)
        if len(known) < self.options.first:
            return self.space.sample_decisions(draw)
        best = max(known, key=lambda other: goodness(study, other))
        return self.space.mutate_decisions(best.params, draw)


# -- an operation --------------------------------------------------------------------------------


def square(channels: int, stride: int, affine: bool, source: int) -> nn.Module:
    """A plain 3 x 3 convolution with a norm."""
    conv = nn.Conv2d(source, channels, 3, stride, padding=1, bias=False)
    return nn.Sequential(nn.ReLU(), conv, nn.BatchNorm2d(channels, affine=affine))


SQUARE = Operation("lab_conv", "lab", square)


# -- a space -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Chain(Architecture):
    """Operations one after the other; the network has the chain as often as it has cells."""

    FORMAT: ClassVar[str] = "spaces.lab_chain/1"
    layers: tuple[str, ...]

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Chain":
        return cls(tuple(fields["layers"]))

    def to_dict(self) -> dict[str, Any]:
        return {"format": self.FORMAT, "layers": list(self.layers)}

    def build(self, size: Size, image: Image, classes: int) -> nn.Module:
        return ChainNetwork([[name] for name in self.layers], size, image, classes, affine=True)

    def operations(self) -> dict[str, list[str]]:
        return {"chain": list(self.layers)}

    def __str__(self) -> str:
        return " - ".join(self.layers)


@dataclass(frozen=True)
class ChainOptions:
    """What can be chosen of the space."""

    layers: Annotated[int, Between(1, 9)] = 3
    """Operations in the chain."""


@dataclass(frozen=True)
class ChainSpace(SearchSpace):
    """All chains of so many operations."""

    Options: ClassVar[type] = ChainOptions
    Architecture: ClassVar[type] = Chain
    name: ClassVar[str] = "lab_chain"  # where the class is handed in from Python
    CANDIDATES: ClassVar[tuple[str, ...]] = ("skip_connect", "sep_conv_3x3", "lab_conv")
    groups: ClassVar[tuple[str, ...]] = ("chain",)

    layers: int = 3

    @classmethod
    def of(cls, options: Any) -> "ChainSpace":
        return cls(options.layers)

    def edges(self, group: str) -> tuple[tuple[int, int], ...]:
        return tuple((layer, layer + 1) for layer in range(self.layers))

    def candidates(self, group: str) -> tuple[str, ...]:
        return self.CANDIDATES

    def derive(self, chosen: Chosen) -> Chain:
        return Chain(tuple(self.CANDIDATES[column] for _, column in sorted(chosen["chain"])))

    def chosen(self, architecture: Any) -> Chosen:
        columns = [self.CANDIDATES.index(name) for name in architecture.layers]
        return {"chain": list(enumerate(columns))}

    def supernet(
        self,
        size: Size,
        image: Image,
        classes: int,
        *,
        channel_fraction: float = 1.0,
        mask: Mapping[str, Tensor] | None = None,
    ) -> nn.Module:
        if channel_fraction != 1 or mask is not None:
            raise UsageError("the supernet of lab_chain is built whole: leave out channel_fraction")
        return ChainNetwork([self.CANDIDATES] * self.layers, size, image, classes, affine=False)


class ChainNetwork(nn.Module):
    """The network of a chain, with one candidate for each layer, and the supernet with all."""

    def __init__(
        self,
        layers: Sequence[Sequence[str]],
        size: Size,
        image: Image,
        classes: int,
        affine: bool,
    ) -> None:
        super().__init__()
        cells, channels = size.cells or 1, size.channels or 8
        if size.auxiliary:
            raise UsageError("a chain has no auxiliary head")
        self.image = image
        self.stem = nn.Conv2d(image[0], channels, 3, padding=1)
        self.layers = nn.ModuleList(
            nn.ModuleList(build(name, channels, 1, affine) for name in names)
            for names in [*layers] * cells
        )
        self.classifier = nn.Linear(channels, classes)

    def set_drop_path(self, probability: float) -> None:
        """Nothing is dropped: a chain would be cut."""

    def forward(self, x: Tensor, weights: Any = None, needs_grad: Any = None) -> Tensor:
        """Images (B, C, H, W) -> logits (B, classes); `weights`: those of the supernet."""
        x = self.stem(x)
        for index, layer in enumerate(self.layers):
            if isinstance(weights, Mapping):
                row = weights["chain"][index % len(weights["chain"])]
                x = sum(w * op(x) for w, op in zip(row, layer, strict=True) if w != 0)
            else:
                x = layer[0](x)
        return self.classifier(x.mean(dim=(2, 3)))


# -- a data source -------------------------------------------------------------------------------


@dataclass(frozen=True)
class StripeOptions:
    """What can be chosen of the source."""

    noise: Annotated[int, Between(0, 100)] = 20
    """Largest difference of a pixel from its stripe, in grey levels."""


class Stripes:
    """stripes:N, made-up images of N classes, each with stripes of a period of its own."""

    describe = "stripes:N"
    example = "stripes:2"
    Options = StripeOptions

    def accepts(self, data: str) -> bool:
        return data.startswith("stripes:")

    def open(self, data: str, config: DataConfig) -> Catalogue:
        text = data.removeprefix("stripes:")
        if not text.isdecimal() or not 2 <= int(text) <= 6:
            raise EdartsError(f"{data}: give from 2 to 6 classes")
        options: Any = config.options or StripeOptions()
        labels = np.arange(30 * int(text), dtype=np.int64) % int(text)
        bright = np.arange(8) // (1 + labels[:, None]) % 2 * 150
        draw = np.random.default_rng(0)
        pixels = bright[:, :, None] + draw.integers(0, options.noise + 1, (len(labels), 8, 8))
        classes = tuple(f"period {2 * n + 2}" for n in range(int(text)))
        return Catalogue("stripes", classes, pixels.astype(np.uint8)[..., None], labels)


# -- a recipe ------------------------------------------------------------------------------------


class Brisk(Published):
    """Two epochs; in the first ones the learning rate rises step by step."""

    DEFAULTS: ClassVar[dict[str, object]] = Published.DEFAULTS | {
        "cells": 2,
        "channels": 4,
        "epochs": 2,
        "batch_size": 16,
        "auxiliary": 0.0,
        "drop_path": 0.0,
        "cutout": 0.0,
    }

    @dataclass(frozen=True)
    class Options:
        """What can be chosen of the recipe."""

        ramp: Annotated[int, Between(0)] = 1
        """Epochs in which the learning rate rises."""

    def lr(self, config: TrainConfig, epoch: int, step: int, steps: int) -> float:
        options: Any = config.options
        share = (epoch * steps + step + 1) / max(1, options.ramp * steps)
        return min(1.0, share) * super().lr(config, epoch, step, steps)


# -- a baseline ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plain(Whole):
    """One convolution of `width` channels."""

    FORMAT: ClassVar[str] = "baselines.lab_plain/1"
    name: ClassVar[str] = "lab_plain"  # where the class is handed in from Python
    width: int = 8

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Plain":
        return cls(fields["width"])

    def to_dict(self) -> dict[str, Any]:
        return {"format": self.FORMAT, "width": self.width}

    def network(self, image: Image, classes: int) -> "PlainNetwork":
        return PlainNetwork(self, image, classes)

    def __str__(self) -> str:
        return f"one convolution of {self.width} channels"


class PlainNetwork(WholeNetwork):
    """The network of `Plain`."""

    def __init__(self, architecture: Plain, image: Image, classes: int) -> None:
        super().__init__(architecture, image)
        self.features = nn.Conv2d(image[0], architecture.width, 3, padding=1)
        self.finish(architecture.width, classes)


# -- a study -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class WidthsOptions:
    """What can be chosen of the study."""

    widths: str = "2,4"
    """Channels of the first cell, with commas."""


class Widths:
    """The same cell in networks of several widths."""

    SEEDS: ClassVar[int] = 1
    Options: ClassVar[type] = WidthsOptions

    def __init__(self, recipe: Recipe, options: WidthsOptions | None = None) -> None:
        self.recipe, self.options = recipe, options or WidthsOptions()
        self.widths = [int(text) for text in self.options.widths.split(",")]

    def jobs(self, rows: Rows) -> list[Job]:
        """One for each seed and width."""
        return [
            Job(
                f"width-{width}-seed-{seed}",
                {"width": width},
                seed,
                replace(self.recipe.train, channels=width),
                genotype="darts.v2",
            )
            for seed in seeds(self)
            for width in self.widths
        ]

    def summary(self, rows: Rows) -> Summary:
        """A row for each run."""
        found = [(row.get("width"), row.test_accuracy) for row in done(rows)]
        table = Table("By width", (Column("channels"), Column("test accuracy", "share")), found)
        return Summary("Width", [f"{len(found)} runs have ended."], [table], [])


# -- an export format ----------------------------------------------------------------------------


@dataclass(frozen=True)
class NumbersOptions:
    """What can be chosen of the format."""

    digits: Annotated[int, Between(1, 17)] = 6
    """Significant digits of each number."""


class Numbers(Export):
    """Every weight as text, a line each."""

    Options: ClassVar[type] = NumbersOptions
    suffix: ClassVar[str] = ".txt"

    def write(self, model: TrainedModel, out: Path) -> list[Path]:
        numbers = torch.cat([p.detach().cpu().flatten() for p in model.network.parameters()])
        lines = [f"{number:.{self.options.digits}g}\n" for number in numbers.tolist()]
        try:
            out.write_text("".join(lines), encoding="utf-8")
        except OSError as error:
            raise EdartsError(f"{out}: cannot be written: {error.strerror}") from None
        return [out]
