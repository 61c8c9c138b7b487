"""Small problems with a known answer: images, networks and scores that a method must get right.

The data sets are made in milliseconds from a seed; the stand-ins know a space by its groups alone.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from edarts.data.dataset import Dataset
from edarts.runs.seeds import derive
from edarts.space.base import Architecture

SEED = 0
PLANTED = "sep_conv_3x3"
"""The operation that `PlantedScore` counts."""


def tiny_data(images: int = 48, classes: int = 3, seed: int = SEED) -> Dataset:
    """Grey 8 x 8 images whose brightness tells the class, under noise."""
    generator = torch.Generator().manual_seed(derive(seed, "tiny"))
    labels = torch.arange(images) % classes
    noise = torch.randint(0, 40, (images, 8, 8, 1), generator=generator)
    pixels = noise + (labels * (200 // classes)).view(-1, 1, 1, 1)
    return Dataset(pixels.to(torch.uint8), labels, tuple(map(str, range(classes))), "tiny")


def planted_data(images: int = 600, seed: int = SEED) -> Dataset:
    """Two classes that only a convolution in the cells can tell apart.

    Grey 16 x 16 images with three pairs of bright pixels, four pixels apart: across in class 0,
    down in class 1. The stem sees three pixels at once, so it finds the same bright pixels in both
    classes, and skip connections add nothing to what it sees.
    """
    generator = torch.Generator().manual_seed(derive(seed, "planted"))
    side, apart, couples = 16, 4, 3
    labels = torch.arange(images) % 2
    pixels = torch.full((images, side, side), 60.0)
    image = torch.arange(images)
    for _ in range(couples):
        along = torch.randint(0, side - apart, (images,), generator=generator)
        aside = torch.randint(0, side, (images,), generator=generator)
        for position in (along, along + apart):
            rows = torch.where(labels == 0, aside, position)
            columns = torch.where(labels == 0, position, aside)
            pixels[image, rows, columns] = 220
    pixels += 10 * torch.randn(pixels.shape, generator=generator)
    grey = pixels.clamp(0, 255).to(torch.uint8)[..., None]
    return Dataset(grey, labels, ("across", "down"), "planted", flip=False)


class PlantedNet(nn.Module):
    """Looks like a supernet; how well it classifies is a known function of the weights.

    `quality`: {group: (E, K)}. The margin of the right class is the sum of weight * quality, times
    a scale that is trained, less the difficulty of the image; so loss and accuracy are best for
    the architecture of highest quality.
    """

    def __init__(self, quality: Mapping[str, Tensor], hardest: float) -> None:
        super().__init__()
        self.quality, self.hardest = quality, hardest
        self.scale = nn.Parameter(torch.ones(()))
        self.image = (1, 8, 8)

    def margin(self, weights: Mapping[str, Tensor]) -> Tensor:
        """The sum of weight * quality over all groups, a scalar."""
        parts = [(weights[group] * quality).sum() for group, quality in self.quality.items()]
        return torch.stack(parts).sum()

    def resources(self) -> dict[str, Tensor]:
        """{group: (0, 3, E, K)}: it has no cells, so nothing costs anything."""
        return {group: torch.zeros(0, 3, *quality.shape) for group, quality in self.quality.items()}

    def forward(
        self, x: Tensor, weights: Mapping[str, Tensor], needs_grad: object | None = None
    ) -> Tensor:
        """Images (B, C, H, W) -> logits (B, 2).

        The mean of an image has the sign of its label, and size 2 + d for a difficulty d in
        [-1, 1].
        """
        mean = x.mean(dim=(1, 2, 3))
        margin = self.margin(weights) * self.scale - (mean.abs() - 2) * self.hardest
        return torch.stack([-mean.sign() * margin, mean.sign() * margin], dim=1)


def planted_batch() -> tuple[Tensor, Tensor]:
    """64 images (1, 8, 8) and labels for `PlantedNet`, all difficulties in both classes."""
    sign, difficulty = torch.tensor([-1.0, 1.0]).repeat(32), torch.linspace(-1, 1, 64)
    images = (sign * (2 + difficulty)).view(-1, 1, 1, 1).expand(-1, 1, 8, 8)
    return images, (sign > 0).long()


@dataclass(frozen=True)
class PlantedScore:
    """The share of operations that are `PLANTED`, of `edges` operations or of all, if more.

    `fails`: architectures with an even number of planted operations in their first group raise an
    error, or score NaN.
    """

    edges: int = 0
    fails: Literal["no", "raise", "nan"] = "no"

    def __call__(self, architecture: Architecture, seed: int) -> float:
        if self.fails != "no" and planted_first(architecture) % 2 == 0:
            if self.fails == "raise":
                raise ValueError("an even number")
            return math.nan
        names = [name for group in architecture.operations().values() for name in group]
        return names.count(PLANTED) / max(self.edges, len(names))


def planted_first(architecture: Architecture) -> int:
    """How many operations of the first group are `PLANTED`."""
    return next(iter(architecture.operations().values())).count(PLANTED)
