"""Parquet: a file, or a folder of files, in the Hugging Face layout (train-00000-of-00001...)."""

from pathlib import Path
from typing import Any

from edarts.config import DataConfig
from edarts.config.reading import check_regular
from edarts.data.catalogue import TEST_NAMES, TRAIN_NAMES, Catalogue
from edarts.data.sources.table import Options, catalogue_of, test_of
from edarts.errors import EdartsError, one_line


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
        import datasets

        datasets.disable_progress_bars()
        path = Path(data)
        options = config.options if isinstance(config.options, Options) else Options()
        train, test = _splits(path)
        name = path.name.removesuffix(".parquet")
        catalogue = catalogue_of(_read(train, config), name, str(path), options)
        if test:
            what = f"{path} (test split)"
            catalogue.test = test_of(_read(test, config), path.name, what, options, catalogue)
        return catalogue


def _read(files: list[Path], config: DataConfig) -> Any:
    import datasets
    from pyarrow import parquet

    try:
        size = 0
        for file in files:
            check_regular(file)
            known = parquet.read_metadata(file)
            size += sum(known.row_group(n).total_byte_size for n in range(known.num_row_groups))
        config.check_size(size, ", ".join(map(str, files)))
        return datasets.Dataset.from_parquet([str(file) for file in files])
    except EdartsError:
        raise
    except Exception as error:  # pyarrow and datasets raise many kinds
        cause = error.__cause__ or error
        raise EdartsError(
            f"{', '.join(map(str, files))}: cannot be read as parquet: {one_line(cause)}"
        ) from None


def _splits(path: Path) -> tuple[list[Path], list[Path]]:
    """The files of the training and of the test split."""
    files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
    parts: dict[str, list[Path]] = {"train": [], "": [], "test": [], "valid": []}
    for file in files:
        parts[_part(file, path)].append(file)
    train = parts["train"] + parts[""]
    test = parts["test"] or parts["valid"]
    return (train, test) if train else (test, [])


def _part(file: Path, root: Path) -> str:
    """Which split a parquet file belongs to, by the Hugging Face naming: train-00000-of-00001..."""
    relative = file.relative_to(root) if root.is_dir() else Path(file.name)
    for word in (relative.name, *relative.parts[:-1]):
        stem = word.lower().split("-")[0].split(".")[0].split("_")[0]
        if stem in TRAIN_NAMES:
            return "train"
        if stem in TEST_NAMES:
            return "test" if stem.startswith("test") else "valid"
    return ""


PLUGIN = Parquet()
