"""The hub, by a stand-in: no test needs the network."""

import io

import datasets
import numpy as np
import pytest
from PIL import ExifTags, Image

from edarts import EdartsError, load
from support import table


def test_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = {"train": table(15), "test": table(6)}
    monkeypatch.setattr(datasets, "load_dataset", lambda name: hub)
    assert len(load("hf:someone/something")) == 15
    assert len(load("hf:someone/something", "test")) == 6

    def fail(name: str) -> None:
        raise ConnectionError(f"no route to\n{name}")

    monkeypatch.setattr(datasets, "load_dataset", fail)
    with pytest.raises(EdartsError, match="hf:a/b: cannot be loaded: no route to a/b"):
        load("hf:a/b")


def stored(labels: list[int], names: list[str], orientation: int = 1) -> datasets.Dataset:
    """Images whose left half is bright where the class is x, as an upright viewer sees them."""
    images = []
    for label in labels:
        pixels = np.full((16, 24), 60, dtype=np.uint8)
        if names[label] == "x":
            pixels[:, :12] = 200
        image, file = Image.fromarray(pixels), io.BytesIO()
        if orientation == 6:  # the camera lay on its side: what it wrote has to be turned right
            image = image.transpose(Image.Transpose.ROTATE_90)
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        image.save(file, "PNG", exif=exif)
        images.append({"bytes": file.getvalue(), "path": None})
    kinds = {"image": datasets.Image(), "label": datasets.ClassLabel(names=names)}
    columns = {"image": images, "label": labels}
    return datasets.Dataset.from_dict(columns, features=datasets.Features(kinds))


def test_labels_follow_their_names_and_images_stand_upright(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The test split names its classes in another order, and its pictures lie on their side."""
    hub = {
        "train": stored([0, 1] * 6, ["x", "y"]),
        "validation": stored([0, 1, 1], ["y", "x"], orientation=6),
    }
    monkeypatch.setattr(datasets, "load_dataset", lambda name: hub)
    train, test = load("hf:someone/something"), load("hf:someone/something", "test")
    assert train.classes == test.classes == ("x", "y")
    assert test.labels.tolist() == [1, 0, 0]
    assert test.shape == train.shape == (1, 16, 24)
    for data in (train, test):
        for image, label in zip(data.images, data.labels, strict=True):
            assert bool(image[:, :12].float().mean() > 150) is (int(label) == 0)
            assert float(image[:, 12:].float().mean()) == 60


def test_a_test_split_without_labels_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    blind = stored([0, 1], ["x", "y"]).cast_column("label", datasets.Value("int64"))
    hub = {
        "train": stored([0, 1] * 6, ["x", "y"]),
        "test": blind.map(lambda row: {"label": -1}),
    }
    monkeypatch.setattr(datasets, "load_dataset", lambda name: hub)
    train = load("hf:someone/something")
    assert len(train) == 10
    assert any("has no labels: left out" in note for note in train.notes)
