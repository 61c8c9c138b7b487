"""Npz: arrays of images and labels in a file of numpy's, in any of four usual namings."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edarts.config import DataConfig
from edarts.config.reading import open_regular
from edarts.data.catalogue import Catalogue, array_labels, check_length
from edarts.data.decoding import array_pixels
from edarts.errors import EdartsError

NAMES = (
    ("x_train", "y_train", "x_test", "y_test"),
    ("train_images", "train_labels", "test_images", "test_labels"),
    ("images", "labels", "test_images", "test_labels"),
    ("x", "y", "x_test", "y_test"),
)


class Npz:
    """A file that ends in .npz; it may hold an array `classes` with the names."""

    describe = "an .npz file"

    def accepts(self, data: str) -> bool:
        """Whether DATA is a file whose name ends in .npz."""
        path = Path(data)
        return path.suffix == ".npz" and path.is_file()

    def open(self, data: str, config: DataConfig) -> Catalogue:
        """Raises EdartsError that names the array, and the image or value in it."""
        path = Path(data)
        (x, y, x_test, y_test), arrays = _read(path, config)
        images = array_pixels(arrays[x], f"{path}: {x}")
        named = tuple(map(str, arrays["classes"])) if "classes" in arrays else None
        labels, classes = array_labels(arrays[y], named, f"{path}: {y}")
        check_length(len(images), len(labels), path)
        catalogue = Catalogue(path.stem, classes, images, labels)
        if x_test in arrays and y_test in arrays:
            known = array_labels(arrays[y_test], classes, f"{path}: {y_test}", fitted=True)[0]
            tested = array_pixels(arrays[x_test], f"{path}: {x_test}")
            check_length(len(tested), len(known), path)
            catalogue.test = (tested, known)
        return catalogue


def _read(path: Path, config: DataConfig) -> tuple[tuple[str, ...], dict[str, NDArray[Any]]]:
    """The naming that the file follows, and its arrays of these names and `classes`."""
    try:
        with open_regular(path) as file, np.load(file, allow_pickle=False) as arrays:
            config.check_size(sum(one.file_size for one in arrays.zip.infolist()), path)
            held = set(arrays.files)
            names = next((n for n in NAMES if n[0] in held and n[1] in held), None)
            if names is None:
                raise EdartsError(
                    f"{path}: has the arrays {', '.join(sorted(held)) or 'none'}; name them"
                    " x_train, y_train (and x_test, y_test), or images, labels"
                )
            wanted = names if set(names) <= held else names[:2]
            return names, {n: arrays[n] for n in (*wanted, "classes") if n in held}
    except EdartsError:
        raise
    except (ValueError, OSError, EOFError, KeyError) as error:
        raise EdartsError(f"{path}: cannot be read as .npz: {error}") from None
    except Exception as error:  # zipfile and zlib raise their own kinds
        raise EdartsError(f"{path}: damaged .npz file: {error}") from None


PLUGIN = Npz()
