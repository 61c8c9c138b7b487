"""Whole networks: published ones that are no stack of cells, with their own depth and width.

Such an architecture stands where a genotype stands: it is data, kept as JSON, and `build` makes its
network.
"""

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from edarts.errors import UsageError
from edarts.space.picture import Picture


class Whole(ABC):
    """An architecture that is built as it is: immutable and hashable, like a genotype."""

    FORMAT: ClassVar[str]
    """Name and version of its JSON form."""

    @classmethod
    @abstractmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Whole":
        """The inverse of `to_dict`; raises UsageError."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form; its `format` says which architecture it is."""

    @abstractmethod
    def build(self, classes: int, image: tuple[int, int, int]) -> "WholeNetwork":
        """The network for (C, H, W) images, its weights drawn at random."""

    @abstractmethod
    def draw(self, title: str = "") -> Picture:
        """The drawing of the network's parts, under `title`."""

    def to_json(self) -> str:
        """As `to_dict`, for people and diffs."""
        return json.dumps(self.to_dict(), indent=2) + "\n"


class WholeNetwork(nn.Module):
    """What the network of any whole architecture has: head, initial weights, and what it refuses.

    `features`: images (B, C, H, W) -> maps (B, width, h, w), to be set by the subclass before
    `finish`.
    """

    features: nn.Module

    def __init__(self, architecture: Whole, image: tuple[int, int, int]) -> None:
        super().__init__()
        self.architecture = architecture
        self.image = image

    def finish(self, width: int, classes: int) -> None:
        """Add norm and classifier; draw the weights of convolutions from N(0, 2 / n).

        n = kernel area x output channels / groups (He et al. 2015, in the form of DenseNet's code
        and of PathLevel-EAS, whose authors made ProxylessNAS).
        """
        self.norm = nn.BatchNorm2d(width)
        self.classifier = nn.Linear(width, classes)
        nn.init.zeros_(self.classifier.bias)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                n = math.prod(module.kernel_size) * module.out_channels / module.groups
                nn.init.normal_(module.weight, 0.0, math.sqrt(2 / n))

    def set_drop_path(self, probability: float) -> None:
        """Accepts no probability but 0: there are no cells whose edges could be dropped."""
        if probability:
            raise UsageError(f"{self.architecture}: has no cells, so drop_path must be 0")

    def forward(self, x: Tensor, auxiliary: bool = False) -> Tensor:
        """Images (B, C, H, W) -> logits (B, classes). Raises UsageError for `auxiliary`."""
        if auxiliary:
            raise UsageError(f"{self.architecture}: has no auxiliary head")
        x = torch.relu(self.norm(self.features(x)))
        pooled = nn.functional.adaptive_avg_pool2d(x, 1).flatten(1)
        logits: Tensor = self.classifier(pooled)
        return logits
