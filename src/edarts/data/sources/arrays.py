"""Arrays: images and labels handed in from Python, as (X, y) or as a Dataset.

They are known by their content: the name that stands for them in a run holds a fingerprint.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edarts.config import DataConfig
from edarts.data.catalogue import Catalogue, array_labels, check_length, check_range
from edarts.data.decoding import array_pixels
from edarts.errors import EdartsError, UsageError

KINDS = ("arrays", "dataset")
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
        return data.startswith(tuple(f"{kind} sha256:" for kind in KINDS))

    def open(self, data: str, config: DataConfig) -> Catalogue:
        """Raises EdartsError where the name alone is known."""
        if not isinstance(config.handed_in, HandedIn):
            raise EdartsError(f"{data}: these data were handed in from Python; give the data again")
        return config.handed_in.catalogue


def hand_in(data: Any) -> HandedIn:
    """Take in (X, y) or a Dataset. Raises UsageError for anything else, EdartsError for bad values.

    X: (N, H, W), (N, H, W, C) or (N, C, H, W) of 0..255 or 0..1; y: (N,) whole numbers or text.
    """
    if isinstance(data, tuple | list) and len(data) == 2:
        return _named("arrays", _from_arrays(*data))
    if all(hasattr(data, name) for name in ("images", "labels", "classes")):
        return _named("dataset", _from_dataset(data))
    raise UsageError(
        f"data of type {type(data).__name__}; give a text, a DataConfig, a Dataset, or (X, y):"
        " images and labels as arrays"
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
    assert isinstance(catalogue.items, np.ndarray)
    names = [catalogue.name, *catalogue.classes]
    digest = hashlib.sha256(repr((catalogue.items.shape, names, catalogue.flip)).encode())
    digest.update(np.ascontiguousarray(catalogue.items).data)
    digest.update(np.ascontiguousarray(catalogue.labels).data)
    return HandedIn(f"{kind} sha256:{digest.hexdigest()[:DIGITS]}", catalogue)


PLUGIN = Arrays()
