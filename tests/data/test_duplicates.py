"""Duplicates: copies, near copies and mere likeness; left out of the training; told by name."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import edarts
from edarts.config import DataConfig, SearchConfig, TrainConfig
from edarts.data import duplicates as module
from edarts.data import open_data
from edarts.data.duplicates import duplicates
from edarts.reporting.reports import FindReport


def scene(seed: int, side: int = 32) -> np.ndarray:  # type: ignore[type-arg]
    """(side, side, 3) uint8: smooth, as photographs are."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    return np.asarray(small.resize((side, side), Image.Resampling.BICUBIC))


def as_jpeg(image: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=60)
    return np.asarray(Image.open(file))


def tensor(*images: np.ndarray) -> torch.Tensor:  # type: ignore[type-arg]
    return torch.from_numpy(np.stack(images))


def test_copies_near_copies_and_others() -> None:
    train = tensor(*(scene(n) for n in range(40)))
    brighter = np.clip(scene(3).astype(int) + 12, 0, 255).astype(np.uint8)
    test = tensor(scene(5), as_jpeg(scene(7)), brighter, scene(100), scene(101))
    found = duplicates(train, test)
    pairs = dict(zip(found.test.tolist(), found.train.tolist(), strict=True))
    assert pairs == {0: 5, 1: 7, 2: 3}
    assert found.identical.tolist() == [True, False, False]
    assert found.images == (1, 2)
    assert found.first(2) == [(0, 5), (1, 7)]


def test_however_few_images_are_looked_at_together(monkeypatch: pytest.MonkeyPatch) -> None:
    train = tensor(*(scene(n) for n in range(12)))
    test = tensor(scene(5), as_jpeg(scene(7)), scene(100), scene(11))
    monkeypatch.setattr(module, "VALUES", 1)
    found = duplicates(train, test)
    assert found.test.tolist() == [0, 1, 3] and found.train.tolist() == [5, 7, 11]
    assert found.identical.tolist() == [True, False, True]


def test_a_thousand_scenes_resemble_none() -> None:
    train = tensor(*(scene(n) for n in range(500)))
    test = tensor(*(scene(n) for n in range(500, 1000)))
    assert duplicates(train, test).images == (0, 0)


def test_of_tiny_and_of_even_images_only_copies_count() -> None:
    train = tensor(*(scene(n, 8) for n in range(20)))
    test = tensor(as_jpeg(scene(3, 8)), scene(4, 8))
    assert duplicates(train, test).images == (1, 0)
    grey = [np.full((32, 32, 3), value, dtype=np.uint8) for value in (10, 100, 105)]
    assert duplicates(tensor(*grey[:2]), tensor(grey[0], grey[2])).images == (1, 1)
    assert duplicates(tensor(scene(0)), tensor(scene(1))[:0]).images == (0, 0)


@pytest.fixture
def leaking(tmp_path: Path) -> Path:
    """Forty images of two classes, and a test split of which three are training images."""
    for split, numbers in (("train", range(40)), ("test", (0, 1, 2, *range(50, 57)))):
        for n in numbers:
            path = tmp_path / "data" / split / "ab"[n % 2] / f"{n:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            image = as_jpeg(scene(n)) if (split, n) == ("test", 2) else scene(n)
            Image.fromarray(image).save(path)
    return tmp_path / "data"


def test_they_are_left_out_on_request(leaking: Path) -> None:
    opened = open_data(DataConfig(str(leaking), drop_duplicates=True))
    kept = opened.train
    assert len(kept) == 37
    assert "3 training images are test images too, or nearly: left out" in kept.notes
    assert [opened.place("train", n) for n in range(2)] == ["a/04.png", "a/06.png"]
    whole = open_data(str(leaking))
    assert len(whole.train) == 40
    assert whole.duplicates(whole.train.shape, None).images == (2, 1)


def test_they_are_told_by_name(leaking: Path, tmp_path: Path) -> None:
    config = TrainConfig(epochs=1, batch_size=8)

    def find(name: str, data: DataConfig) -> FindReport:
        session = edarts.Session(out=tmp_path / name, device="cpu")
        return edarts.find(data, SearchConfig(), config, session, candidates="linear")

    found = find("run", DataConfig(str(leaking)))
    counted = found.to_dict()["duplicates"]
    assert (counted["identical"], counted["near"]) == (2, 1)
    assert counted["first"] == tuple((name, name) for name in ("a/00.png", "b/01.png", "a/02.png"))
    told = "3 test images are training images too (2 identical, 1 nearly)"
    assert told in found.summary()
    assert told in (found.run / "report.html").read_text(encoding="utf-8")
    again = find("without", DataConfig(str(leaking), drop_duplicates=True))
    assert "duplicates" not in again.summary()
    assert again.overlap is not None and (again.overlap.identical, again.overlap.near) == (0, 0)
