"""Arrays: images and labels handed in from Python: (X, y), a Dataset, torch's or Hugging Face's.

They are known by their content: the name that stands for them in a run holds a fingerprint.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edarts.config import DataConfig
from edarts.data.catalogue import (
    Catalogue,
    array_labels,
    check_length,
    check_range,
    few,
    split_of,
)
from edarts.data.decoding import array_pixels
from edarts.data.fingerprint import listing
from edarts.data.sources.table import Feature, Options, catalogue_of, features_of, test_of
from edarts.errors import EdartsError, UsageError

ARRAYS = ("arrays", "dataset")
DIGITS = 16  # of the fingerprint that are kept: 64 bits


@dataclass(frozen=True)
class HandedIn:
    """Data from Python; `name`: what the config calls them, with the fingerprint."""

    name: str
    catalogue: Catalogue


class Arrays:
    """The names of data that were handed in from Python; they are not for the command line."""

    describe = "(X, y) or a Dataset, from Python"

    def accepts(self, data: str) -> bool:
        """Whether DATA begins as the fingerprint of data from Python does."""
        return data.startswith(tuple(f"{kind} sha256:" for kind in ARRAYS))

    def open(self, data: str, config: DataConfig) -> Catalogue:
        """Raises EdartsError where the name alone is known."""
        if not isinstance(config.handed_in, HandedIn):
            raise EdartsError(f"{data}: these data were handed in from Python; give the data again")
        return config.handed_in.catalogue


def hand_in(data: Any) -> HandedIn:
    """Take in (X, y), a Dataset, or one of torch or Hugging Face.

    X: (N, H, W), (N, H, W, C) or (N, C, H, W) of 0..255 or 0..1; y: (N,) whole numbers or text. A
    dataset of torch gives (image, label) for each index, all images of one size. Raises UsageError
    for anything else, EdartsError for bad values.
    """
    if type(data).__module__.partition(".")[0] == "datasets":
        return _named("dataset", _from_tables(data))
    if isinstance(data, tuple | list) and len(data) == 2:
        return _named("arrays", _from_arrays(*data))
    if all(hasattr(data, name) for name in ("images", "labels", "classes")):
        return _named("dataset", _from_dataset(data))
    if all(hasattr(data, name) for name in ("__len__", "__getitem__")) and len(data):
        return _named("dataset", _from_pairs(data))
    raise UsageError(
        f"data of type {type(data).__name__}; give a text, a DataConfig, a Dataset (also of torch"
        " or Hugging Face), or (X, y): images and labels as arrays"
    )


def _from_arrays(x: Any, y: Any) -> Catalogue:
    images = array_pixels(_array(x, "X"), "X")
    labels, classes = array_labels(_array(y, "y"), None, "y")
    check_length(len(images), len(labels), "(X, y)")
    return Catalogue("arrays", classes, images, labels)


def _from_dataset(data: Any) -> Catalogue:
    """A Dataset knows its classes, and whether mirroring is harmless."""
    images = array_pixels(_array(data.images, "images"), "images")
    labels = _array(data.labels, "labels").astype(np.int64)
    check_length(len(images), len(labels), data.name)
    check_range(labels, len(data.classes), data.name)
    return Catalogue(
        str(data.name),
        tuple(map(str, data.classes)),
        images,
        labels,
        notes=list(data.notes),
        flip=bool(data.flip),
    )


def _from_tables(data: Any) -> Catalogue:
    """A datasets.Dataset, or a DatasetDict with train and perhaps test."""
    tables = dict(data) if isinstance(data, dict) else {"train": data}
    splits = {split_of(str(name)): table for name, table in reversed(tables.items())}
    if "train" not in splits:
        raise EdartsError(f"dataset: no train split; it has {few(list(map(str, tables)))}")
    catalogue = catalogue_of(_Rows(splits["train"]), "dataset", "dataset", Options())
    if "test" in splits:
        test, what = _Rows(splits["test"]), "dataset (test split)"
        catalogue.test = test_of(test, "dataset", what, Options(), catalogue, None)
    return catalogue


class _Rows:
    """A datasets.Dataset as a table. That package is not imported: who has such an object did."""

    def __init__(self, data: Any) -> None:
        if not hasattr(data, "__len__"):
            raise UsageError(
                f"data of type {type(data).__name__}, a stream; give a Dataset, which is on the"
                " disk or in memory"
            )
        self.data = data
        self.features: Mapping[str, Feature] = features_of(data.features.arrow_schema)

    def values(self, column: str) -> list[Any]:
        """The values of a column as Python's."""
        found: list[Any] = self.scalars(column).to_pylist()
        return found

    def scalars(self, column: str) -> Any:
        """The values of a column as Arrow's, which a Dataset maps from its file."""
        # All at once: asking for one row after another takes a hundred times longer.
        return self.data.with_format("arrow", columns=[column])[:].column(column)


def _from_pairs(data: Any) -> Catalogue:
    """(image, label) for each index, as torch's datasets have them; names in `classes` if given."""
    pairs = []
    for index in range(len(data)):
        pair = data[index]
        if not isinstance(pair, tuple | list) or len(pair) < 2:
            raise UsageError(
                f"data of type {type(data).__name__}: item {index} is no (image, label); give a"
                " text, a Dataset, or (X, y)"
            )
        pairs.append((_array(pair[0], f"image {index}"), pair[1]))
    sizes = {image.shape for image, _ in pairs}
    if len(sizes) > 1:
        raise EdartsError(f"dataset: images of {len(sizes)} sizes; resize them to one")
    labels = _array([np.asarray(_array(label, "label")).item() for _, label in pairs], "labels")
    named = getattr(data, "classes", None)
    names = tuple(map(str, named)) if named else None
    found, classes = array_labels(labels, names, "dataset: labels")
    images = array_pixels(np.stack([image for image, _ in pairs]), "dataset: images")
    return Catalogue("dataset", classes, images, found)


def _array(values: Any, what: str) -> NDArray[Any]:
    """The numpy array of a tensor on any device, a list or a column of a table."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
    try:
        array = np.asarray(values)
    except (ValueError, TypeError) as error:
        raise EdartsError(f"{what}: no array: {error}") from None
    if array.dtype.kind == "O" and array.size and all(isinstance(v, str) for v in array.flat):
        return array.astype(np.str_)
    return array


def _named(kind: str, catalogue: Catalogue) -> HandedIn:
    if not isinstance(catalogue.items, np.ndarray):
        return HandedIn(f"{kind} {listing(catalogue).fingerprint}", catalogue)
    names = [catalogue.name, *catalogue.classes]
    digest = hashlib.sha256(repr((catalogue.items.shape, names, catalogue.flip)).encode())
    digest.update(np.ascontiguousarray(catalogue.items).data)
    digest.update(np.ascontiguousarray(catalogue.labels).data)
    return HandedIn(f"{kind} sha256:{digest.hexdigest()[:DIGITS]}", catalogue)


PLUGIN = Arrays()
