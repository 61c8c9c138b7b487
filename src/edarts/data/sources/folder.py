"""Folder: one folder of image files for each class, or train/ and test/ with such folders."""

import glob
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edarts.config import DataConfig
from edarts.data.catalogue import Catalogue, Encoded, Item, order_of, split_of
from edarts.errors import EdartsError, one_line

Place = Path | zipfile.Path
"""A folder or file, on the disk or in an archive."""
SYSTEM = {
    *("__macosx", "@eadir", "#recycle", "#snapshot", "$recycle.bin", "lost+found"),
    *("system volume information", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"),
}
"""Names, in small letters, of what systems put beside and among the images of people."""


class Folder:
    """A folder that holds no parquet file, or an archive of one."""

    describe = "a folder of class folders (with or without train/ and test/), also as a .zip"

    def accepts(self, data: str) -> bool:
        """Whether DATA is a folder: the sources that look into folders are asked before."""
        path = Path(data)
        return path.is_dir() or (path.suffix.lower() == ".zip" and path.is_file())

    def open(self, data: str, config: DataConfig) -> Catalogue:
        """Raises EdartsError that names an empty folder, or a class that only test/ has."""
        path, name = _root(Path(data), config), Path(data).stem
        folders = _folders(path)
        splits = {split: _first(folders, split) for split in ("train", "test")}
        train, test = splits["train"], splits["test"]
        named = [folder for folder in folders if split_of(folder.name)]
        if train is None and test is None:
            return _class_folders(path, name)
        classes = [folder for folder in folders if folder not in named]
        tested = {folder.name for folder in _folders(test)}
        if classes and (train is not None or not tested <= {folder.name for folder in classes}):
            raise EdartsError(
                f"{path}: {named[0].name}/ looks like a split, but {classes[0].name}/ stands beside"
                " it; put the folders of all classes into train/ and test/, or rename it if it is a"
                " class"
            )
        if train is None and not classes:
            return _class_folders(named[0], name)  # all that there is
        catalogue = _class_folders(path if train is None else train, name, leave=named)
        if test is None:
            return catalogue
        if not _folders(test):
            catalogue.notes.append(
                f"{test.name}/ has no class folders, so no labels: left out; `edarts predict` takes"
                " its images"
            )
            return catalogue
        other = _class_folders(test, name, catalogue.classes)
        catalogue.test = (other.items, other.labels)
        catalogue.notes.append(f"test split: {test.name}/")
        return catalogue


def _root(path: Path, config: DataConfig) -> Place:
    """The folder, or in an archive the one that holds more than one folder. Raises EdartsError."""
    if path.is_dir():
        return path
    try:
        place: Place = zipfile.Path(path)
        config.check_size(max((m.file_size for m in place.root.infolist()), default=0), path)  # type: ignore[union-attr]
    except EdartsError:
        raise
    except Exception as error:  # zipfile raises many kinds for a damaged one
        raise EdartsError(f"{path}: cannot be read as a zip: {one_line(error)}") from None
    while len(folders := _folders(place)) == 1 and not split_of(folders[0].name):
        place = folders[0]
    return place


def _folders(path: Place | None) -> list[Place]:
    """The folders in a folder, but for those of systems, in order."""
    if path is None:
        return []
    found = [child for child in path.iterdir() if child.is_dir() and not _of_system(child)]
    return sorted(found, key=lambda folder: folder.name)


def _first(folders: Sequence[Place], split: str) -> Place | None:
    """The folder that is the training or the test split, by its name."""
    found = [folder for folder in folders if split_of(folder.name) == split]
    if split == "test":
        found.sort(key=lambda folder: order_of(folder.name))
    return found[0] if found else None


def _of_system(path: Place) -> bool:
    """Whether a file or folder was put there by a system, desktop or network disk."""
    return path.name.startswith(".") or path.name.lower() in SYSTEM


def _class_folders(
    root: Place,
    name: str,
    classes: tuple[str, ...] | None = None,
    leave: Sequence[Place] = (),
) -> Catalogue:
    """`classes`: those of the training split, if this is the test split. `leave`: no classes."""
    folders = [folder for folder in _folders(root) if folder not in leave]
    if not folders:
        raise EdartsError(f"{root}: no class folders; put the images of each class into a folder")
    _check_inside(root, folders)
    names = tuple(folder.name for folder in folders) if classes is None else classes
    files: list[Place] = []
    labels: list[int] = []
    for folder in folders:
        if folder.name not in names:
            raise EdartsError(f"{folder}: class '{folder.name}' is not in the training split")
        found = sorted(_files(folder), key=_parts)
        if not found and classes is None:
            raise EdartsError(f"{folder}: empty folder; add images or remove it")
        files += found
        labels += [names.index(folder.name)] * len(found)
    if not files:
        raise EdartsError(f"{root}: no images")
    return Catalogue(name, names, _items(files), np.array(labels, dtype=np.int64))


def _files(folder: Place) -> Iterator[Place]:
    """Every file counts, so that a file of the wrong kind is named and not passed over; so does a
    link that leads nowhere, but no folder that is linked.
    """
    for child in folder.iterdir():
        if _of_system(child):
            continue
        if not child.is_dir():
            yield child
        elif not (isinstance(child, Path) and child.is_symlink()):
            yield from _files(child)


def _parts(place: Place) -> list[str]:
    return str(place).split("/")


def _items(files: Sequence[Place]) -> Sequence[Item]:
    return [file for file in files if isinstance(file, Path)] or _Members(files)


def image_files(places: Iterable[str | Path]) -> list[Path]:
    """The files that these name: files, all in folders but systems' own, or patterns with `*`.

    Raises EdartsError for what names none.
    """
    found: list[Path] = []
    for place in map(Path, places):
        if place.is_dir():
            mine = sorted((file for file in _files(place) if isinstance(file, Path)), key=_parts)
        elif place.exists() or not any(c in str(place) for c in "*?["):
            mine = [place]
        else:
            mine = sorted(map(Path, glob.glob(str(place), recursive=True)))
        if not mine:
            raise EdartsError(f"{place}: no image file")
        found += mine
    return found


class _Members(Sequence[Any]):
    """The files of an archive, each read when it is asked for."""

    def __init__(self, files: Sequence[Place]) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def described(self) -> tuple[list[str], list[int]]:
        """The place of each file in the archive, and the checksum that the archive has of it."""
        known = [file.root.getinfo(file.at) for file in self.files]  # type: ignore[union-attr]
        return [file.filename for file in known], [file.CRC for file in known]

    def __getitem__(self, index: Any) -> Any:
        file = self.files[int(index)]
        try:
            return Encoded(file.read_bytes(), str(file))
        except (MemoryError, EdartsError):
            raise
        except Exception as error:  # zipfile and zlib raise many kinds, also for a password
            raise EdartsError(f"{file}: cannot be read: {one_line(error)}") from None


def _check_inside(root: Place, folders: Sequence[Place]) -> None:
    """Raises EdartsError where it is not clear which folders are the classes."""
    inside = [{folder.name for folder in _folders(one)} for one in folders]
    shared = sorted(set.intersection(*inside)) if len(inside) > 1 else []
    if shared:
        raise EdartsError(
            f"{root}: {folders[0].name}/ and {folders[1].name}/ both hold {shared[0]}/, so which"
            f" are the classes is not clear; put the images of a class into one folder, such as"
            f" train/{folders[0].name}/"
        )


PLUGIN = Folder()
