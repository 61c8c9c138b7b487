"""Batches of a data set that lies on the device, and what is done to their images."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from edarts.data.dataset import Dataset
from edarts.runs.seeds import permutation


def batches(count: int, size: int) -> int:
    """Number of batches of about `size` that hold `count` images."""
    return max(1, -(-count // size))


class Loader:
    """Batches of one data set on `device`, a pure function of (epoch, step): nothing to save.

    Every epoch is a new seeded permutation cut into batches of nearly equal size, so each image is
    seen once and no batch is tiny. `stream` names the seed's use, so two loaders differ. `order`:
    makes another order of the images of (labels, seed, stream, epoch).
    """

    def __init__(
        self,
        data: Dataset,
        batch_size: int,
        seed: int,
        stream: str,
        device: torch.device,
        order: Callable[..., Tensor] | None = None,
    ) -> None:
        self.data = data.to(device)
        self.labels = self.data.labels
        self.steps = batches(len(data), batch_size)
        self.seed, self.stream, self._order = seed, stream, order
        self._epoch, self._chunks = -1, ()  # type: int, tuple[Tensor, ...]

    def batch(self, epoch: int, step: int) -> tuple[Tensor, Tensor]:
        """(B, H, W, C) uint8 images and (B,) labels of one step."""
        if epoch != self._epoch:
            key = self.seed, self.stream, epoch
            if self._order is None:
                order = permutation(len(self.labels), *key)
            else:
                order = self._order(self.labels.cpu(), *key)
            self._chunks = order.to(self.labels.device).tensor_split(self.steps)
            self._epoch = epoch
        index = self._chunks[step]
        return self.data.at(index), self.labels[index]

    def places(self, epoch: int, step: int) -> Tensor:
        """(B,) int64: where the images of one step lie in the data set."""
        self.batch(epoch, step)
        return self._chunks[step]

    def endless(self, count: int) -> tuple[Tensor, Tensor]:
        """Batch number `count` of the endless stream: epoch after epoch."""
        return self.batch(*divmod(count, self.steps))


@dataclass(frozen=True)
class Transform:
    """uint8 (B, H, W, C) -> normalised float32 (B, C, H, W) in channels-last memory.

    `mean`, `std`: per channel, of pixels scaled to 0..1, from the training split.
    `flip`: mirror half of the images. `cutout`: side of the square as a share of the image.
    `jitter`: how far contrast and brightness of an image are changed, at most. `shift`: how far it
    is moved, at most, as a share of its longer side, though by one pixel if it is moved at all.
    `edge`: what comes in from beyond its edge: zeros, or the image in a mirror.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    flip: bool = False
    cutout: float = 0.0
    jitter: float = 0.0
    shift: float = 1 / 8
    edge: Literal["zeros", "mirror"] = "zeros"

    @classmethod
    def of(cls, data: Dataset, cutout: float = 0.0) -> "Transform":
        """The transform with the mean and standard deviation of each channel of `data`."""
        mean, std = data.statistics()
        return cls(tuple(mean), tuple(std), data.flip, cutout)

    def normalise(self, images: Tensor) -> Tensor:
        """Scale and shift only, for evaluation."""
        mean = torch.tensor(self.mean, device=images.device)
        std = torch.tensor(self.std, device=images.device)
        scaled = images.float().mul(1 / (255 * std)).sub(mean / std)
        return scaled.permute(0, 3, 1, 2)

    def augment(self, images: Tensor, mirrored: Tensor | None = None) -> Tensor:
        """Move, flip, normalise, cut out: by default as in DARTS' recipe, after padding with zeros.

        With `jitter` j the normalised image is multiplied by 1 - j to 1 + j, and up to 2 j standard
        deviations of the pixels are added to all of it.

        `mirrored`: (B,) bool, which of the images are mirrored, if images may be; None: drawn.
        Draws from torch's CPU generator, so that every device sees the same images.
        """
        batch, height, width, _ = images.shape
        device = images.device
        most = max(1, int(self.shift * max(height, width))) if self.shift > 0 else 0
        rows = torch.randint(0, 2 * most + 1, (batch, 1)) + torch.arange(height)
        columns = torch.randint(0, 2 * most + 1, (batch, 1)) + torch.arange(width)
        if self.flip:
            which = torch.rand(batch, 1) < 0.5 if mirrored is None else mirrored.cpu()[:, None]
            columns = torch.where(which, columns.flip(1), columns)
        if self.edge == "mirror":
            rows, columns = _inside(rows - most, height), _inside(columns - most, width)
        else:
            images = torch.nn.functional.pad(images, (0, 0, most, most, most, most))
        # One gather crops and mirrors all images, and leaves them channels-last.
        cropped = images[
            torch.arange(batch, device=device)[:, None, None],
            rows.to(device)[:, :, None],
            columns.to(device)[:, None, :],
        ]
        x = self.normalise(cropped)
        if self.jitter > 0:
            contrast, brightness = self.jitter * (2 * torch.rand(2, batch, 1, 1, 1) - 1)
            x = x * (1 + contrast).to(device) + 2 * brightness.to(device)
        if self.cutout > 0:
            x = x * _cutout_mask(batch, height, width, self.cutout).to(device)
        return x


def _inside(places: Tensor, size: int) -> Tensor:
    """Places on a line of `size` pixels; those beyond an end are mirrored at the last pixel."""
    last = size - 1
    return (last - (last - places.abs()).abs()).clamp(0, last)


def _cutout_mask(batch: int, height: int, width: int, share: float) -> Tensor:
    """(B, 1, H, W): zero in one square per image, its centre uniform, clipped at the border."""
    sides = []
    for side in (height, width):
        length = round(share * side)
        start = torch.randint(0, side, (batch, 1)) - length // 2
        position = torch.arange(side)
        sides.append((position >= start) & (position < start + length))
    hole = sides[0][:, :, None] & sides[1][:, None, :]
    return (~hole)[:, None].float()
