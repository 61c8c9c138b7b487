"""Whole networks: published ones that are no stack of cells, with their own depth and width.

Such an architecture stands where a genotype stands: it is data, kept as JSON, and `build` makes its
network.
"""

import itertools
import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import fields as dataclass_fields
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from edarts.errors import UsageError
from edarts.space.base import Architecture, Image, Size
from edarts.space.picture import Box, Panel, connect


def check_counts(name: str, **counts: int) -> None:
    """Raises UsageError unless these fields of an architecture are whole numbers from 1 on."""
    for field, value in counts.items():
        if type(value) is not int or value < 1:
            raise UsageError(f"{field} of {name} must be a whole number from 1 on, got {value!r}")


class Whole(Architecture):
    """An architecture that is built as it is, with its own depth and width."""

    sized: ClassVar[bool] = False

    @property
    def label(self) -> str:
        """What a race calls it: the name of the plug-in."""
        return self.FORMAT.partition("/")[0].rpartition(".")[2]

    @property
    def most(self) -> int:
        """Its `width`, of which it may have less to fit limits; 1 if it has no width."""
        return int(getattr(self, "width", 1))

    def scaled(self, width: int) -> "Whole":
        """The same with another `width`; itself if it has none."""
        return replace(self, width=width) if hasattr(self, "width") else self  # type: ignore[type-var]

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Whole":
        """The inverse of `to_dict`; raises UsageError."""
        kind: Any = cls
        return cls(**{f.name: fields.get(f.name, 0) for f in dataclass_fields(kind)})

    def to_dict(self) -> dict[str, Any]:
        """The JSON-ready form: the fields of the dataclass, which are numbers."""
        return {"format": self.FORMAT, **vars(self)}

    def build(self, size: Size, image: Image, classes: int) -> "WholeNetwork":
        """Its network. Raises UsageError if `size` asks for what only cells have."""
        if size != Size():
            raise UsageError(f"{self}: has its own depth and width, and no auxiliary head")
        return self.network(image, classes)

    @abstractmethod
    def network(self, image: Image, classes: int) -> "WholeNetwork":
        """The network for these images, its weights drawn from torch's generator."""


class WholeNetwork(nn.Module):
    """What the network of any whole architecture has: head, initial weights, and what it refuses.

    `features`: images (B, C, H, W) -> maps (B, width, h, w), to be set by the subclass before
    `finish`.
    """

    sized: ClassVar[bool] = False
    features: nn.Module

    def __init__(self, architecture: Whole, image: tuple[int, int, int]) -> None:
        super().__init__()
        self.architecture = architecture
        self.image = image

    def finish(self, width: int, classes: int, norm: nn.Module | None = None) -> None:
        """Add norm and classifier; draw the weights of convolutions from N(0, 2 / n).

        `norm`: what stands before the last ReLU, if not a batch norm. n = kernel area x output
        channels / groups (He et al. 2015, in the form of DenseNet's code and of PathLevel-EAS,
        whose authors made ProxylessNAS).
        """
        self.norm = nn.BatchNorm2d(width) if norm is None else norm
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
        return self.logits(x)

    def logits(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) -> logits (B, classes): of the mean of every map of `features`."""
        x = torch.relu(self.norm(self.features(x)))
        pooled = nn.functional.adaptive_avg_pool2d(x, 1).flatten(1)
        logits: Tensor = self.classifier(pooled)
        return logits


def chain(caption: str, labels: Sequence[str]) -> Panel:
    """Boxes in a row, each with an arrow to the next one; those of many layers are blue."""
    boxes: list[Box] = []
    for label in labels:
        box = Box((0.0, 0.0), label, "#dbeafe" if "layers" in label else "#ffffff")
        left = boxes[-1].at[0] + boxes[-1].width / 2 + 0.6 if boxes else 0.2
        boxes.append(replace(box, at=(left + box.width / 2, 0.0)))
    lines = [connect(one, other) for one, other in itertools.pairwise(boxes)]
    right = boxes[-1].at[0] + boxes[-1].width / 2 + 0.2
    height = max(box.height for box in boxes) / 2 + 0.2
    return Panel(caption, tuple(boxes), tuple(lines), (), (0.0, -height, right, height))
