"""Digits: 1,797 handwritten digits of 8 x 8 that come with scikit-learn, for a first try."""

import gzip
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edarts.config import DataConfig
from edarts.data.catalogue import Catalogue


class Digits:
    """Reads the digits of scikit-learn; DATA is the word `digits`."""

    describe = "digits"
    example = "digits"

    def accepts(self, data: str) -> bool:
        """Whether DATA is the word `digits`."""
        return data == "digits"

    def open(self, data: str, config: DataConfig) -> Catalogue:
        """(1797, 8, 8, 1), grey, without a test split."""
        table = _table()
        # 17 grey levels, 0..16
        images = np.round(table[:, :-1].reshape(-1, 8, 8, 1) * (255 / 16)).astype(np.uint8)
        classes = tuple(map(str, range(10)))
        return Catalogue("digits", classes, images, table[:, -1].astype(np.int64))


def _table() -> NDArray[np.float64]:
    """(1797, 65): the pixels and the class of each image, as scikit-learn's `load_digits`.

    Its file is read without importing scikit-learn, which takes half a second, where it is found.
    """
    package = find_spec("sklearn")
    assert package is not None and package.origin is not None
    file = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
    if file.exists():
        with gzip.open(file, "rt", encoding="utf-8") as text:
            return np.loadtxt(text, delimiter=",")
    from sklearn.datasets import load_digits

    digits = load_digits()
    return np.column_stack([digits.data, digits.target])


PLUGIN = Digits()
