"""Folder: one folder of image files for each class, or train/ and test/ with such folders."""

from pathlib import Path

import numpy as np

from edarts.config import DataConfig
from edarts.data.catalogue import TEST_NAMES, TRAIN_NAMES, Catalogue
from edarts.errors import EdartsError

SYSTEM = {
    *("__macosx", "@eadir", "#recycle", "#snapshot", "$recycle.bin", "lost+found"),
    *("system volume information", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"),
}
"""Names, in small letters, of what systems put beside and among the images of people."""


class Folder:
    """A folder that holds no parquet file."""

    describe = "a folder of class folders (with or without train/ and test/)"

    def accepts(self, data: str) -> bool:
        """Whether DATA is a folder: the sources that look into folders are asked before."""
        return Path(data).is_dir()

    def open(self, data: str, config: DataConfig) -> Catalogue:
        """Raises EdartsError that names an empty folder, or a class that only test/ has."""
        path = Path(data)
        children = [child for child in path.iterdir() if child.is_dir() and not _of_system(child)]
        folders = {child.name.lower(): child for child in children}
        train = next((folders[name] for name in TRAIN_NAMES if name in folders), None)
        test = next((folders[name] for name in TEST_NAMES if name in folders), None)
        if train is None or test is None:
            # A lone train/ is the whole data set; a lone test/ is a class that happens to be
            # called so.
            root = train if train is not None and len(folders) == 1 else path
            return _class_folders(root, path.name)
        catalogue = _class_folders(train, path.name)
        other = _class_folders(test, path.name, catalogue.classes)
        catalogue.test = (other.items, other.labels)
        catalogue.notes.append(f"test split: {test.name}/")
        return catalogue


def _of_system(path: Path) -> bool:
    """Whether a file or folder was put there by a system, desktop or network disk."""
    return path.name.startswith(".") or path.name.lower() in SYSTEM


def _class_folders(root: Path, name: str, classes: tuple[str, ...] | None = None) -> Catalogue:
    folders = sorted(c for c in root.iterdir() if c.is_dir() and not _of_system(c))
    if not folders:
        raise EdartsError(f"{root}: no class folders; put the images of each class into a folder")
    names = tuple(folder.name for folder in folders) if classes is None else classes
    files: list[Path] = []
    labels: list[int] = []
    for folder in folders:
        if folder.name not in names:
            raise EdartsError(f"{folder}: class '{folder.name}' is not in the training split")
        # Every file counts, so that a file of the wrong kind is named and not passed over; so does
        # a link that leads nowhere.
        found = sorted(
            f
            for f in folder.rglob("*")
            if (f.is_file() or (f.is_symlink() and not f.exists()))
            and not any(map(_of_system, [f, *f.relative_to(folder).parents]))
        )
        if not found and classes is None:
            raise EdartsError(f"{folder}: empty folder; add images or remove it")
        files += found
        labels += [names.index(folder.name)] * len(found)
    if not files:
        raise EdartsError(f"{root}: no images")
    return Catalogue(name, names, files, np.array(labels, dtype=np.int64))


PLUGIN = Folder()
