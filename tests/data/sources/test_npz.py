"""Arrays in a file: their namings, layouts, errors."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edarts import EdartsError, load
from support import grey, save_npz


@pytest.mark.parametrize(
    "keys",
    [
        ("x_train", "y_train", "x_test", "y_test"),
        ("train_images", "train_labels", "test_images", "test_labels"),
    ],
)
def test_npz_with_test(tmp_path: Path, keys: tuple[str, ...]) -> None:
    labels = np.arange(12) % 3
    arrays = dict(zip(keys, (grey(12), labels[:, None], grey(3), np.arange(3)), strict=True))
    path = save_npz(tmp_path / "a.npz", **arrays)
    assert len(load(path)) == 12
    assert len(load(path, "test")) == 3


def test_npz_layouts(tmp_path: Path) -> None:
    labels = np.arange(12) % 3
    first = save_npz(tmp_path / "b.npz", images=np.random.rand(12, 3, 8, 9), labels=labels)
    assert load(first).shape == (3, 8, 9)
    text = np.array(["cat", "dog", "eel"])[labels]
    second = save_npz(tmp_path / "c.npz", images=np.random.rand(12, 8, 9, 4), labels=text)
    assert load(second).classes == ("cat", "dog", "eel")
    assert load(second).shape == (4, 8, 9)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": grey(12), "labels": np.arange(12) % 3 - 1}, "label -1 at index 0 is below 0"),
        ({"images": grey(12), "labels": np.arange(11) % 3}, "12 images but 11 labels"),
        ({"images": grey(12), "labels": np.zeros(12, int)}, "only one class"),
        ({"images": grey(12) * np.nan, "labels": np.arange(12) % 3}, "NaN or infinite value in"),
        ({"images": grey(12) * 9.0, "labels": np.arange(12) % 3}, "scale them to 0..255"),
        ({"images": grey(12)[:, 0], "labels": np.arange(12) % 3}, "images are"),
        ({"images": grey(12), "labels": [0] * 5 + [1] * 5 + [2] * 2}, "class '2' has 2 images"),
        ({"images": np.array([{}] * 4), "labels": np.arange(4)}, "cannot be read as .npz"),
        ({"pictures": grey(3)}, "has the arrays pictures"),
        (
            {
                "images": grey(6),
                "labels": np.arange(6) % 2,
                "test_images": grey(1),
                "test_labels": [7],
            },
            "label 7 is out of range",
        ),
        (
            {"images": grey(6), "labels": np.arange(6), "classes": np.array(["a", "b"])},
            r"label 2 of image 2 is out of range 0\.\.1",
        ),
    ],
)
def test_npz_errors(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(EdartsError, match=message):
        load(save_npz(tmp_path / "bad.npz", **arrays))


def test_two_classes_of_one_name_are_refused(tmp_path: Path) -> None:
    images = np.zeros((6, 8, 8), dtype=np.uint8)
    labels, classes = np.arange(6) % 3, np.array(["ok", "bad", "ok"])
    np.savez(tmp_path / "x.npz", images=images, labels=labels, classes=classes)
    with pytest.raises(EdartsError, match="labels: two classes are called 'ok'; give each a name"):
        load(str(tmp_path / "x.npz"))
