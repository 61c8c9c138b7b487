"""Runs compared image by image: against the binomial distribution, and what is no comparison."""

from math import comb
from pathlib import Path

import numpy as np
import pytest

from edarts.reporting import paired

SETTINGS = "data: digits\nfingerprint: {}\nsplit_seed: {}\n"


def run(folder: Path, right: list[int], fingerprint: str = "sha256:a", seed: int = 0) -> Path:
    """Of ten images of class 1; `right`: 1 where the answer is that."""
    folder.mkdir()
    (folder / "config.yaml").write_text(SETTINGS.format(fingerprint, seed))
    probabilities = np.eye(2, dtype=np.float32)[right]
    labels = np.ones(len(right), dtype=np.int64)
    np.savez(folder / paired.PREDICTIONS, probabilities=probabilities, labels=labels)
    return folder


def test_mcnemar_by_hand(tmp_path: Path) -> None:
    first = run(tmp_path / "a", [1] * 9 + [0])
    second = run(tmp_path / "b", [1] * 2 + [0] * 7 + [1])
    (found,) = paired.compare([first, second])
    assert found.difference is not None
    assert found.difference.value == pytest.approx(0.6)
    # Only one of the two is right about eight images, and about seven of these it is the first.
    p = 2 * sum(comb(8, k) for k in (7, 8)) / 2**8
    assert found.difference.p == pytest.approx(p)
    assert found.summary().startswith(f"{first} minus {second}: +60.00 points (")
    assert found.summary().endswith("they cannot be told apart")
    assert found.to_dict()["difference"]["n"] == 10


def test_every_pair_of_evaluated_runs(tmp_path: Path) -> None:
    runs = [run(tmp_path / name, [1, 0, 1]) for name in "abc"]
    (tmp_path / "none").mkdir()
    found = paired.compare([*runs, tmp_path / "none"])
    assert [(one.first.name, one.second.name) for one in found] == [
        ("a", "b"),
        ("a", "c"),
        ("b", "c"),
    ]
    assert all(one.difference is not None and one.difference.p == 1 for one in found)


def test_other_test_images_are_no_comparison(tmp_path: Path) -> None:
    first = run(tmp_path / "a", [1, 0])
    others = [
        (run(tmp_path / "b", [1, 0], fingerprint="sha256:b"), "fingerprint differs"),
        (run(tmp_path / "c", [1, 0], seed=1), "split_seed differs"),
        (run(tmp_path / "d", [1, 0, 0]), "other test images"),
    ]
    for other, reason in others:
        (found,) = paired.compare([first, other])
        assert found.difference is None
        assert reason in found.summary()
    (first / paired.PREDICTIONS).write_bytes(b"cut off")
    assert paired.compare([first, others[0][0]])[0].difference is None
