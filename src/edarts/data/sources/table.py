"""Tables with an image column and a label column, as parquet files and the hub have them."""

import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edarts.data.catalogue import (
    Catalogue,
    Encoded,
    Items,
    Labels,
    array_labels,
    few,
    in_order,
)
from edarts.errors import EdartsError

IMAGE_COLUMNS = ("image", "img")
LABEL_COLUMNS = ("label", "labels", "fine_label", "class", "target")


@dataclass(frozen=True)
class CsvOptions:
    """What only data sets with columns take."""

    label_column: str | None = None
    """Label column of a CSV, parquet or hub data set; if not given: label, labels, fine_label,
    class or target, whichever there is first."""


@dataclass(frozen=True)
class Options(CsvOptions):
    """What only tables that hold the images take."""

    image_column: str | None = None
    """Image column of a parquet or hub data set; if not given: image or img, or the only one."""


def catalogue_of(
    table: Any,
    name: str,
    what: str,
    options: Options,
    classes: tuple[str, ...] | None = None,
) -> Catalogue:
    """The catalogue of a datasets.Dataset, called `what` in messages.

    `classes`: those of the training split, if this is the test split, whose labels follow their
    names: numbers count in the names that its own column has. Raises EdartsError.
    """
    import datasets

    features = table.features
    image = _image_column(features, what, options)
    label = _label_column(features, what, options)
    values = np.asarray(table.with_format("numpy", columns=[label])[label][:])
    named = getattr(features[label], "names", None)
    where = f"{what}: column {label}"
    labels, own = array_labels(
        np.asarray(values.tolist()),
        tuple(named) if named else classes,
        where,
        fitted=not named and classes is not None,
    )
    if classes is not None and own != classes:
        labels, own = in_order(labels, own, classes, where), classes
    plain = table.cast_column(image, datasets.Image(decode=False))
    return Catalogue(name, own, _Column(plain, image, what), labels)


def test_of(
    table: Any, name: str, what: str, options: Options, train: Catalogue
) -> tuple[Items, Labels] | None:
    """The items and labels of the test split of `train`, by name; None if it has no labels.

    As data sets of competitions have it: all are -1, or there is no such column. That is noted in
    the training split's catalogue.
    """
    label = next((c for c in _wanted(options) if c in table.features), None)
    unlabelled = label is None
    if label is not None:
        values = np.asarray(table.with_format("numpy", columns=[label])[label][:])
        unlabelled = values.dtype.kind in "if" and len(values) > 0 and bool((values < 0).all())
    if unlabelled:
        train.notes.append(f"{what} has no labels: left out; `edarts predict` takes its images")
        return None
    other = catalogue_of(table, name, what, options, train.classes)
    return other.items, other.labels


def _wanted(options: Options) -> Sequence[str]:
    return [options.label_column] if options.label_column else LABEL_COLUMNS


def _image_column(features: Mapping[str, Any], what: str, options: Options) -> str:
    """The image column that is named, or usual, or the only one. Raises EdartsError."""
    wanted = [options.image_column] if options.image_column else IMAGE_COLUMNS
    usual = next((c for c in wanted if c in features and _is_image(features[c], named=True)), None)
    found = [column for column, feature in features.items() if _is_image(feature)]
    if usual is not None:
        return usual
    if options.image_column or not found:
        missing = (
            f"no image column {options.image_column}"
            if options.image_column
            else ("no image column")
        )
        raise EdartsError(f"{what}: {missing} among {', '.join(features)}; name --image-column")
    if len(found) > 1:
        raise EdartsError(
            f"{what}: {len(found)} image columns, {few(found)}; name one with --image-column"
        )
    return found[0]


def _label_column(features: Sequence[str], what: str, options: Options) -> str:
    wanted = _wanted(options)
    label = next((column for column in wanted if column in features), None)
    if label is None:
        raise EdartsError(
            f"{what}: no label column {few(wanted)} among {', '.join(features)};"
            " name it with --label-column"
        )
    return label


def _is_image(feature: Any, named: bool = False) -> bool:
    """Whether a column can hold images; `named`: it is called so, so bytes are files of images."""
    if type(feature).__name__ == "Image":
        return True
    if named and getattr(feature, "dtype", None) in ("binary", "large_binary"):
        return True
    return isinstance(feature, dict) and {"bytes", "path"} <= set(feature)


class _Column(Sequence[Any]):
    """The image column of a table, an item at a time."""

    def __init__(self, table: Any, column: str, what: str) -> None:
        # One memory-mapped Arrow column: asking the table row by row is a hundred times slower.
        self.values = table.with_format("arrow", columns=[column])[:].column(column)
        self.what = what

    def __len__(self) -> int:
        return len(self.values)

    def described(self) -> tuple[list[str], list[int]]:
        """The row of each image, and a checksum of its bytes; of a path that it names its text."""
        marks = [zlib.crc32(_content(value.as_py())) for value in self.values]
        return [f"row {n}" for n in range(len(marks))], marks

    def __getitem__(self, index: Any) -> Any:
        value = self.values[int(index)].as_py()
        if value is None or value == {"bytes": None, "path": None}:
            raise EdartsError(f"{self.what}: row {index}: no image")
        if isinstance(value, bytes):
            return Encoded(value, f"{self.what}: row {index}")
        if value["bytes"] is None:
            return Path(value["path"])
        return Encoded(value["bytes"], f"{self.what}: row {index}")


def _content(value: Any) -> bytes:
    """The bytes of an image in a table, or those of the path that it names."""
    if isinstance(value, dict):
        value = value["bytes"] or os.fsencode(value["path"] or "")
    return value or b""
