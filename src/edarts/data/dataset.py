"""One split of a data set, decoded."""

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from edarts.errors import EdartsError


@dataclass(frozen=True)
class Dataset:
    """One split of a data set, decoded.

    `images`: (N, H, W, C) uint8. `labels`: (N,) int64 in 0..len(classes) - 1. `classes`: names.
    `notes`: what was done to the images, for the user. `flip`: whether mirroring is harmless.
    `white`: the value of images of more than 8 bits that became 255; None where there were none.
    """

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    name: str = "data"
    notes: tuple[str, ...] = ()
    flip: bool = True
    white: float | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of every image."""
        _, height, width, channels = self.images.shape
        return channels, height, width

    def subset(self, index: Tensor) -> "Dataset":
        """The images at `index` (n,) int64."""
        return replace(self, images=self.images[index], labels=self.labels[index])

    def statistics(self) -> tuple[list[float], list[float]]:
        """Mean and standard deviation of each channel, of pixels scaled to 0..1."""
        return self._statistics

    @cached_property
    def _statistics(self) -> tuple[list[float], list[float]]:
        channels = self.images.shape[-1]
        counts = [
            torch.bincount(self.images[..., c].flatten(), minlength=256).double()
            for c in range(channels)
        ]
        values = torch.arange(256).double() / 255
        means = [float((n * values).sum() / n.sum()) for n in counts]
        deviations = [
            float(((n * (values - m) ** 2).sum() / n.sum()).sqrt())
            for n, m in zip(counts, means, strict=True)
        ]
        # A constant channel carries nothing; any scale will do.
        return means, [d if d > 1e-6 else 1.0 for d in deviations]

    def in_classes(self, classes: tuple[str, ...]) -> "Dataset":
        """The same images with their labels counted in `classes`, by name.

        Raises EdartsError for a class that is none of them.
        """
        strange = [name for name in self.classes if name not in classes]
        if strange:
            raise EdartsError(
                f"{self.name}: class '{strange[0]}' is unknown to the model; it knows"
                f" {', '.join(classes[:10])}"
            )
        index = torch.tensor([classes.index(name) for name in self.classes])
        return replace(self, labels=index[self.labels], classes=classes)
