"""Splits: seeded, stratified, disjoint; limits keep the shares."""

import numpy as np
import torch

from edarts import DataConfig, load
from edarts.data.splits import stratified_split
from support import counts


def test_splits_are_seeded_stratified_disjoint() -> None:
    labels = np.repeat([0, 1, 2], [50, 10, 3])
    rest, part = stratified_split(labels, 0.2, seed=1)
    assert np.array_equal(np.sort(np.concatenate([rest, part])), np.arange(63))
    assert np.bincount(labels[part]).tolist() == [10, 2, 1]
    assert np.array_equal(part, stratified_split(labels, 0.2, seed=1)[1])
    assert not np.array_equal(part, stratified_split(labels, 0.2, seed=2)[1])


def test_test_limit_keeps_the_shares_and_the_training_images() -> None:
    limited, whole = DataConfig("digits", test_limit=100), DataConfig("digits")
    part = load(limited, "test")
    assert len(part) == 100 and int(part.labels.bincount().min()) >= 9
    assert "limited to 100 test images" in part.notes
    assert torch.equal(load(limited).images, load(whole).images)


def test_limit_keeps_the_shares() -> None:
    part = load(DataConfig("digits", limit=200))
    assert 190 <= len(part) <= 210
    assert min(counts(part.labels)) >= 18
