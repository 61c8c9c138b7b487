"""The digits that come with scikit-learn."""

import numpy as np
import torch
from sklearn.datasets import load_digits

from edarts import load
from edarts.config import DataConfig
from edarts.data.sources.digits import Digits


def test_digits() -> None:
    train, test = load("digits"), load("digits", "test")
    assert train.shape == (1, 8, 8)
    assert len(train) + len(test) == 1797
    assert train.images.dtype == torch.uint8
    assert not train.flip
    assert int(train.images.max()) == 255


def test_digits_are_those_of_scikit_learn() -> None:
    """Its file is read without it; what it says of the images is the same."""
    theirs = load_digits()
    ours = Digits().open("digits", DataConfig("digits"))
    assert np.array_equal(ours.labels, theirs.target)
    assert np.array_equal(np.round(np.asarray(ours.items)[..., 0] * (16 / 255)), theirs.images)
