"""Preprocessing: from arrays of any numbers, or image files, to the pixels that a network takes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edarts.config import DataConfig
from edarts.data.catalogue import Pixels
from edarts.data.decoding import (
    SMALLEST,
    array_pixels,
    decode,
    is_lost,
    read_image,
    to_pixels,
    transparent,
)
from edarts.errors import UsageError

Shape = tuple[int, int, int]
"""(C, H, W) of an image."""


@dataclass(frozen=True)
class Preprocessing:
    """How an array of numbers becomes images, as it was learned from the training array.

    `low`, `high`: the values that become 0 and 255; what lies beyond is clipped. `row`: (H, W, C)
    of the image that a row of a two-dimensional array is; None: the array holds images.
    """

    low: float
    high: float
    row: Shape | None = None

    @classmethod
    def learned(cls, array: NDArray[Any], row: Sequence[int] | None) -> "Preprocessing | None":
        """Of a training array (N, ...); None for images of uint8, which are pixels already.

        `row`: (H, W) or (H, W, C) of the image that a row is, where rows are images; None: the
        numbers of a row fill the smallest square, line by line. Raises UsageError.
        """
        if array.ndim != 2:
            if row is not None:
                raise UsageError(
                    f"image_shape is for rows, an X of shape (N, F); this one is {array.shape}"
                )
            if array.dtype == np.uint8:
                return None
        low, high = 0.0, 255.0
        if array.dtype != np.uint8:
            low, high = float(array.min()), float(array.max())
        return cls(low, high, None if array.ndim != 2 else _row(array.shape[1], row))

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Preprocessing":
        """From its fields, as JSON has them."""
        row = fields["row"]
        return cls(fields["low"], fields["high"], None if row is None else tuple(row))

    def pixels(self, array: NDArray[Any]) -> Pixels:
        """(N, H, W, C) of an array like the training one. Raises UsageError for another kind."""
        bytes_ = (self.low, self.high) == (0.0, 255.0)
        if array.dtype == np.uint8 and not bytes_:
            raise UsageError(
                f"X holds bytes, 0 to 255; the training images had {self.low:g} to {self.high:g}"
            )
        if (array.ndim == 2) is not (self.row is not None):
            kind = "images" if self.row is None else "rows of numbers"
            raise UsageError(f"X has the shape {array.shape}; the training data were {kind}")
        if not bytes_:
            span = self.high - self.low or 1.0
            array = np.clip((array.astype(np.float64) - self.low) / span, 0, 1) * 255
        array = np.clip(np.round(array), 0, 255).astype(np.uint8)
        return array if self.row is None else _square(array, self.row)


def _row(count: int, asked: Sequence[int] | None) -> Shape:
    """(H, W, C) of the image that a row of `count` numbers is."""
    if asked is None:
        side = math.ceil(math.sqrt(count))
        return side, side, 1
    shape = (*asked, 1) if len(asked) == 2 else tuple(asked)
    if len(shape) != 3 or math.prod(shape) != count:
        raise UsageError(f"image_shape {tuple(asked)} does not hold the {count} numbers of a row")
    height, width, channels = map(int, shape)
    return height, width, channels


def _square(rows: NDArray[np.uint8], shape: Shape) -> Pixels:
    """Rows (N, F) written line by line into images, whose pixels are repeated if these are small.

    Where F numbers do not fill the image, the rest is black.
    """
    height, width, channels = shape
    image = np.zeros((len(rows), height * width * channels), dtype=np.uint8)
    image[:, : rows.shape[1]] = rows
    times = math.ceil(SMALLEST / min(height, width))
    small = image.reshape(len(rows), height, width, channels)
    return small.repeat(times, axis=1).repeat(times, axis=2)


def array_images(
    array: NDArray[Any], shape: Shape | None, preprocessing: Preprocessing | None
) -> Pixels:
    """(N, H, W, C) uint8 of an array: by what was learned, else as `find` reads arrays.

    `shape`: that the images get; None: what their own size decides. Raises EdartsError.
    """
    images = array if preprocessing is None else preprocessing.pixels(array)
    pixels = array_pixels(images, "X")
    labels = np.zeros(len(pixels), dtype=np.int64)
    return decode(pixels, labels, DataConfig(), shape).pixels


def file_images(
    files: Sequence[Path], shape: Shape, white: float | None
) -> tuple[Pixels, list[str]]:
    """(N, H, W, C) uint8 of image files, and notes on them. Raises EdartsError naming the file."""
    read = [read_image(file, shape[1:]) for file in files]
    lost = sum(is_lost(image, shape) for image in read)
    return np.stack([to_pixels(image, shape, white) for image in read]), transparent(lost)
