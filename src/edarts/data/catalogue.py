"""A data set before decoding, and the checks of its classes and labels."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edarts.errors import EdartsError

MAX_CLASSES = 1000
TRAIN_NAMES = ("train", "training")  # of splits, in folders, files and on the hub
TEST_NAMES = ("test", "testing", "val", "valid", "validation")  # the first that exists is used

Labels = NDArray[np.int64]
Pixels = NDArray[np.uint8]
"""Decoded images: (N, H, W, C), or one of them: (H, W, C)."""

SUFFIX = re.compile(r"[-_ .]?(set|split|data|images)$")  # of the names of splits


def split_of(name: str) -> str:
    """`train` or `test` if that is what a folder or split of this name is usually for; or nothing.

    Such as Train, training_set, testset, val-images.
    """
    word = SUFFIX.sub("", name.lower())
    if word in TRAIN_NAMES:
        return "train"
    return "test" if word in TEST_NAMES else ""


def order_of(name: str) -> int:
    """The place of a split's name among those that may be the test split: the first is used."""
    return TEST_NAMES.index(SUFFIX.sub("", name.lower()))


@dataclass(frozen=True)
class Encoded:
    """An image as a file's bytes; `name` says in messages where it stands."""

    data: bytes
    name: str


Item = Path | Encoded
Items = Sequence[Item] | Pixels
"""Images that can be decoded one by one, or already are: (N, H, W, C)."""


@dataclass
class Catalogue:
    """A data set before decoding: `items` can be decoded one by one, `label` of each beside it.

    `labels`: (N,) in 0..len(classes) - 1. `test`: the items and labels of the test split, if the
    data set brings one. `notes`: what the user should know of how it was read. `flip`: whether
    mirroring is harmless, where the source knows it; None: yes in colour, no in grey.
    """

    name: str
    classes: tuple[str, ...]
    items: Items
    labels: Labels
    test: tuple[Items, Labels] | None = None
    notes: list[str] = field(default_factory=list)
    flip: bool | None = None


def pick(items: Items, index: Labels) -> Items:
    """The items at some indices, still not decoded."""
    return items[index] if isinstance(items, np.ndarray) else _Picked(items, index)


class _Picked(Sequence[Any]):
    def __init__(self, items: Sequence[Item], index: Labels) -> None:
        self.items, self.chosen = items, index

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, index: Any) -> Any:
        return self.items[self.chosen[index]]


# -- checks --------------------------------------------------------------------------------------


def check(catalogue: Catalogue, what: str) -> None:
    """Raises EdartsError unless there are 2..1000 classes with enough images for the splits.

    `what`: how messages call the data set.
    """
    count = len(catalogue.classes)
    for name in catalogue.classes:
        if name != name.encode(errors="ignore").decode():
            raise EdartsError(f"{what}: class '{name}': its name is not UTF-8; rename it")
    check_length(len(catalogue.items), len(catalogue.labels), what)
    check_range(catalogue.labels, count, what)
    if count < 2:
        raise EdartsError(f"{what}: only one class ({few(catalogue.classes)}); two needed")
    if count > MAX_CLASSES:
        raise EdartsError(f"{what}: {count} classes; at most {MAX_CLASSES} can be searched")
    needed, why = (3, "one for the test split") if catalogue.test is None else (2, "one is tested")
    check_counts(
        catalogue.labels,
        catalogue.classes,
        needed,
        f"images; the splits need {needed} of each class"
        + (f", {why}" if catalogue.test is None else ""),
    )


def check_counts(labels: Labels, classes: tuple[str, ...], needed: int, what: str) -> None:
    """Raises EdartsError that names the first class with fewer than `needed` images."""
    counts = np.bincount(labels, minlength=len(classes))
    lacking = np.flatnonzero(counts < needed)
    if len(lacking):
        others = f" ({len(lacking)} such classes)" if len(lacking) > 1 else ""
        raise EdartsError(
            f"class '{classes[lacking[0]]}' has {counts[lacking[0]]} {what}{others}: add images or"
            " remove the class"
        )


def check_length(images: int, labels: int, what: object) -> None:
    """Raises EdartsError unless there is a label for every image."""
    if images != labels:
        raise EdartsError(f"{what}: {images} images but {labels} labels")


def check_range(labels: Labels, count: int, what: str) -> None:
    """Raises EdartsError that names the first label outside 0..count - 1, and its image."""
    out = (labels < 0) | (labels >= count)
    if out.any():
        first = int(np.argmax(out))
        raise EdartsError(
            f"{what}: label {labels[first]} of image {first} is out of range 0..{count - 1}"
            f" ({int(out.sum())} such images); remove or relabel them"
        )


def array_labels(
    raw: NDArray[Any], classes: tuple[str, ...] | None, what: str, fitted: bool = False
) -> tuple[Labels, tuple[str, ...]]:
    """Labels as 0..K - 1, and the K names, from (N,) or (N, 1) whole numbers or text.

    `classes`: the names, if they are known; labels that are numbers count in them. `fitted`: they
    are the training split's, so that labels are names whatever their type. Raises EdartsError.
    """
    values = _plain_labels(raw, what)
    twice = next((n for n in classes or () if (classes or ()).count(n) > 1), None)
    if twice is not None:
        raise EdartsError(f"{what}: two classes are called '{twice}'; give each a name of its own")
    if classes is None:
        if values.dtype.kind != "U" and len(values) and values.min() < 0:
            first = int(np.argmax(values < 0))
            raise EdartsError(f"{what}: label {values[first]} at index {first} is below 0")
        found, labels = np.unique(values, return_inverse=True)
        return labels.astype(np.int64), tuple(map(str, found))
    if values.dtype.kind == "U" or fitted:
        return _by_name(values, classes, what), classes
    check_range(values, len(classes), what)
    return values, classes


def _plain_labels(raw: NDArray[Any], what: str) -> NDArray[Any]:
    """(N,) int64 or text."""
    values = raw.reshape(-1) if raw.ndim == 2 and raw.shape[1] == 1 else raw
    if values.ndim != 1:
        raise EdartsError(f"{what}: shape {raw.shape}; give one label per image")
    if values.dtype.kind == "f":
        if not np.isfinite(values).all():
            raise EdartsError(f"{what}: NaN at index {int(np.argmin(np.isfinite(values)))}")
        if (values != np.round(values)).any():
            raise EdartsError(f"{what}: labels are not whole numbers")
        values = values.astype(np.int64)
    if values.dtype.kind not in "iubU":
        raise EdartsError(f"{what}: labels of type {values.dtype}; give whole numbers or text")
    return values if values.dtype.kind == "U" else values.astype(np.int64)


def _by_name(values: NDArray[Any], classes: tuple[str, ...], what: str) -> Labels:
    names = {name: index for index, name in enumerate(classes)}
    strange = [str(v) for v in np.unique(values) if str(v) not in names]
    if strange:
        raise EdartsError(f"{what}: label {strange[0]} is out of range; known: {few(classes)}")
    return np.array([names[str(v)] for v in values], dtype=np.int64)


def in_order(labels: Labels, own: tuple[str, ...], classes: tuple[str, ...], what: str) -> Labels:
    """Labels that count in `own` names, counted in `classes`. Raises EdartsError for others."""
    return _by_name(np.asarray(own)[labels], classes, what)


def few(names: Sequence[str]) -> str:
    """At most five of the names, and how many more there are."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
