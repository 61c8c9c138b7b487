"""Images and labels handed in from Python: known by their content, split as all data are."""

import pickle
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from edarts import DataConfig, Dataset, EdartsError, UsageError, load
from edarts.data import open_data
from support import counts, grey, table

LABELS = np.arange(30) % 3


def test_arrays_of_numpy_and_torch_are_the_same_data() -> None:
    handed = open_data((grey(30), LABELS))
    train, test = handed.train, handed.test
    assert counts(train.labels) == [8, 8, 8] and counts(test.labels) == [2, 2, 2]
    assert train.shape == (1, 8, 8)
    assert not train.flip
    together = torch.cat([train.images, test.images]).flatten(1).numpy()
    assert np.array_equal(np.unique(together, axis=0), np.unique(grey(30).reshape(30, 64), axis=0))
    of_torch = open_data((torch.from_numpy(grey(30))[:, None], torch.from_numpy(LABELS)))
    assert of_torch.config == handed.config
    assert torch.equal(load((grey(30), LABELS)).images, train.images)


def test_text_labels_and_floats_become_classes_and_pixels() -> None:
    colour = torch.rand(30, 3, 8, 9)
    names = np.array(["ant", "bee", "cat"])[LABELS]
    for labels in (names, list(names), names.astype(object)):
        train = load((colour, labels))
        assert train.classes == ("ant", "bee", "cat")
        assert train.shape == (3, 8, 9)
        assert train.flip


def test_the_fingerprint_is_the_content() -> None:
    def name(images: Any = None, labels: Any = LABELS) -> str:
        return open_data((grey(30) if images is None else images, labels)).config.data

    assert name() == name(grey(30).copy(), list(LABELS))
    # Written down, so that a run of today is found again tomorrow and on another machine.
    assert name() == "arrays sha256:9a1679620b032b07"
    other = grey(30)
    other[7, 3, 2] ^= 1
    names = {name(), name(other), name(labels=np.roll(LABELS, 1)), name(labels=LABELS + 1)}
    names.add(name(grey(30).reshape(30, 4, 16).repeat(2, axis=1)))
    assert len(names) == 5


def test_a_config_holds_arrays_and_the_options_of_all_data() -> None:
    config = DataConfig.of((grey(30), LABELS), limit=12)
    assert config == DataConfig.of((grey(30), LABELS), limit=12)
    assert counts(load(config).labels) == [4, 4, 4]
    assert counts(load(replace(config, limit=6)).labels) == [2, 2, 2]
    assert counts(load(pickle.loads(pickle.dumps(config))).labels) == [4, 4, 4]
    assert len(load(replace(config, data="digits", limit=None))) > 1000
    assert "handed_in" not in config.to_settings()
    assert "handed_in" not in repr(config)


def test_the_name_alone_opens_nothing() -> None:
    settings = DataConfig.of((grey(30), LABELS)).to_settings()
    with pytest.raises(EdartsError, match=r"^arrays sha256:\w{16}: .* give the data again$"):
        load(DataConfig.from_settings(settings))
    again = DataConfig.from_settings(settings | {"data": (grey(30), LABELS)})
    assert again.to_settings() == settings
    assert len(load(again)) == 24


def test_a_dataset_keeps_its_classes_name_and_flip() -> None:
    images = torch.from_numpy(grey(30))[..., None]
    data = Dataset(images, torch.from_numpy(LABELS), ("a", "b", "c"), "mine", ("a note",), True)
    handed = open_data(data)
    assert (handed.name, handed.classes, handed.images) == ("mine", ("a", "b", "c"), 24)
    assert handed.train.flip
    assert not open_data(DataConfig.of(data, flip=False)).train.flip
    assert handed.train.notes == ("a note", "no test split given: 6 of 30 images cut off")
    assert handed.config.data.startswith("dataset sha256:")
    for other in (replace(data, flip=False), replace(data, classes=("a", "b", "d"))):
        assert open_data(other).config != handed.config


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((grey(12), LABELS), r"\(X, y\): 12 images but 30 labels"),
        ((grey(30) * np.nan, LABELS), "X: NaN or infinite value in image 0"),
        ((grey(30), LABELS / 2), "y: labels are not whole numbers"),
        ((grey(30), np.zeros(30)), "only one class"),
        (([[1, 2], [3]], [0, 1]), "X: no array"),
        ((grey(30), [None] * 30), "y: labels of type object"),
        (grey(30), r"data of type ndarray: item 0 is no \(image, label\); give a text"),
        (None, "data of type NoneType"),
    ],
)
def test_one_line_for_what_is_wrong(data: Any, message: str) -> None:
    with pytest.raises(EdartsError, match=message) as caught:
        load(data)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, UsageError) == ("data of type" in message)


class Pairs:
    """As torch's datasets are: (image, label) for an index."""

    def __init__(self, images: Any, labels: Any, classes: Any = None) -> None:
        self.images, self.marks, self.classes = images, labels, classes

    def __len__(self) -> int:
        return len(self.marks)

    def __getitem__(self, index: int) -> Any:
        return self.images[index], self.marks[index]


@pytest.mark.parametrize("form", ["pil", "tensor", "array"])
def test_a_dataset_of_torch(form: str) -> None:
    pixels, labels = grey(12), [index % 3 for index in range(12)]
    images = {
        "pil": [Image.fromarray(image) for image in pixels],
        "tensor": [torch.from_numpy(image.copy()).float()[None] / 255 for image in pixels],
        "array": list(pixels),
    }[form]
    train = load(DataConfig(Pairs(images, labels, ["x", "y", "z"])))  # type: ignore[arg-type]
    assert train.classes == ("x", "y", "z") and train.shape == (1, 8, 8)
    plain = load((pixels, labels))
    assert torch.equal(train.images, plain.images) and torch.equal(train.labels, plain.labels)


class Stored:
    """As a datasets.Dataset is: its features have a schema of Arrow, its rows come as a table."""

    def __init__(self, rows: Any) -> None:
        self.rows, self.features = rows, SimpleNamespace(arrow_schema=rows.schema)

    def __len__(self) -> int:
        return len(self.rows)

    def with_format(self, form: str, columns: list[str]) -> Any:
        assert form == "arrow"
        return Stored(self.rows.select(columns))

    def __getitem__(self, index: slice) -> Any:
        assert index == slice(None)
        return self.rows


Stored.__module__ = "datasets.arrow_dataset"


@pytest.mark.parametrize("real", [False, True])
def test_a_dataset_of_hugging_face(real: bool) -> None:
    """Also a DatasetDict; both without that package, and with it where it is installed."""
    make: Any = Stored
    both: Any = type("DatasetDict", (dict,), {"__module__": "datasets.dataset_dict"})
    if real:
        datasets = pytest.importorskip("datasets")
        make, both = datasets.Dataset, datasets.DatasetDict
    whole = make(table(15, ["x", "y", "z"]))
    train = load(whole)
    assert train.classes == ("x", "y", "z") and train.shape == (3, 9, 10) and len(train) == 12
    pair = both({"train": whole, "test": make(table(6, ["x", "y", "z"]))})
    assert (len(load(pair)), len(load(pair, "test"))) == (15, 6)
    given = (whole, pair, make(table(14, ["x", "y", "z"])))
    names = {DataConfig(one).data for one in given}  # type: ignore[arg-type]
    assert len(names) == 3 and all(name.startswith("dataset sha256:") for name in names)


def test_a_stream_of_hugging_face_is_refused() -> None:
    stream = type("IterableDataset", (), {"__module__": "datasets.iterable_dataset"})()
    with pytest.raises(UsageError, match="data of type IterableDataset, a stream; give a Dataset"):
        load(stream)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (Pairs([grey(1)[0], np.zeros((4, 4), np.uint8)] * 6, [0, 1] * 6), "images of 2 sizes"),
        ([1, 2, 3], "item 0 is no \\(image, label\\)"),
        (3, "data of type int; give a text"),
    ],
)
def test_datasets_that_are_none(data: Any, words: str) -> None:
    with pytest.raises(EdartsError, match=words):
        load(data)
