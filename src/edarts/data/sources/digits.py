"""Digits: 1,797 handwritten digits of 8 x 8 that come with scikit-learn, for a first try."""

import numpy as np

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
        from sklearn.datasets import load_digits

        digits = load_digits()
        # 17 grey levels, 0..16
        images = np.round(digits.images * (255 / 16)).astype(np.uint8)[..., None]
        classes = tuple(map(str, range(10)))
        return Catalogue("digits", classes, images, digits.target.astype(np.int64))


PLUGIN = Digits()
