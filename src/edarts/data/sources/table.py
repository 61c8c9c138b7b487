"""Tables with an image column and a label column, as parquet files and the hub have them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edarts.data.catalogue import Catalogue, Encoded, array_labels, few
from edarts.errors import EdartsError

LABEL_COLUMNS = ("label", "labels", "fine_label", "class", "target")


@dataclass(frozen=True)
class Options:
    """What only data sets in tables take."""

    label_column: str | None = None
    """Label column of a parquet or hub data set; if not given: label, labels, fine_label, class or
    target, whichever there is first."""


def catalogue_of(
    table: Any,
    name: str,
    what: str,
    options: Options,
    classes: tuple[str, ...] | None = None,
) -> Catalogue:
    """The catalogue of a datasets.Dataset, called `what` in messages.

    `classes`: those of the training split, if this is the test split. Raises EdartsError.
    """
    import datasets

    features = table.features
    image = next((c for c, f in features.items() if _is_image(f)), None)
    if image is None:
        raise EdartsError(f"{what}: no image column among {', '.join(features)}")
    label = _label_column(features, what, options)
    values = np.asarray(table.with_format("numpy", columns=[label])[label][:])
    named = getattr(features[label], "names", None)
    labels, classes = array_labels(
        np.asarray(values.tolist()),
        tuple(named) if named else classes,
        f"{what}: column {label}",
        fitted=not named and classes is not None,
    )
    plain = table.cast_column(image, datasets.Image(decode=False))
    return Catalogue(name, classes, _Column(plain, image, what), labels)


def _label_column(features: Sequence[str], what: str, options: Options) -> str:
    wanted = [options.label_column] if options.label_column else LABEL_COLUMNS
    label = next((column for column in wanted if column in features), None)
    if label is None:
        raise EdartsError(
            f"{what}: no label column {few(wanted)} among {', '.join(features)};"
            " name it with --label-column"
        )
    return label


def _is_image(feature: Any) -> bool:
    if type(feature).__name__ == "Image":
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

    def __getitem__(self, index: Any) -> Any:
        value = self.values[int(index)].as_py()
        if value["bytes"] is None:
            return Path(value["path"])
        return Encoded(value["bytes"], f"{self.what}: row {index}")
