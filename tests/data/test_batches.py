"""Batches are a function of epoch and step; augmentation, normalisation."""

from dataclasses import replace

import pytest
import torch

from edarts import load
from edarts.data.batches import Loader, Transform
from support import counts


def test_loader_sees_every_image_once_and_has_no_state() -> None:
    data = load("digits")
    loader = Loader(data, 100, 0, "train", torch.device("cpu"))
    batches = [loader.batch(3, step) for step in range(loader.steps)]
    assert {len(labels) for _, labels in batches} <= {95, 96}
    assert counts(torch.cat([labels for _, labels in batches])) == counts(data.labels)
    again = Loader(data, 100, 0, "train", torch.device("cpu")).endless(3 * loader.steps + 2)
    assert torch.equal(again[0], batches[2][0])
    other = Loader(data, 100, 0, "valid", torch.device("cpu")).batch(3, 2)
    assert not torch.equal(other[1], batches[2][1])


def test_statistics_and_normalisation() -> None:
    data = load("digits")
    pixels = data.images.double() / 255
    mean, std = data.statistics()
    assert mean[0] == pytest.approx(float(pixels.mean()))
    assert std[0] == pytest.approx(float(pixels.std(correction=0)))
    x = Transform.of(data).normalise(data.images)
    assert x.shape == (len(data), 1, 8, 8)
    assert abs(float(x.mean())) < 1e-4
    assert float(x.std()) == pytest.approx(1, abs=1e-3)


def test_augmentation_crops_flips_and_cuts() -> None:
    torch.manual_seed(0)
    image = torch.arange(1, 1 + 16 * 16 * 3).remainder(251).to(torch.uint8).view(1, 16, 16, 3)
    images = image.repeat(400, 1, 1, 1)
    plain = Transform((0.0,) * 3, (1.0,) * 3)
    padded = torch.nn.functional.pad(image[0].permute(2, 0, 1), (2, 2, 2, 2)).float() / 255
    crops = {
        (top, left, mirrored): (crop.flip(2) if mirrored else crop)
        for top in range(5)
        for left in range(5)
        for crop in [padded[:, top : top + 16, left : left + 16]]
        for mirrored in (False, True)
    }
    out = Transform((0.0,) * 3, (1.0,) * 3, flip=True).augment(images)
    assert out.is_contiguous(memory_format=torch.channels_last)
    found = {key for x in out for key, crop in crops.items() if torch.allclose(x, crop, atol=1e-6)}
    assert len(found) > 45  # of 50 possible ones
    assert all(any(torch.allclose(x, c, atol=1e-6) for c in crops.values()) for x in out[:50])
    unflipped = plain.augment(images)
    assert not any(
        torch.allclose(x, crops[key], atol=1e-6) for x in unflipped[:60] for key in crops if key[2]
    )
    which = torch.arange(60) % 2 == 1
    chosen = Transform((0.0,) * 3, (1.0,) * 3, flip=True).augment(images[:60], which)
    for x, mirrored in zip(chosen, which.tolist(), strict=True):
        keys = [key for key, crop in crops.items() if torch.allclose(x, crop, atol=1e-6)]
        assert [key[2] for key in keys] == [mirrored]
    never = plain.augment(images[:60], which)  # mirroring changes what these images mean
    assert not any(
        torch.allclose(x, crops[key], atol=1e-6) for x in never for key in crops if key[2]
    )
    white = torch.full((300, 16, 16, 1), 255, dtype=torch.uint8)
    hole = Transform((0.0,), (1.0,), cutout=0.5).augment(white)
    zeros = (hole[:, 0, 4:12, 4:12] == 0).float().mean()
    assert 0.1 < float(zeros) < 0.6


@pytest.mark.parametrize(("shift", "most"), [(1 / 16, 1), (1 / 8, 2), (0.01, 1), (0.0, 0)])
def test_images_are_moved_and_what_comes_in_is_their_mirror_image(shift: float, most: int) -> None:
    torch.manual_seed(0)
    image = torch.randint(256, (1, 16, 13, 3), dtype=torch.uint8)
    transform = Transform((0.0,) * 3, (1.0,) * 3, shift=shift, edge="mirror")
    wide = torch.nn.functional.pad(image[0].permute(2, 0, 1).float() / 255, (most,) * 4, "reflect")
    span = range(2 * most + 1)
    crops = [wide[:, top : top + 16, left : left + 13] for top in span for left in span]
    seen = set()
    for x in transform.augment(image.repeat(300, 1, 1, 1)):
        seen.add(next(n for n, crop in enumerate(crops) if torch.allclose(x, crop, atol=1e-6)))
    assert len(seen) == len(crops)


@pytest.mark.parametrize("shape", [(1, 1), (2, 1), (3, 40)])
def test_images_of_one_pixel_can_be_moved(shape: tuple[int, int]) -> None:
    images = torch.arange(shape[0] * shape[1], dtype=torch.uint8).view(1, *shape, 1)
    moved = Transform((0.0,), (1.0,), shift=0.5, edge="mirror").augment(images)
    assert moved.shape == (1, 1, *shape)
    assert {*(255 * moved).round().long().flatten().tolist()} <= {*images.flatten().tolist()}


def test_jitter() -> None:
    """Each image has one factor and one summand of its own, within their bounds."""
    torch.manual_seed(0)
    half = torch.full((400, 8, 8, 3), 128, dtype=torch.uint8)
    half[:, 4:] = 255
    transform = Transform((0.5,) * 3, (0.25,) * 3)
    plain = transform.normalise(half)
    inside = (slice(None), slice(None), slice(3, 5), slice(3, 5))  # beyond the crop's padding
    torch.manual_seed(1)
    crops = transform.augment(half)
    torch.manual_seed(1)
    changed = replace(transform, jitter=0.2).augment(half)
    contrast, brightness = [], []
    for before, after in zip(crops[inside], changed[inside], strict=True):
        low, high = before.min(), before.max()
        if low == high or 0 in before:
            continue
        factor = (after.max() - after.min()) / (high - low)
        contrast.append(float(factor))
        brightness.append(float(after.min() - factor * low))
        torch.testing.assert_close(after, factor * before + brightness[-1], atol=1e-4, rtol=1e-4)
    assert len(contrast) > 50 and plain.max() == 2
    assert 0.8 <= min(contrast) < 0.85 and 1.15 < max(contrast) <= 1.2
    assert -0.4 <= min(brightness) < -0.35 and 0.35 < max(brightness) <= 0.4
