"""Training images that are test images too: the same pixels, or nearly the same."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

THUMBNAIL = 8  # pixels of a side, of the thumbnails that are compared first
ALIKE = 0.95  # correlation of two thumbnails below which the images themselves are not looked at
NEAR = 0.96  # correlation of two images from which they are nearly identical, if they differ by
LEVELS = 20.0  # so many of 255 levels at most, on average; on CIFAR-10 such pairs look alike
SMALLEST = 16  # pixels of a side, below which different things are as similar as that
ROWS = 2000  # images that are compared at once, and of these, as floats, at most so many
VALUES = 2**23


@dataclass(frozen=True)
class Duplicates:
    """Pairs of images, (n,) each: `test` and `train` say which, `identical` whether every pixel is
    the same. A test image that several training images resemble has a pair with each.
    """

    test: NDArray[np.int64]
    train: NDArray[np.int64]
    identical: NDArray[np.bool_]

    @property
    def images(self) -> tuple[int, int]:
        """How many test images are identical to a training image; how many others are nearly."""
        same = np.unique(self.test[self.identical])
        return len(same), len(np.setdiff1d(self.test, same))

    def first(self, count: int) -> list[tuple[int, int]]:
        """(test image, training image) of so many test images, the identical ones first."""
        found: dict[int, int] = {}
        for n in np.argsort(~self.identical, kind="stable"):
            found.setdefault(int(self.test[n]), int(self.train[n]))
        return [*found.items()][:count]


def duplicates(train: Tensor, test: Tensor) -> Duplicates:
    """Of (N, H, W, C) and (M, H, W, C) uint8 images of one size.

    Two images are nearly identical if their values correlate by `NEAR` and differ by `LEVELS` at
    most on average; thumbnails tell which pairs may be. Of images below `SMALLEST` pixels only
    identical ones count.
    """
    known, pairs = _thumbnails(train), list[Tensor]()
    large = min(train.shape[1:3]) >= SMALLEST
    for start in range(0, len(test), ROWS):
        some = _thumbnails(test[start : start + ROWS])
        at = torch.nonzero(some @ known.T >= ALIKE)
        pairs.append(at + torch.tensor([start, 0]))
    candidates = torch.cat(pairs) if pairs else torch.zeros(0, 2, dtype=torch.long)
    kept, same = list[Tensor](), list[Tensor]()
    for chunk in candidates.split(_rows(train)):
        a, b = test[chunk[:, 0]].flatten(1).float(), train[chunk[:, 1]].flatten(1).float()
        difference = (a - b).abs().mean(dim=1)
        near = (_correlation(a, b) >= NEAR) & (difference <= LEVELS) & large
        near |= difference == 0
        kept.append(chunk[near])
        same.append(difference[near] == 0)
    found = torch.cat(kept) if kept else candidates
    identical = torch.cat(same) if same else torch.zeros(0, dtype=torch.bool)
    return Duplicates(found[:, 0].numpy(), found[:, 1].numpy(), identical.numpy())


def _rows(images: Tensor) -> int:
    """How many (N, H, W, C) images are looked at together."""
    return max(1, min(ROWS, VALUES // images[:1].numel())) if len(images) else ROWS


def _thumbnails(images: Tensor) -> Tensor:
    """(N, THUMBNAIL^2) float32: grey, of mean 0 and length 1; (1, 0, ...) for an even image, so
    that even images are alike.
    """
    found = []
    for chunk in images.split(_rows(images)):
        grey = chunk.float().mean(dim=3)[:, None]
        small = torch.nn.functional.adaptive_avg_pool2d(grey, THUMBNAIL).flatten(1)
        found.append(_standard(small))
    return torch.cat(found)


def _standard(x: Tensor) -> Tensor:
    x = x - x.mean(dim=1, keepdim=True)
    length = x.norm(dim=1, keepdim=True)
    even = torch.zeros_like(x)
    even[:, 0] = 1
    return torch.where(length > 1e-3, x / length.clamp(min=1e-3), even)


def _correlation(a: Tensor, b: Tensor) -> Tensor:
    return (_standard(a) * _standard(b)).sum(dim=1)
