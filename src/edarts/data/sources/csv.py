"""Csv: a table of file names and labels, beside the images; Hugging Face's metadata.csv too."""

import csv
import io
from pathlib import Path

import numpy as np

from edarts.config import DataConfig
from edarts.config.reading import open_regular
from edarts.data.catalogue import Catalogue, array_labels, few, split_of
from edarts.data.sources.table import LABEL_COLUMNS, CsvOptions
from edarts.errors import EdartsError, one_line

TABLES = ("metadata.csv", "labels.csv")
FILE_COLUMNS = ("file_name", "filename", "file", "path", "image", "img")
Row = dict[str, str]


class Csv:
    """A .csv file, or a folder that holds metadata.csv or labels.csv, itself or in its splits."""

    describe = "a .csv of file names and labels (or a folder with metadata.csv)"
    Options = CsvOptions

    def accepts(self, data: str) -> bool:
        """Whether DATA is such a file or folder."""
        path = Path(data)
        return (path.suffix.lower() == ".csv" and path.is_file()) or bool(_tables(path))

    def open(self, data: str, config: DataConfig) -> Catalogue:
        """A column `split`, or the folders that tables lie in, say what is the test split.

        Raises EdartsError that names the column, or the line.
        """
        path = Path(data)
        options = config.options if isinstance(config.options, CsvOptions) else CsvOptions()
        tables = _tables(path) if path.is_dir() else {"": path}
        train = [row for split, table in tables.items() if split != "test" for row in _rows(table)]
        test = _rows(tables["test"]) if "test" in tables else []
        if not test and train and "split" in train[0][1]:
            test = [row for row in train if split_of(row[1]["split"]) == "test"]
            train = [row for row in train if split_of(row[1]["split"]) != "test"]
        catalogue = _catalogue(train, path, options, None)
        if test:
            other = _catalogue(test, path, options, catalogue.classes)
            catalogue.test = (other.items, other.labels)
        return catalogue


Place = tuple[Path, Row, int]
"""The folder of a table, one of its rows, and the number of its line."""


def _tables(path: Path) -> dict[str, Path]:
    """Split -> its table; the split is empty where there is one table for all."""
    if not path.is_dir():
        return {}
    own = next((path / name for name in TABLES if (path / name).is_file()), None)
    if own is not None:
        return {"": own}
    found: dict[str, Path] = {}
    for folder in sorted(child for child in path.iterdir() if child.is_dir()):
        table = next((folder / name for name in TABLES if (folder / name).is_file()), None)
        if table is not None and split_of(folder.name):
            found.setdefault(split_of(folder.name), table)
    return found if "train" in found else {}


def _rows(path: Path) -> list[Place]:
    try:
        with open_regular(path) as raw, io.TextIOWrapper(raw, "utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            rows = [(path.parent, row, reader.line_num) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise EdartsError(f"{path}: cannot be read as CSV: {one_line(error)}") from None
    if not rows:
        raise EdartsError(f"{path}: has no rows below its first line")
    return rows


def _catalogue(
    rows: list[Place], path: Path, options: CsvOptions, classes: tuple[str, ...] | None
) -> Catalogue:
    if not rows:
        raise EdartsError(f"{path}: every row is of the test split")
    columns = [str(name) for name in rows[0][1]]
    file = _column(columns, FILE_COLUMNS, None, f"{path}: no column of file names")
    label = _column(
        columns, LABEL_COLUMNS, options.label_column, f"{path}: no label column", "--label-column"
    )
    for _, row, line in rows:
        empty = [column for column in (file, label) if not (row[column] or "").strip()]
        if empty:
            raise EdartsError(f"{path}: line {line}: no {empty[0]}; fill it in or remove the line")
    files = [folder / row[file].strip() for folder, row, _ in rows]
    names = np.array([row[label].strip() for _, row, _ in rows], dtype=np.str_)
    labels, known = array_labels(names, classes, f"{path}: column {label}")
    return Catalogue(path.stem, known, files, labels)


def _column(
    columns: list[str], usual: tuple[str, ...], given: str | None, missing: str, flag: str = ""
) -> str:
    found = next((name for name in ([given] if given else usual) if name in columns), None)
    if found is None:
        how = f"; name it with {flag}" if flag else f"; call it {few(usual)}"
        raise EdartsError(f"{missing} among {', '.join(columns)}{how}")
    return found


PLUGIN = Csv()
