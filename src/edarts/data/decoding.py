"""Decoding: from files, bytes and arrays of numbers to uint8 pixels of one size.

Files are looked at twice: first their headers alone, which decide the size that all images get;
then each is decoded, shrunk to that size, put where `storage` keeps the pixels, and forgotten. So
memory grows with the threads that decode, not with the number of photographs.
"""

import io
import math
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

from edarts.config import DataConfig
from edarts.config.reading import open_regular
from edarts.data import storage
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
DEEP = ("I", "F")  # modes of more than 8 bits for a pixel
FULL = 65535.0  # white of images of 16 bits for a network that was trained on others
AHEAD = 64  # images that wait for a thread
HOT = 1e-4  # share of the pixels, the brightest ones, that may be brighter than white
TURNED = (5, 6, 7, 8)  # EXIF orientations in which width and height change places
# What Pillow warns of in a damaged file, in lines of its own, is followed by its error or harmless.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

Result = TypeVar("Result")


# -- one image -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Header:
    """What an image file says of itself: (H, W) upright, channels, whether a pixel has more than 8
    bits, whether it is one of many.
    """

    size: tuple[int, int]
    channels: int
    deep: bool
    frames: bool


def look(item: Item) -> Header:
    """The header of one image file, which is not decoded. Raises EdartsError that names it."""
    with _opened(item) as image:
        width, height = image.size
        if image.getexif().get(ExifTags.Base.Orientation) in TURNED:
            width, height = height, width
        mode = _mode(image)
        deep = mode in DEEP
        channels = 1 if deep else Image.getmodebands(mode)
        return Header((height, width), channels, deep, bool(getattr(image, "is_animated", False)))


def read_image(item: Item, around: tuple[int, int] | None = None) -> Image.Image:
    """Decode one image file, upright; of several pages or frames the first.

    `around`: (H, W) that it will be resized to: a JPEG is decoded no larger than that needs. Images
    of more than 8 bits have the mode I or F, and their own values. Raises EdartsError that names
    the file.
    """
    with _opened(item) as image:
        if around is not None and image.format == "JPEG":
            side = max(around)  # it may lie on its side
            image.draft(None, (side, side))
        image.load()
        # A camera that is held upright writes the picture lying, and how to turn it.
        ImageOps.exif_transpose(image, in_place=True)
        mode = _mode(image)
        made = image.convert(mode) if image.mode != mode else image.copy()
        if mode in DEEP:
            _check_deep(np.asarray(made), item)
        return made


def _check_deep(values: NDArray[Any], item: Item) -> None:
    """Raises EdartsError for values that no grey level stands for."""
    wrong = "NaN or infinite" if not np.isfinite(values).all() else ""
    wrong = wrong or ("negative" if values.min(initial=0) < 0 else "")
    if wrong:
        raise EdartsError(f"{_name(item)}: {wrong} values; scale them to 0..65535")


@contextmanager
def _opened(item: Item) -> Iterator[Image.Image]:
    """The image file while the block looks at it; whatever it raises becomes one line."""
    name = _name(item)
    try:
        file = open_regular(item) if isinstance(item, Path) else io.BytesIO(item.data)
        with file, Image.open(file) as image:
            yield image
    except FileNotFoundError:
        raise EdartsError(f"{name}: no such file") from None
    except (MemoryError, EdartsError):  # is no fault of the file; is said already
        raise
    except Exception as error:  # a broken file can make Pillow raise almost anything
        raise EdartsError(f"{name}: not a readable image: {one_line(error)}") from None


def _name(item: Item) -> str:
    return str(item) if isinstance(item, Path) else item.name


def _mode(image: Image.Image) -> str:
    """The mode that an image is brought to: L, LA, RGB, RGBA, or one of `DEEP`."""
    if image.mode.startswith(DEEP):
        return image.mode[0]
    mode = IMAGE_MODES.get(image.mode, "RGB")
    if "transparency" in image.info:  # one colour, or some of a palette
        return "LA" if mode == "L" else "RGBA"
    return mode


def to_pixels(
    image: Image.Image, shape: tuple[int, int, int], white: float | None = None
) -> Pixels:
    """(H, W, C) uint8 of the given (C, H, W), resized and converted where needed.

    Where the shape has no channel for it, what is transparent is shown on `BACKGROUND`. `white`:
    the value of an image of more than 8 bits that becomes 255; None: `FULL`.
    """
    channels, height, width = shape
    mode = CHANNEL_MODES[channels]
    if image.mode in DEEP:
        deep = np.asarray(_resized(image, (width, height)), dtype=np.float64)
        scaled = np.clip(deep * (255.0 / (white or FULL)), 0, 255).round().astype(np.uint8)
        image = Image.fromarray(scaled)
    if is_transparent(image) and "A" not in mode:
        above = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", above.size, BACKGROUND), above)
    if image.mode != mode:
        image = image.convert(mode)
    pixels = np.asarray(_resized(image, (width, height)), dtype=np.uint8)
    return pixels.reshape(height, width, channels)


def _resized(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    if image.size == size:
        return image
    return image.resize(size, Image.Resampling.BILINEAR, reducing_gap=3.0)


def white_of(images: Iterable[NDArray[Any]], most: int) -> float | None:
    """The one value of images of more than 8 bits, of `most` pixels at most, that becomes white.

    All but a `HOT` share of their pixels lie below it, so that a hot pixel darkens nothing; 255
    where none is brighter: then they hold no more than 8 bits; None without pixels. Of these only
    the brightest are kept.
    """
    keep, count = math.ceil(HOT * most) + 2, 0
    bright: list[NDArray[Any]] = [np.zeros(0)]
    for image in images:
        count += image.size
        bright.append(image.ravel().astype(np.float64))
        if sum(map(len, bright)) > 4 * keep:
            bright = [np.partition(np.concatenate(bright), -keep)[-keep:]]
    if count == 0:
        return None
    top = np.sort(np.concatenate(bright))
    below, between = divmod((count - 1) * (1 - HOT), 1)  # where the quantile lies among all
    pair = top[len(top) - count + int(below) :][:2]
    return max(255.0, float(np.quantile(pair, between)))


def transparent(count: int) -> list[str]:
    """The note on so many images whose transparency a network cannot take; or none."""
    what = "image is" if count == 1 else "images are"
    return [f"{count} transparent {what} shown on {BACKGROUND}"] if count else []


def is_lost(image: Image.Image, shape: tuple[int, int, int]) -> bool:
    """Whether the image has a transparency that a network for this (C, H, W) cannot take."""
    return "A" not in CHANNEL_MODES[shape[0]] and is_transparent(image)


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
    if array.dtype.kind not in "uif":
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


@dataclass(frozen=True)
class Decoded:
    """`pixels`: (N, H, W, C). `labels`: (N,) of those images that could be read.

    `index`: (N,) which of the items they are. `notes`: for the user. `white`: see `to_pixels`; None
    if no image has more than 8 bits.
    """

    pixels: Pixels
    labels: Labels
    index: NDArray[np.int64]
    notes: list[str]
    white: float | None = None


def decode(
    items: Items,
    labels: Labels,
    config: DataConfig,
    shape: tuple[int, int, int] | None,
    white: float | None = None,
) -> Decoded:
    """Decode a split.

    `shape`, `white`: the (C, H, W) that the images get, and what is white of those of more than 8
    bits; None: as their own headers, values and `config` decide.
    """
    if isinstance(items, np.ndarray):
        pixels, notes = _decode_array(items, config, shape)
        return Decoded(pixels, labels, np.arange(len(labels)), notes)
    notes = []
    good = _Reading(items, config.skip_bad)
    headers = list(good.each(look))
    if shape is None:
        sizes = [header.size for header in headers]
        channels = max(header.channels for header in headers)
        shape = (channels, *_target_size(sizes, config, notes))
    if frames := sum(header.frames for header in headers):
        what = "image has" if frames == 1 else "images have"
        notes.append(f"{frames} {what} several pages or frames: the first is taken")
    target, most = shape, len(headers)
    config.check_size(most * math.prod(shape), f"{most} images")
    if white is None and any(header.deep for header in headers):
        # They are decoded once more for it: all of them may be more than memory holds.
        values = good.each(lambda item: _deep_values(item, target))
        white = white_of(values, most * math.prod(shape[1:]))
    lost = list[str]()

    def made(item: Item) -> Pixels:
        image = _shrunk(item, target)
        if is_lost(image, target):
            lost.append(_name(item))
        return to_pixels(image, target, white)

    found = storage.gather(good.each(made), most, shape)
    notes += transparent(len(lost))
    return Decoded(found, labels[good.index], good.index, [*good.notes(), *notes], white)


def _shrunk(item: Item, shape: tuple[int, int, int]) -> Image.Image:
    """Decoded and resized; its mode is its own."""
    _, height, width = shape
    return _resized(read_image(item, (height, width)), (width, height))


def _deep_values(item: Item, shape: tuple[int, int, int]) -> NDArray[Any]:
    """The values of an image of more than 8 bits, shrunk; none of another image."""
    image = _shrunk(item, shape)
    return np.asarray(image) if image.mode in DEEP else np.zeros(0)


class _Reading:
    """Goes through the files of a split with threads; those that cannot be read drop out.

    Items are asked for one after the other, as those who read them from one large file need it.

    `index`: of those that are left. Raises EdartsError for the first one, unless `skip_bad`.
    """

    def __init__(self, items: Sequence[Item], skip_bad: bool) -> None:
        self.items, self.skip_bad = items, skip_bad
        self.index = np.arange(len(items))
        self.bad: list[EdartsError] = []

    def each(self, do: Callable[[Item], Result]) -> Iterator[Result]:
        """What `do` makes of each file that is left, in order; few at once lie in memory."""

        def attempt(item: Item | EdartsError) -> Result | EdartsError:
            try:
                return item if isinstance(item, EdartsError) else do(item)
            except EdartsError as error:
                return error

        bad, readable = list[EdartsError](), list[bool]()
        waiting: deque[Future[Result | EdartsError]] = deque()
        with ThreadPoolExecutor() as pool:
            left = iter(self.index.tolist())
            while True:
                for at in islice(left, AHEAD - len(waiting)):
                    waiting.append(pool.submit(attempt, self._item(at)))
                if not waiting:
                    break
                result = waiting.popleft().result()
                readable.append(not isinstance(result, EdartsError))
                if isinstance(result, EdartsError):
                    bad.append(result)
                else:
                    yield result
        if bad and (not self.skip_bad or len(bad) == len(readable)):
            more = f" (and {len(bad) - 1} more such files)" if len(bad) > 1 else ""
            raise EdartsError(f"{bad[0]}{more}; repair or remove, or go on without with --skip-bad")
        self.bad += bad
        self.index = self.index[readable]

    def _item(self, at: int) -> Item | EdartsError:
        """One of the items, or why it cannot be had."""
        try:
            return self.items[at]
        except EdartsError as error:
            return error

    def notes(self) -> list[str]:
        """What was left out."""
        if not self.bad:
            return []
        return [f"skipped {len(self.bad)} unreadable images, the first: {self.bad[0]}"]


def _decode_array(
    pixels: Pixels, config: DataConfig, shape: tuple[int, int, int] | None
) -> tuple[Pixels, list[str]]:
    notes: list[str] = []
    _, height, width, channels = pixels.shape
    target = shape or (channels, *_target_size([(height, width)], config, notes))
    config.check_size(len(pixels) * math.prod(target), f"{len(pixels)} images")
    if (channels, height, width) == target:
        return np.ascontiguousarray(pixels), notes
    images = (Image.fromarray(p.squeeze(-1) if p.shape[-1] == 1 else p) for p in pixels)
    made = (to_pixels(image, target) for image in images)
    return storage.gather(made, len(pixels), target), notes


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
