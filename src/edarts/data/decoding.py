"""Decoding: from files, bytes and arrays of numbers to uint8 pixels of one size."""

import io
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from edarts.config import DataConfig
from edarts.data.catalogue import Item, Items, Labels, Pixels
from edarts.errors import EdartsError, one_line

SMALLEST, LARGEST = 8, 256  # pixels
HALVED = 64  # pixels of a shorter side from which on images are halved: networks would do it anyway
IMAGE_MODES = {"1": "L", "L": "L", "LA": "LA", "P": "RGB", "RGB": "RGB", "RGBA": "RGBA"}
BACKGROUND = "white"
"""What stands behind a transparent image where a network takes no transparency."""
OVERSHOOT = 1e-3  # how far floats may exceed 0..1 by rounding
FEWEST_LEVELS = 16  # that floats in 0..255 must reach, so that they are not some other scale
CHANNEL_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


# -- one image -----------------------------------------------------------------------------------


def read_image(item: Item) -> Image.Image:
    """Decode one image file completely, upright; of several pages or frames the first.

    Raises EdartsError that names the file.
    """
    name = str(item) if isinstance(item, Path) else item.name
    try:
        with Image.open(item if isinstance(item, Path) else io.BytesIO(item.data)) as image:
            image.load()
            # A camera that is held upright writes the picture lying, and how to turn it.
            ImageOps.exif_transpose(image, in_place=True)
            mode = IMAGE_MODES.get(image.mode, "L" if image.mode.startswith(("I", "F")) else "RGB")
            if image.mode.startswith("I"):  # 16 bits a pixel
                pixels = np.asarray(image)
                top = max(int(pixels.max()), 255)
                return Image.fromarray((pixels * (255.0 / top)).astype(np.uint8))
            if "transparency" in image.info:  # one colour, or some of a palette
                mode = "LA" if mode == "L" else "RGBA"
            return image.convert(mode) if image.mode != mode else image.copy()
    except FileNotFoundError:
        raise EdartsError(f"{name}: no such file") from None
    except MemoryError:  # is no fault of the file
        raise
    except Exception as error:  # a broken file can make Pillow raise almost anything
        raise EdartsError(f"{name}: not a readable image: {one_line(error)}") from None


def to_pixels(image: Image.Image, shape: tuple[int, int, int]) -> Pixels:
    """(H, W, C) uint8 of the given (C, H, W), resized and converted where needed.

    Where the shape has no channel for it, what is transparent is shown on `BACKGROUND`.
    """
    channels, height, width = shape
    mode = CHANNEL_MODES[channels]
    if is_transparent(image) and "A" not in mode:
        above = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", above.size, BACKGROUND), above)
    if image.mode != mode:
        image = image.convert(mode)
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=3.0)
    return np.asarray(image, dtype=np.uint8).reshape(height, width, channels)


def transparent(images: Iterable[Image.Image], shape: tuple[int, int, int]) -> list[str]:
    """The note on images whose transparency a network for this (C, H, W) cannot take; or none."""
    count = 0 if "A" in CHANNEL_MODES[shape[0]] else sum(map(is_transparent, images))
    what = "image is" if count == 1 else "images are"
    return [f"{count} transparent {what} shown on {BACKGROUND}"] if count else []


def is_transparent(image: Image.Image) -> bool:
    """Whether something of the image can be seen through."""
    return "A" in image.getbands() and image.getchannel("A").getextrema() != (255, 255)


# -- arrays of numbers ---------------------------------------------------------------------------


def array_pixels(array: NDArray[Any], what: str) -> Pixels:
    """(N, H, W), (N, H, W, C) or (N, C, H, W) of integers 0..255 or floats -> (N, H, W, C).

    Floats lie in 0..255, or all in 0..1, which they may exceed by rounding. `what`: how messages
    call the array. Raises EdartsError, also for floats that fit neither scale.
    """
    array = _channels_last(array, what)
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    if not np.issubdtype(array.dtype, np.number):
        raise EdartsError(f"{what}: values of type {array.dtype}; give numbers")
    bad = ~np.isfinite(array)
    if bad.any():
        raise EdartsError(
            f"{what}: NaN or infinite value in image {int(np.argwhere(bad)[0][0])}"
            f" ({int(bad.any(axis=(1, 2, 3)).sum())} such images); remove or repair them"
        )
    low, high = float(array.min(initial=0)), float(array.max(initial=0))
    floats = np.issubdtype(array.dtype, np.floating)
    unit = floats and high <= 1 + OVERSHOOT
    neither = floats and not unit and high < FEWEST_LEVELS
    if low < (-OVERSHOOT if unit else 0) or high > 255 or neither:
        raise EdartsError(f"{what}: values from {low:g} to {high:g}; scale them to 0..255 or 0..1")
    scaled = np.clip(array, 0, 1) * 255.0 if unit else array
    return np.round(scaled).astype(np.uint8)


def _channels_last(array: NDArray[Any], what: str) -> NDArray[Any]:
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim != 4:
        raise EdartsError(f"{what}: shape {array.shape}; images are (N, H, W) or (N, H, W, C)")
    if array.shape[-1] not in CHANNEL_MODES and array.shape[1] in CHANNEL_MODES:
        array = array.transpose(0, 2, 3, 1)
    if array.shape[-1] not in CHANNEL_MODES:
        raise EdartsError(f"{what}: {array.shape[-1]} channels; 1 to 4 can be read")
    return array


# -- all images of a split -----------------------------------------------------------------------


def decode(
    items: Items, labels: Labels, config: DataConfig, shape: tuple[int, int, int] | None
) -> tuple[Pixels, Labels, list[str]]:
    """(N, H, W, C) pixels, the labels of the images that could be read, notes for the user.

    `shape`: the (C, H, W) that the images get; None: as their own sizes and `config` decide.
    """
    if isinstance(items, np.ndarray):
        pixels, notes = _decode_array(items, config, shape)
        return pixels, labels, notes
    notes = []
    images, labels = _read_all(items, labels, config.skip_bad, notes)
    if shape is None:
        sizes = [(image.height, image.width) for image in images]
        channels = max(len(image.getbands()) for image in images)
        shape = (channels, *_target_size(sizes, config, notes))
    notes += transparent(images, shape)
    return _stack(images, shape), labels, notes


def _decode_array(
    pixels: Pixels, config: DataConfig, shape: tuple[int, int, int] | None
) -> tuple[Pixels, list[str]]:
    notes: list[str] = []
    _, height, width, channels = pixels.shape
    target = shape or (channels, *_target_size([(height, width)], config, notes))
    if (channels, height, width) == target:
        return np.ascontiguousarray(pixels), notes
    images = [Image.fromarray(p.squeeze(-1) if p.shape[-1] == 1 else p) for p in pixels]
    return _stack(images, target), notes


def _stack(images: Sequence[Image.Image], shape: tuple[int, int, int]) -> Pixels:
    """(N, H, W, C) of the given (C, H, W)."""
    channels, height, width = shape
    result = np.empty((len(images), height, width, channels), dtype=np.uint8)
    for index, image in enumerate(images):
        result[index] = to_pixels(image, shape)
    return result


def _read_all(
    items: Sequence[Item], labels: Labels, skip_bad: bool, notes: list[str]
) -> tuple[list[Image.Image], Labels]:
    def attempt(index: int) -> Image.Image | EdartsError:
        try:
            return read_image(items[index])
        except EdartsError as error:
            return error

    with ThreadPoolExecutor() as pool:
        results = list(pool.map(attempt, range(len(items))))
    bad = [result for result in results if isinstance(result, EdartsError)]
    if bad and (not skip_bad or len(bad) == len(results)):
        more = f" (and {len(bad) - 1} more such files)" if len(bad) > 1 else ""
        raise EdartsError(f"{bad[0]}{more}; repair or remove, or go on without with --skip-bad")
    if bad:
        notes.append(f"skipped {len(bad)} unreadable images, the first: {bad[0]}")
    good = [i for i, result in enumerate(results) if not isinstance(result, EdartsError)]
    return [r for r in results if not isinstance(r, EdartsError)], labels[good]


def _target_size(
    sizes: Sequence[tuple[int, int]], config: DataConfig, notes: list[str]
) -> tuple[int, int]:
    """The (H, W) that all images get; `sizes`: (H, W) of each image, or the one of all."""
    distinct = set(sizes)
    if config.image_size is not None:
        if distinct != {(config.image_size, config.image_size)}:
            notes.append(f"resized to {config.image_size} x {config.image_size}")
        return config.image_size, config.image_size
    smallest = min(min(size) for size in distinct)
    if smallest < SMALLEST:
        raise EdartsError(
            f"an image is only {smallest} pixels wide or high; at least {SMALLEST} are needed:"
            " give --image-size to enlarge"
        )
    height, width = (int(np.median(sides)) for sides in zip(*sizes, strict=True))
    scale = min(1.0, LARGEST / max(height, width))
    while min(height, width) * scale >= HALVED:
        scale /= 2
    height, width = (max(SMALLEST, round(side * scale)) for side in (height, width))
    if distinct != {(height, width)}:
        why = f"{len(distinct)} sizes" if len(distinct) > 1 else "large for a small network"
        keep = "" if scale == 1 else "; --image-size decides otherwise"
        notes.append(f"{why}: all images resized to {height} x {width}{keep}")
    return height, width
