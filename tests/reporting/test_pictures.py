"""Pictures for the page: which images are shown, in which order, how small."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from edarts.reporting import pictures

CLASSES = ("ant", "bee", "cat")


def grey(count: int, side: int = 8) -> np.ndarray:  # type: ignore[type-arg]
    """Image n has the value n."""
    values = np.arange(count, dtype=np.uint8)[:, None, None, None]
    return np.broadcast_to(values, (count, side, side, 1))


def value(uri: str) -> int:
    data = base64.b64decode(uri.removeprefix("data:image/png;base64,"))
    return int(np.asarray(Image.open(io.BytesIO(data))).flat[0])


def test_training() -> None:
    labels = np.array([0, 1, 2, 0, 1, 2])
    margins = np.array([1.0, -2.0, np.nan, 5.0, 0.5, -1.0])
    classes, doubted = pictures.of_training(grey(6), labels, CLASSES, margins, "image {}".format)
    assert [one.caption for one in classes.shown] == list(CLASSES)
    assert [value(one.images[0]) for one in classes.shown] == [3, 4, 5]
    assert [value(one.images[0]) for one in doubted.shown] == [1, 5, 4, 0, 3]
    assert doubted.shown[0].caption == "image 1: labelled bee"


def test_test() -> None:
    labels = np.array([0, 0, 0, 1, 2])
    p = np.array([[0.1, 0.9, 0], [0.3, 0.7, 0], [0.9, 0.1, 0], [0.25, 0.0, 0.75], [0.0, 0.2, 0.8]])
    confused, mistakes = pictures.of_test(grey(5), labels, CLASSES, p, "image {}".format)
    assert [one.caption for one in confused.shown] == [
        "ant taken for bee: 2 of 3",
        "bee taken for cat: 1 of 1",
    ]
    assert [value(image) for image in confused.shown[0].images] == [0, 1]  # the surest first
    assert [value(one.images[0]) for one in mistakes.shown] == [0, 3, 1]
    assert mistakes.shown[0].caption == "image 0: ant, taken for bee, 90.0% sure"


def test_they_are_read_back_and_none_is_none() -> None:
    right = pictures.of_test(grey(2), np.array([0, 1]), CLASSES, np.eye(3)[:2], str)
    assert pictures.to_json(right) == []
    made = pictures.of_training(grey(3), np.arange(3), CLASSES, np.arange(3.0), str)
    read = [
        pictures.Gallery.from_dict(one) for one in json.loads(json.dumps(pictures.to_json(made)))
    ]
    assert read == made


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_they_are_small(channels: int) -> None:
    """The worst case, noise in all places of the page, stays below 4 MB."""
    noise = np.random.default_rng(0).integers(0, 256, (256, 200, channels), dtype=np.uint8)
    uri = pictures.uri(noise)
    picture = Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1])))
    assert picture.size == (50, 64)
    images = (
        pictures.CLASSES
        + pictures.PAIRS * pictures.OF_A_PAIR
        + pictures.MISTAKES
        + pictures.DOUBTED
    )
    assert images * len(uri) < 4e6
