"""Tables with an image column and a label column, as parquet files and the hub have them."""

import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edarts.config.reading import parse_json
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
BINARY = ("binary", "large_binary", "binary_view")  # types of Arrow
DESCRIBED = b"huggingface"  # the key of a schema's metadata under which Hugging Face describes it


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


@dataclass(frozen=True)
class Feature:
    """What a column holds.

    `image`: images, each as the bytes of a file or the path to one. `binary`: bytes of any kind.
    `names`: of the classes, if its numbers count in them.
    """

    image: bool
    binary: bool
    names: tuple[str, ...] | None


class Table(Protocol):
    """Rows in columns, as parquet files and Hugging Face's Dataset have them."""

    features: Mapping[str, Feature]

    def values(self, column: str) -> list[Any]:
        """The values of a column as Python's; None where there is none."""
        ...

    def scalars(self, column: str) -> Sequence[Any]:
        """The values of a column as Arrow's, for one too large to be in memory."""
        ...


def features_of(schema: Any) -> dict[str, Feature]:
    """What each column of a pyarrow.Schema holds, by its type and by what Hugging Face's metadata
    say of it. Raises ValueError, TypeError or AttributeError for metadata that say nothing.
    """
    metadata = parse_json((schema.metadata or {}).get(DESCRIBED, b"{}"))
    described = metadata.get("info", {}).get("features", {})
    return {field.name: _feature(field.type, described.get(field.name)) for field in schema}


def _feature(kind: Any, described: Any) -> Feature:
    """`kind`: the type of Arrow; `described`: the metadata."""
    known = described if isinstance(described, dict) else {}  # of a column of lists it is a list
    parts = {kind.field(n).name for n in range(kind.num_fields)}
    image = known.get("_type") == "Image" or {"bytes", "path"} <= parts
    names = known.get("names") if known.get("_type") == "ClassLabel" else None
    return Feature(image, str(kind) in BINARY, tuple(map(str, names)) if names else None)


def catalogue_of(
    table: Table,
    name: str,
    what: str,
    options: Options,
    classes: tuple[str, ...] | None = None,
    root: Path | None = None,
) -> Catalogue:
    """The catalogue of a table, called `what` in messages.

    `classes`: those of the training split, if this is the test split, whose labels follow their
    names: numbers count in the names that its own column has. `root`: the folder in which images
    lie that are named by their paths; None: anywhere. Raises EdartsError.
    """
    image = _image_column(table.features, what, options)
    label = _label_column(table.features, what, options)
    named, where = table.features[label].names, f"{what}: column {label}"
    labels, own = array_labels(
        _labels(table.values(label), where),
        named or classes,
        where,
        fitted=not named and classes is not None,
    )
    if classes is not None and own != classes:
        labels, own = in_order(labels, own, classes, where), classes
    return Catalogue(name, own, _Images(table.scalars(image), what, root), labels)


def test_of(
    table: Table,
    name: str,
    what: str,
    options: Options,
    train: Catalogue,
    root: Path | None,
) -> tuple[Items, Labels] | None:
    """The items and labels of the test split of `train`, by name; None if it has no labels.

    As data sets of competitions have it: all are -1 or missing, or there is no such column. That
    is noted in the training split's catalogue.
    """
    label = next((c for c in _wanted(options) if c in table.features), None)
    if label is None or _all_missing(table.values(label)):
        train.notes.append(f"{what} has no labels: left out; `edarts predict` takes its images")
        return None
    other = catalogue_of(table, name, what, options, train.classes, root)
    return other.items, other.labels


def _labels(values: list[Any], where: str) -> NDArray[Any]:
    """Raises EdartsError for a row without a label, and for what makes no array."""
    if None in values:
        raise EdartsError(f"{where}: row {values.index(None)}: no label")
    try:
        return np.asarray(values)
    except ValueError:  # lists of several lengths
        raise EdartsError(f"{where}: lists of several lengths; give one label per image") from None


def _all_missing(values: list[Any]) -> bool:
    return bool(values) and all(
        value is None or (isinstance(value, int | float) and value < 0) for value in values
    )


def _wanted(options: Options) -> Sequence[str]:
    return [options.label_column] if options.label_column else LABEL_COLUMNS


def _image_column(features: Mapping[str, Feature], what: str, options: Options) -> str:
    """The image column that is named, or usual, or the only one. Raises EdartsError."""
    wanted = [options.image_column] if options.image_column else IMAGE_COLUMNS
    for column in wanted:  # bytes in a column that is called so are files of images
        if column in features and (features[column].image or features[column].binary):
            return column
    found = [column for column, feature in features.items() if feature.image]
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


def _label_column(features: Mapping[str, Feature], what: str, options: Options) -> str:
    wanted = _wanted(options)
    label = next((column for column in wanted if column in features), None)
    if label is None:
        raise EdartsError(
            f"{what}: no label column {few(wanted)} among {', '.join(features)};"
            " name it with --label-column"
        )
    return label


class _Images(Sequence[Any]):
    """The image column of a table, an item at a time."""

    def __init__(self, scalars: Sequence[Any], what: str, root: Path | None) -> None:
        self.scalars, self.what, self.root = scalars, what, root

    def __len__(self) -> int:
        return len(self.scalars)

    def described(self) -> tuple[list[str], list[int]]:
        """The row of each image, and a checksum of its bytes; of a path that it names its text."""
        rows = range(len(self))
        marks = [zlib.crc32(_content(self.scalars[row].as_py())) for row in rows]
        return [f"row {row}" for row in rows], marks

    def __getitem__(self, index: Any) -> Any:
        content, path = _file(self.scalars[int(index)].as_py())
        if content is not None:
            return Encoded(content, f"{self.what}: row {index}")
        if path is None:
            raise EdartsError(f"{self.what}: row {index}: no image")
        if self.root is None:
            return Path(path)
        # Whoever made the table must not choose among the files of whoever reads it.
        inside = Path(os.path.normpath(self.root / path))
        if not inside.is_relative_to(os.path.normpath(self.root)):
            raise EdartsError(
                f"{self.what}: row {index}: names {path}, which is not in {self.root};"
                " move it there, or put the images' bytes in the table"
            )
        return inside


def _file(value: Any) -> tuple[bytes | None, str | None]:
    """The bytes of an image, or the path to it."""
    if isinstance(value, dict):
        return value["bytes"], value["path"]
    return (None, value) if isinstance(value, str) else (value, None)


def _content(value: Any) -> bytes:
    """The bytes of an image, or those of the path to it."""
    content, path = _file(value)
    return content or os.fsencode(path or "")
