"""From arrays of any numbers to pixels: what is learned of them, and what is refused later."""

from typing import Any

import numpy as np
import pytest

from edarts.data.preprocessing import Preprocessing, array_images
from edarts.errors import UsageError


def learned(array: Any, row: Any = None) -> Preprocessing:
    found = Preprocessing.learned(np.asarray(array), row)
    assert found is not None
    return found


def test_the_smallest_value_is_black_and_the_largest_white() -> None:
    train = np.linspace(-3.0, 7.0, 2 * 64).reshape(2, 8, 8)
    pixels = learned(train).pixels(train)
    assert pixels.dtype == np.uint8
    expected = np.round((train + 3) / 10 * 255)
    assert np.array_equal(pixels, expected)
    # Values beyond those of the training are clipped, one image alone is as it is among others.
    other = np.array([[[-30.0, 2.0, 70.0]]])
    assert learned(train).pixels(other).tolist() == [[[0, 128, 255]]]
    assert np.array_equal(learned(train).pixels(train[1:]), expected[1:])


def test_bytes_are_pixels_already() -> None:
    images = np.arange(2 * 64, dtype=np.uint8).reshape(2, 8, 8)
    assert Preprocessing.learned(images, None) is None
    assert np.array_equal(array_images(images, None, None)[..., 0], images)
    rows = learned(images.reshape(2, 64))
    assert np.array_equal(rows.pixels(images.reshape(2, 64))[..., 0], images)


def test_a_row_fills_the_smallest_square_line_by_line() -> None:
    row = np.arange(5.0)[None]
    found = learned(row)
    assert found.row == (3, 3, 1)
    pixels = found.pixels(row)
    assert pixels.shape == (1, 9, 9, 1)  # each is repeated until there are eight and more
    assert pixels[0, ::3, ::3, 0].tolist() == [[0, 64, 128], [191, 255, 0], [0, 0, 0]]
    assert (pixels == pixels[:, ::3, ::3].repeat(3, axis=1).repeat(3, axis=2)).all()


def test_a_row_is_the_image_that_is_said() -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 10, 3), dtype=np.uint8)
    found = learned(images.reshape(4, -1), (8, 10, 3))
    assert np.array_equal(found.pixels(images.reshape(4, -1)), images)
    with pytest.raises(UsageError, match=r"image_shape \(8, 9\) does not hold the 64 numbers"):
        learned(np.zeros((3, 64)), (8, 9))
    with pytest.raises(UsageError, match="image_shape is for rows"):
        learned(images, (8, 10, 3))


def test_arrays_of_another_kind_are_refused() -> None:
    floats = np.random.default_rng(0).random((4, 8, 8))
    with pytest.raises(UsageError, match="X holds bytes, 0 to 255; the training images had"):
        learned(floats).pixels((255 * floats).astype(np.uint8))
    with pytest.raises(UsageError, match=r"shape \(4, 64\); the training data were images"):
        learned(floats).pixels(floats.reshape(4, 64))
    with pytest.raises(UsageError, match=r"shape \(4, 8, 8\); the training data were rows"):
        learned(floats.reshape(4, 64)).pixels(floats)
