"""Parquet: a file, or a folder of files, in the Hugging Face layout (train-00000-of-00001...)."""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from threading import Lock
from typing import Any, TypeVar

from edarts.config import DataConfig
from edarts.config.reading import check_regular
from edarts.data.catalogue import TEST_NAMES, TRAIN_NAMES, Catalogue
from edarts.data.sources.table import Feature, Options, catalogue_of, features_of, test_of
from edarts.errors import EdartsError, one_line

BATCH = 2 * 2**20  # bytes of images that are read at once, about
BUFFER = 2**20  # bytes of a file that are read at once

Name = TypeVar("Name", bound=PurePath)


class Parquet:
    """A file that ends in .parquet, or a folder that holds one at any depth."""

    describe = "a parquet file or folder in the Hugging Face layout"
    Options = Options

    def accepts(self, data: str) -> bool:
        """Whether the name of the file, or of one in the folder, ends in .parquet."""
        path = Path(data)
        if path.is_dir():
            return any(path.rglob("*.parquet"))
        return path.suffix == ".parquet" and path.exists()

    def open(self, data: str, config: DataConfig) -> Catalogue:
        """The names of files and folders say which split a file belongs to; without: train."""
        path = Path(data)
        root = path if path.is_dir() else path.parent
        files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
        train, test = ([root / file for file in split] for split in
                       splits_of([file.relative_to(root) for file in files]))  # fmt: skip
        return catalogue_of_files(train, test, path.name.removesuffix(".parquet"), config, root)


def catalogue_of_files(
    train: Sequence[Path], test: Sequence[Path], name: str, config: DataConfig, root: Path
) -> Catalogue:
    """The catalogue of a data set by the files of its training and of its test split.

    `test`: may be empty. `root`: the folder of the data set, in which all its files lie. Raises
    EdartsError that names the file, or DATA and the row.
    """
    options = config.options if isinstance(config.options, Options) else Options()
    what, tested = config.data, f"{config.data} (test split)"
    catalogue = catalogue_of(_Files(train, config), name, what, options, root=root)
    if test:
        catalogue.test = test_of(_Files(test, config), name, tested, options, catalogue, root)
    return catalogue


def splits_of(files: Sequence[Name]) -> tuple[list[Name], list[Name]]:
    """Which files, by paths below the root of the data, are the training and the test split."""
    parts: dict[str, list[Name]] = {"train": [], "": [], "test": [], "valid": []}
    for file in files:
        parts[_part(file)].append(file)
    train = parts["train"] + parts[""]
    test = parts["test"] or parts["valid"]
    return (train, test) if train else (test, [])


def _part(file: PurePath) -> str:
    """Which split a file belongs to, by the Hugging Face naming: train-00000-of-00001..."""
    for word in (file.name, *file.parts[:-1]):
        stem = word.lower().split("-")[0].split(".")[0].split("_")[0]
        if stem in TRAIN_NAMES:
            return "train"
        if stem in TEST_NAMES:
            return "test" if stem.startswith("test") else "valid"
    return ""


# -- reading -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Group:
    """A row group of a file. `first`: its first row, counted through all files; `batch`: the rows
    that are read at once.
    """

    file: Path
    number: int
    first: int
    batch: int


class _Files:
    """The table of parquet files, one after the other."""

    def __init__(self, files: Sequence[Path], config: DataConfig) -> None:
        from pyarrow import parquet

        self.files = files
        self.features: Mapping[str, Feature] = {}
        self.groups: list[_Group] = []
        self.rows = size = 0
        for file in files:
            with _reading(file), parquet.ParquetFile(file) as opened:
                features = features_of(opened.schema_arrow)
                for number in range(opened.metadata.num_row_groups):
                    group = opened.metadata.row_group(number)
                    batch = max(1, BATCH * group.num_rows // max(1, group.total_byte_size))
                    self.groups.append(_Group(file, number, self.rows, batch))
                    self.rows += group.num_rows
                    size += group.total_byte_size
            self.features = self.features or features
            if features != self.features:
                raise EdartsError(
                    f"{file}: its columns or the names of its classes differ from those of"
                    f" {files[0]}; give one of them alone"
                )
        config.check_size(size, ", ".join(map(str, files)))

    def values(self, column: str) -> list[Any]:
        """The values of a column as Python's."""
        from pyarrow import parquet

        found: list[Any] = []
        for file in self.files:
            with _reading(file), parquet.ParquetFile(file) as opened:
                found += opened.read([column], use_threads=False).column(column).to_pylist()
        return found

    def scalars(self, column: str) -> Sequence[Any]:
        """The values of a column as Arrow's, a batch of them in memory at a time."""
        return _Column(self.groups, self.rows, column)


class _Column(Sequence[Any]):
    """A column of parquet files, of which a batch is read when one of its rows is asked for.

    Rows that are asked for in their order are read in one pass; for one before the last batch its
    row group is begun anew.
    """

    def __init__(self, groups: Sequence[_Group], rows: int, column: str) -> None:
        self.groups, self.rows, self.column = groups, rows, column
        self.lock = Lock()  # for what follows: where the reading stands
        self.group: _Group | None = None
        self.batches: Iterator[tuple[int, Any]] = iter(())  # of this group, those not read yet
        self.first, self.batch = 0, list[Any]()  # the last one that was read, and its first row
        self.damage: EdartsError | None = None  # why there are no more

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, index: Any) -> Any:
        row = int(index)
        with self.lock:
            group = self.groups[bisect_right(self.groups, row, key=lambda one: one.first) - 1]
            if group is not self.group or row < self.first:
                self.group, self.batches, self.damage = group, self._read(group), None
                self.first, self.batch = group.first, []
            while row >= self.first + len(self.batch):
                self._go_on(group)
            return self.batch[row - self.first]

    def _go_on(self, group: _Group) -> None:
        """Read the next batch. Raises EdartsError that names the file."""
        try:
            self.first, self.batch = next(self.batches)
        except EdartsError as error:
            self.damage = error
            raise
        except StopIteration:
            changed = EdartsError(f"{group.file}: has changed while it was in use")
            raise self.damage or changed from None

    def _read(self, group: _Group) -> Iterator[tuple[int, Any]]:
        from pyarrow import parquet

        # Small pieces of the file, not the whole row group, which may be all of it.
        plain = {"buffer_size": BUFFER, "pre_buffer": False}
        with _reading(group.file), parquet.ParquetFile(group.file, **plain) as opened:
            first = group.first
            for batch in opened.iter_batches(
                group.batch, [group.number], [self.column], use_threads=False
            ):
                yield first, batch.column(self.column)
                first += len(batch)


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    """Whatever is raised while the block reads a regular file becomes one line."""
    try:
        check_regular(file)
        yield
    except (EdartsError, MemoryError):
        raise
    except Exception as error:  # pyarrow raises many kinds
        raise EdartsError(f"{file}: cannot be read as parquet: {one_line(error)}") from None


PLUGIN = Parquet()
