"""The door to the data: opened without decoding, each split decoded once, when it is asked for."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from edarts.config import DataConfig
from edarts.data import decoding, storage
from edarts.data.catalogue import (
    Items,
    Labels,
    check,
    check_counts,
    check_length,
    check_range,
    pick,
)
from edarts.data.dataset import Dataset
from edarts.data.duplicates import Duplicates, duplicates
from edarts.data.fingerprint import Listing, listing
from edarts.data.sources import open_catalogue
from edarts.data.splits import stratified_split

Split = Literal["train", "test"]
SPLITS: tuple[Split, Split] = ("train", "test")
SKETCHED = 1000  # images, of which a sketch is made
Shape = tuple[int, int, int]
"""(C, H, W) of an image."""
Asked = tuple[Shape | None, float | None]
"""The shape and the white that a split was asked for with."""


class Opened:
    """A data set that is open: its classes and counts are known, its images decoded on demand.

    Make it with `open_data`. Pickled, it is its config alone: another process opens the data
    anew, and decodes a split once however many Opened it is sent.
    """

    def __init__(self, config: DataConfig, whole: bool = False) -> None:
        """`whole`: without a test split all images are it, any number of each class."""
        self.config = config
        catalogue = self._catalogue = open_catalogue(config)
        if whole and catalogue.test is None:
            check_length(len(catalogue.items), len(catalogue.labels), config.data)
            check_range(catalogue.labels, len(catalogue.classes), config.data)
            catalogue.test = catalogue.items, catalogue.labels
        else:
            check(catalogue, config.data)
        self._decoded: dict[Split, tuple[Asked, Dataset]] = {}
        self._duplicates: Duplicates | None = None
        self._rows: dict[Split, Labels] = {}  # of the images decoded, in the catalogue's list

    @property
    def name(self) -> str:
        """What the data set is called for the user: a file name, or a part of it."""
        return self._catalogue.name

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes; labels are places in them."""
        return self._catalogue.classes

    @property
    def flip_open(self) -> bool:
        """Whether neither the config nor the source says if a mirrored image keeps its meaning."""
        return self.config.flip is None and self._catalogue.flip is None

    @cached_property
    def listing(self) -> Listing:
        """Every image with its label; none is decoded."""
        return listing(self._catalogue)

    @property
    def images(self) -> int:
        """Number of training images, about, without decoding any: unreadable ones count."""
        images = len(self._catalogue.labels)
        if self._catalogue.test is None:
            images = round(images * (1 - self.config.test_fraction))
        return min(images, self.config.limit or images)

    @property
    def test_images(self) -> int:
        """Number of test images, about, without decoding any: unreadable ones count."""
        test = self._catalogue.test
        every = len(self._catalogue.labels)
        images = round(every * self.config.test_fraction) if test is None else len(test[1])
        return min(images, self.config.test_limit or images)

    @property
    def train(self) -> Dataset:
        """The training split, decoded at the first use."""
        return self.split("train")

    @property
    def test(self) -> Dataset:
        """The test split, decoded at the first use, in its own size."""
        return self.split("test")

    def split(
        self, split: Split, shape: Shape | None = None, white: float | None = None
    ) -> Dataset:
        """The training or test split, decoded unless it was just now.

        `shape`: (C, H, W) that the images must get, for a network that was trained on them;
        without it the split's own sizes decide. `white`: likewise, of images of more than 8 bits.
        Raises EdartsError naming the file, class or value.
        """
        asked, known = self._decoded.get(split, (None, None))
        fits = known is not None and shape == known.shape and white in (None, known.white)
        if known is None or not (fits or asked == (shape, white)):
            self._decoded.pop(split, None)  # so that two copies never lie in memory
            known = self._decode(split, shape, white)
            self._decoded[split] = (shape, white), known
        return known

    def sketch(self, decoded: int = SKETCHED) -> Dataset:
        """As many images as the training split has, of which about `decoded` are; they stand for
        the others: to time a step without decoding all of them.
        """
        items, labels, *_ = self._items("train")
        if "train" in self._decoded or decoded >= len(labels):
            return self.train
        _, index = stratified_split(labels, decoded / len(labels), self.config.split_seed, "sketch")
        found = decoding.decode(pick(items, index), labels[index], self.config, None)
        rows = torch.arange(len(labels)) % len(found.labels)
        return self._dataset(found).subset(rows)

    def __reduce__(self) -> tuple[Any, ...]:
        return open_data, (self.config,)

    def _decode(self, split: Split, shape: Shape | None, white: float | None) -> Dataset:
        catalogue, config = self._catalogue, self.config
        items, labels, rows, notes = self._items(split)
        found = decoding.decode(items, labels, config, shape, white)
        self._rows[split] = rows[found.index]
        dataset = self._dataset(found, notes)
        if split == "train" and config.drop_duplicates:
            dataset = self._without_duplicates(dataset)
        if split == "train":
            check_counts(dataset.labels.numpy(), catalogue.classes, 2, "training images")
        return dataset

    def _dataset(self, found: decoding.Decoded, notes: Sequence[str] = ()) -> Dataset:
        catalogue, flip = self._catalogue, self.config.flip
        flip = catalogue.flip if flip is None else flip
        return Dataset(
            torch.from_numpy(found.pixels),
            torch.from_numpy(np.asarray(found.labels, dtype=np.int64)),
            catalogue.classes,
            catalogue.name,
            (*catalogue.notes, *notes, *found.notes),
            found.pixels.shape[-1] >= 3 if flip is None else flip,
            found.white,
        )

    def _without_duplicates(self, train: Dataset) -> Dataset:
        """The training images that are no test images too; of the test split only images are
        looked at.
        """
        test = self.split("test", train.shape, train.white)
        found = duplicates(train.images, test.images)
        left = np.setdiff1d(np.arange(len(train)), found.train)
        self._rows["train"] = self._rows["train"][left]
        gone = len(train) - len(left)
        if not gone:
            return train
        what = "image is a test image" if gone == 1 else "images are test images"
        note = f"{gone} training {what} too, or nearly: left out"
        kept = train.subset(torch.from_numpy(left))
        images = (image for chunk in kept.chunks() for image in chunk.numpy())
        pixels = torch.from_numpy(storage.gather(images, len(kept), kept.shape))
        return replace(kept, pixels=pixels, rows=None, notes=(*train.notes, note))

    def duplicates(self, shape: Shape, white: float | None) -> Duplicates:
        """Which training images are test images too, in this size: see `split`."""
        if self._duplicates is None:
            train, test = (self.split(name, shape, white).images for name in SPLITS)
            self._duplicates = duplicates(train, test)
        return self._duplicates

    def place(self, split: Split, image: int) -> str:
        """What an image of a decoded split is called: a file below the root of the data, or a
        row.
        """
        before = len(self._catalogue.labels) if self._apart(split) else 0
        return self.listing.places[before + int(self._rows[split][image])].removeprefix("test:")

    def _apart(self, split: Split) -> bool:
        """Whether the split is a test split that the data bring."""
        return split == "test" and self._catalogue.test is not None

    def _items(self, split: Split) -> tuple[Items, Labels, Labels, list[str]]:
        """What is to be decoded, the labels, the place of each in its list, and notes on what was
        cut off.
        """
        catalogue, config = self._catalogue, self.config
        items, labels = catalogue.items, catalogue.labels
        notes, rows = [], np.arange(len(labels))
        if catalogue.test is None:
            train, test = stratified_split(labels, config.test_fraction, config.split_seed)
            index = train if split == "train" else test
            items, labels, rows = pick(items, index), labels[index], rows[index]
            notes.append(
                f"no test split given: {len(test)} of {len(train) + len(test)} images cut off"
            )
        elif split == "test":
            items, labels = catalogue.test
            rows = np.arange(len(labels))
        limit, which = config.limit, "training"
        if split == "test":
            limit, which = config.test_limit, "test"
        if limit is not None and limit < len(labels):
            share = limit / len(labels)
            _, index = stratified_split(labels, share, config.split_seed, stream="limit")
            items, labels, rows = pick(items, index), labels[index], rows[index]
            notes.append(f"limited to {len(labels)} {which} images")
        return items, labels, rows, notes


Data = str | DataConfig | Dataset | tuple[Any, Any] | Opened
"""What can be given as data: the argument of the command line, a DataConfig, images and labels as
a Dataset or as (X, y) arrays of numpy or torch, or data that are open."""

_last: tuple[object, Opened] | None = None  # in this process, and what it was opened as


def open_data(data: Data) -> Opened:
    """Open `data` without decoding an image; the data opened last are not opened again.

    `(X, y)`: X is (N, H, W), (N, H, W, C) or (N, C, H, W) of 0..255 or 0..1, y (N,) whole numbers
    or text; from these and from a Dataset the test split is cut off. They are not copied: do not
    change them while they are in use. Raises EdartsError.
    """
    global _last  # noqa: PLW0603
    if isinstance(data, Opened):
        return data
    config = data if isinstance(data, DataConfig) else DataConfig.of(data)
    key = (config, _stamp(config.data))
    if _last is None or _last[0] != key:
        _last = None  # its images are freed before others are decoded
        _last = (key, Opened(config))
    return _last[1]


def open_to_evaluate(data: Data, trained: DataConfig) -> Opened:
    """Open data for the evaluation of a network that was trained on others, or on the same.

    Of others without a test split all images are it. Raises EdartsError.
    """
    if isinstance(data, Opened):
        return data
    config = data if isinstance(data, DataConfig) else DataConfig.of(data)
    same = config.data == trained.data or _place(config.data) == _place(trained.data)
    return open_data(config) if same else Opened(config, whole=True)


def _place(data: str) -> Path | str:
    """Where data lie, whatever the path to them; what is no path stands for itself."""
    return Path(data).resolve() if Path(data).exists() else data


def load(data: Data, split: Split = "train", shape: Shape | None = None) -> Dataset:
    """Decode one split of `data` (see `open_data`), anew at each call.

    `shape`: (C, H, W) that the images must get, for a network that was trained on them; without it
    the split's own sizes decide. Raises EdartsError naming the file, class or value.
    """
    if isinstance(data, Opened):
        return data.split(split, shape)
    config = data if isinstance(data, DataConfig) else DataConfig.of(data)
    return Opened(config).split(split, shape)


def _stamp(data: str) -> str:
    """Changes when the files that `data` names do; nothing is read but names, sizes and times."""
    path = Path(data)
    if not path.exists():
        return ""
    digest = hashlib.sha256(os.fsencode(path.resolve()))
    for file, state in sorted(_files(path)):
        digest.update(os.fsencode(f"{file}\0{state.st_size}\0{state.st_mtime_ns}\0"))
    return digest.hexdigest()


def _files(path: Path) -> Iterator[tuple[str, os.stat_result]]:
    if not path.is_dir():
        yield "", path.stat()
        return
    for folder, _, files in os.walk(path, followlinks=True):
        for name in files:
            file = os.path.join(folder, name)
            if os.path.exists(file):
                yield file, os.stat(file)
