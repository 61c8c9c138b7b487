"""One split of a data set, decoded."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from edarts.errors import EdartsError

AT_ONCE = 2**25  # bytes of images, about, that are looked at together


@dataclass(frozen=True)
class Dataset:
    """One split of a data set, decoded, or some of its images.

    `pixels`: (M, H, W, C) uint8, in memory or in a file that is mapped into it. `labels`: (N,)
    int64 in 0..len(classes) - 1. `classes`: names. `notes`: what was done to the images, for the
    user. `flip`: whether mirroring is harmless. `white`: the value of images of more than 8 bits
    that became 255; None where there were none. `rows`: (N,) int64, which of the pixels these
    images are; None: all, in order.
    """

    pixels: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    name: str = "data"
    notes: tuple[str, ...] = ()
    flip: bool = True
    white: float | None = None
    rows: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of every image."""
        _, height, width, channels = self.pixels.shape
        return channels, height, width

    @property
    def images(self) -> Tensor:
        """(N, H, W, C) uint8; of a subset they are copied: `at` and `chunks` copy but a few."""
        return self.pixels if self.rows is None else self.pixels.index_select(0, self.rows)

    def at(self, index: Tensor) -> Tensor:
        """(n, H, W, C) uint8: the images at `index` (n,) int64."""
        return self.pixels.index_select(0, index if self.rows is None else self.rows[index])

    def chunks(self, size: int | None = None) -> Iterator[Tensor]:
        """All images in order, `size` at a time; None: as many as are quickly looked at."""
        size = size or max(1, AT_ONCE // math.prod(self.shape))
        if self.rows is None:
            yield from self.pixels.split(size)
        else:
            yield from (self.pixels.index_select(0, rows) for rows in self.rows.split(size))

    def subset(self, index: Tensor) -> "Dataset":
        """The images at `index` (n,) int64, which are not copied."""
        rows = index if self.rows is None else self.rows[index]
        return replace(self, rows=rows, labels=self.labels[index])

    def to(self, device: torch.device) -> "Dataset":
        """The same on a device, of a subset no other images; on its own device it is itself."""
        if self.pixels.device == device:
            return self
        count, (channels, height, width) = len(self), self.shape
        pixels = torch.empty(count, height, width, channels, dtype=torch.uint8, device=device)
        start = 0
        for chunk in self.chunks():
            pixels[start : start + len(chunk)] = chunk.to(device)
            start += len(chunk)
        return replace(self, pixels=pixels, labels=self.labels.to(device), rows=None)

    def __getstate__(self) -> dict[str, Any]:
        """For another process, which gets no other images."""
        held = {f.name: getattr(self, f.name) for f in fields(self)}
        return held | {"pixels": self.images, "rows": None}

    def statistics(self) -> tuple[list[float], list[float]]:
        """Mean and standard deviation of each channel, of pixels scaled to 0..1."""
        return self._statistics

    @cached_property
    def _statistics(self) -> tuple[list[float], list[float]]:
        channels = self.shape[0]
        whole = torch.zeros(channels, 256, dtype=torch.int64)
        for chunk in self.chunks():
            for c in range(channels):
                whole[c] += torch.bincount(chunk[..., c].flatten(), minlength=256)
        counts = whole.double()
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
