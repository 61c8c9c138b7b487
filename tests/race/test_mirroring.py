"""Mirroring: judged by answers made by hand, and measured on images that it spares or spoils."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import edarts
from edarts.config import SearchConfig, TrainConfig
from edarts.data.dataset import Dataset
from edarts.nn.mirrored import Mirrored
from edarts.race.mirroring import Turned, judge
from edarts.race.trainer import OnHeldOut


def answers(count: int, right: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(count) < right


def test_as_right_on_mirror_images_is_harmless() -> None:
    labels = np.arange(4000) % 4
    found = judge(answers(4000, 0.95), answers(4000, 0.95, 1), labels)
    assert found.harmless is True
    assert found.difference.n == 4000


def test_who_has_learned_little_or_seen_few_tells_nothing() -> None:
    labels = np.arange(4000) % 4
    assert judge(answers(4000, 0.3), answers(4000, 0.3, 1), labels).harmless is None
    few = np.arange(60) % 4
    assert judge(answers(60, 0.95), answers(60, 0.95, 1), few).harmless is None


def test_less_right_on_mirror_images_is_not() -> None:
    labels = np.arange(4000) % 4
    found = judge(answers(4000, 0.95), answers(4000, 0.85, 1), labels)
    assert found.harmless is False
    assert found.difference.value == pytest.approx(-0.1, abs=0.02)


@pytest.mark.parametrize(
    ("count", "lost", "harmless"),
    [(2105, 0.02, True), (2105, 0.045, False), (300, 0.02, None), (300, 0.04, None)],
)
def test_a_little_less_right_is_harmless_where_it_is_sure(
    count: int, lost: float, harmless: bool | None
) -> None:
    """Faces: 1 to 2 points, for half of them were never seen so; few images leave it open."""
    labels = np.arange(count) % 2
    plain = answers(count, 0.9)
    wrong = np.flatnonzero(plain)[: round(lost * count) + 20]
    right = np.flatnonzero(~plain)[:20]
    mirror = plain.copy()
    mirror[wrong], mirror[right] = False, True
    found = judge(plain, mirror, labels)
    assert found.difference.value == pytest.approx(-lost, abs=1e-3)
    assert found.harmless is harmless


def test_one_class_that_suffers_is_enough() -> None:
    """Two of forty: on average mirroring costs less than is tolerated."""
    labels = np.arange(8000) % 40
    plain, mirror = answers(8000, 0.95), answers(8000, 0.95, 1)
    mirror[(labels == 3) | (labels == 4)] = False
    assert judge(plain, mirror, labels).difference.value > -0.06
    mirror[labels == 4] = plain[labels == 4]
    found = judge(plain, mirror, labels)
    assert found.difference.value > -0.03
    assert found.harmless is False


def lines(turned: bool, count: int = 2000) -> Dataset:
    """Grey images of a slanted line, rising or falling, or of one that lies or stands.

    `turned`: rising and falling, which the mirror exchanges; else lying and standing.
    """
    rng = np.random.default_rng(0)
    labels = np.arange(count) % 2
    images = rng.integers(0, 60, (count, 16, 16))
    for image, label in zip(images, labels, strict=True):
        if turned:
            at = np.arange(16) if label else np.arange(16)[::-1]
            image[at, np.clip(np.arange(16) + rng.integers(-4, 5), 0, 15)] = 255
        elif label:
            image[rng.integers(16)] = 255
        else:
            image[:, rng.integers(16)] = 255
    return Dataset(
        torch.from_numpy(images[..., None].astype(np.uint8)),
        torch.from_numpy(labels),
        ("a", "b"),
        flip=False,
    )


def test_mirror_images_are_told_from_images() -> None:
    images = lines(turned=True, count=4).images.permute(0, 3, 1, 2)
    assert torch.equal(Turned(torch.nn.Identity())(images)[0, 0], images[0, 0].fliplr())


@pytest.mark.parametrize(("turned", "used"), [(True, False), (False, True)])
@pytest.mark.parametrize("colour", [False, True])
def test_find_measures_it(
    turned: bool, used: bool, colour: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In grey, where mirroring is not usual, and in colour, where it is."""
    data = lines(turned)
    images = data.images.expand(-1, -1, -1, 3) if colour else data.images
    np.savez(tmp_path / "lines.npz", x_train=images.numpy(), y_train=data.labels.numpy())
    seen: list[bool] = []
    split = OnHeldOut.split

    def spy(trainer: OnHeldOut) -> tuple[Dataset, Dataset]:
        seen.append(trainer.data.flip)
        return split(trainer)

    monkeypatch.setattr(OnHeldOut, "split", spy)
    session = edarts.Session(out=tmp_path / "run", device="cpu")
    config = TrainConfig(epochs=1, batch_size=32)
    found = edarts.find(
        str(tmp_path / "lines.npz"), SearchConfig(), config, session, candidates="linear,resnet"
    )
    assert seen[-1] is used
    assert isinstance(edarts.load_model(found.run).network, Mirrored) is used
    stated = replace(edarts.DataConfig(str(tmp_path / "lines.npz")), flip=not used)
    seen.clear()
    edarts.find(
        stated,
        SearchConfig(),
        config,
        edarts.Session(out=tmp_path / "stated", device="cpu"),
        candidates="linear,resnet",
    )
    assert {*seen} == {not used}
