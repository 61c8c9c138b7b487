"""The digits that come with scikit-learn."""

import torch

from edarts import load


def test_digits() -> None:
    train, test = load("digits"), load("digits", "test")
    assert train.shape == (1, 8, 8)
    assert len(train) + len(test) == 1797
    assert train.images.dtype == torch.uint8
    assert not train.flip
    assert int(train.images.max()) == 255
