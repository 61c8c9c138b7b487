"""Opened data: counts before decoding, each split decoded once, in this process and a worker."""

import pickle
from collections.abc import Callable, Sized
from pathlib import Path

import pytest
import torch

from edarts import DataConfig, EdartsError, load
from edarts.data import decoding, open_data, opened
from support import grey, write_images


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How many splits were decoded since the last call; nothing is open at first."""
    counted: list[int] = []
    decode = decoding.decode

    def spy(*arguments: object) -> object:
        counted.append(1)
        return decode(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(decoding, "decode", spy)
    monkeypatch.setattr(opened, "_last", None)

    def count() -> int:
        found = len(counted)
        counted.clear()
        return found

    return count


def test_a_split_is_decoded_once_and_only_when_asked_for(
    folder: Path, decoded: Callable[[], int]
) -> None:
    data = open_data(str(folder))
    assert (data.name, data.classes, data.images) == ("animals", ("ant", "bee", "cat"), 24)
    assert decoded() == 0
    train = data.train
    assert data.split("train") is train and data.split("train", train.shape) is train
    assert decoded() == 1
    small = data.split("test", (1, 8, 8))
    assert small.shape == (1, 8, 8) and data.split("test", (1, 8, 8)) is small
    assert decoded() == 1
    assert data.test.shape == (3, 10, 12)
    assert decoded() == 1
    assert torch.equal(data.test.images, load(str(folder), "test").images)


def test_a_sketch_decodes_a_few_images_for_all(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of every class, and each with its own label; what is decoded already is taken whole."""
    counted: list[int] = []
    decode = decoding.decode

    def spy(items: Sized, *arguments: object) -> object:
        counted.append(len(items))
        return decode(items, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(decoding, "decode", spy)
    monkeypatch.setattr(opened, "_last", None)
    data = open_data(str(folder))
    sketch = data.sketch(6)
    assert counted == [6] and len(sketch) == 24 and set(sketch.labels.tolist()) == {0, 1, 2}
    train = data.train
    known = {
        image.numpy().tobytes(): int(n) for image, n in zip(train.images, train.labels, strict=True)
    }
    assert [known[image.numpy().tobytes()] for image in sketch.images] == sketch.labels.tolist()
    assert data.sketch(6) is train and data.sketch(24) is train


def test_the_same_data_opened_twice_are_decoded_once(
    folder: Path, decoded: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    train = open_data(DataConfig(str(folder))).train
    assert open_data(str(folder)).train is train
    assert open_data(open_data(str(folder))).train is train
    assert decoded() == 1
    assert open_data(DataConfig(str(folder), limit=9)).images == 9
    assert open_data(str(folder)).train is not train  # only the last stays
    assert decoded() == 1
    write_images(folder, {"dog": 10})
    assert len(open_data(str(folder)).classes) == 4
    monkeypatch.chdir(folder.parent)
    assert len(open_data("animals").classes) == 4
    write_images(folder.parent / "other" / "animals", {"ant": 5, "bee": 5})
    monkeypatch.chdir("other")
    assert len(open_data("animals").classes) == 2


def test_pickled_data_are_opened_again_without_their_images(
    folder: Path, decoded: Callable[[], int]
) -> None:
    data = open_data(str(folder))
    assert len(data.train) == 24
    sent = pickle.dumps(data)
    assert len(sent) < 1000
    assert pickle.loads(sent) is data  # in the same process
    decoded()
    opened._last = None  # as in another
    first, second = pickle.loads(sent), pickle.loads(sent)
    assert torch.equal(first.train.images, data.train.images)
    assert second.train is first.train
    assert decoded() == 1
    handed = open_data((grey(30), [0, 1, 2] * 10))
    opened._last = None
    assert torch.equal(pickle.loads(pickle.dumps(handed)).train.images, handed.train.images)


def test_counts_are_known_before_decoding(folder: Path, tmp_path: Path) -> None:
    assert open_data("digits").images == round(1797 * 0.8)
    assert open_data(DataConfig("digits", limit=100)).images == 100
    write_images(tmp_path / "given" / "train", {"a": 4, "b": 5})
    write_images(tmp_path / "given" / "test", {"a": 2, "b": 1})
    assert open_data(str(tmp_path / "given")).images == 9
    write_images(tmp_path / "few", {"a": 5, "b": 2})
    with pytest.raises(EdartsError, match="class 'b' has 2 images"):
        open_data(str(tmp_path / "few"))
