"""Parquet in the Hugging Face layout."""

import io
from pathlib import Path

import datasets
import pytest
from PIL import Image

from edarts import DataConfig, EdartsError, load
from support import counts, table


def test_parquet_file_folder_and_labels_out_of_range(tmp_path: Path) -> None:
    table(15, ["x", "y", "z"]).to_parquet(tmp_path / "train-00000-of-00001.parquet")
    alone = load(str(tmp_path / "train-00000-of-00001.parquet"))
    assert len(alone) == 12
    table(6, ["x", "y", "z"]).to_parquet(tmp_path / "test-00000-of-00001.parquet")
    assert len(load(str(tmp_path))) == 15
    assert len(load(str(tmp_path), "test")) == 6
    assert alone.classes == ("x", "y", "z")
    assert alone.shape == (3, 9, 10)
    bad = tmp_path / "other.parquet"
    table(15, ["x", "y", "z"], first_label=-1).to_parquet(bad)
    with pytest.raises(EdartsError, match=r"label -1 of image 0 is out of range 0\.\.2"):
        load(str(bad))
    with pytest.raises(EdartsError, match="no label column kind"):
        load(DataConfig.of(str(bad), label_column="kind"))
    bad.write_bytes(b"PAR1 but not really")
    with pytest.raises(EdartsError, match=r"other\.parquet: cannot be read as parquet"):
        load(str(bad))


def test_a_label_column_by_name(tmp_path: Path) -> None:
    path = str(tmp_path / "kinds.parquet")
    table(15, ["x", "y", "z"]).rename_column("label", "kind").to_parquet(path)
    with pytest.raises(EdartsError, match="no label column label, labels, fine_label"):
        load(path)
    assert len(load(DataConfig.of(path, label_column="kind"))) == 12


def test_cifar10(cifar10: Path) -> None:
    train = load(DataConfig(str(cifar10), limit=500))
    assert train.shape == (3, 32, 32)
    assert len(train.classes) == 10
    assert counts(train.labels) == [50] * 10
    assert train.flip


def parquet(path: Path, labels: list[int], names: list[str], **more: object) -> None:
    """Images whose grey level tells the class, its labels counted in `names`."""
    levels = {"x": 20, "y": 120, "z": 220}
    image = [png(levels[names[label]] if label >= 0 else 0) for label in labels]
    columns = {"image": image, "label": labels} | more
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=names)}
        | {name: datasets.Image() for name in more}
    )
    made = datasets.Dataset.from_dict(columns)
    if min(labels) < 0:
        made.cast_column("image", datasets.Image()).to_parquet(path)
    else:
        made.cast(features).to_parquet(path)


def png(level: int) -> dict[str, object]:
    file = io.BytesIO()
    Image.new("L", (8, 8), level).save(file, "png")
    return {"bytes": file.getvalue(), "path": None}


def test_labels_follow_their_names(tmp_path: Path) -> None:
    """The test split names its classes in another order, and has fewer."""
    parquet(tmp_path / "train-0.parquet", [0, 1, 2] * 4, ["x", "y", "z"])
    parquet(tmp_path / "test-0.parquet", [0, 1, 1, 0], ["z", "x"])
    train, test = load(str(tmp_path)), load(str(tmp_path), "test")
    assert train.classes == test.classes == ("x", "y", "z")
    level = {int(y): int(x.max()) for x, y in zip(train.images, train.labels, strict=True)}
    assert test.labels.tolist() == [2, 0, 0, 2]
    for image, label in zip(test.images, test.labels, strict=True):
        assert int(image.max()) == level[int(label)]


def test_a_class_that_only_the_test_split_has_is_refused(tmp_path: Path) -> None:
    parquet(tmp_path / "train-0.parquet", [0, 1] * 4, ["x", "y"])
    parquet(tmp_path / "test-0.parquet", [0, 1], ["x", "z"])
    with pytest.raises(EdartsError, match=r"test split\): column label: label z is out of range"):
        load(str(tmp_path), "test")


def test_a_test_split_without_labels_is_left_out(tmp_path: Path) -> None:
    parquet(tmp_path / "train-0.parquet", [0, 1] * 6, ["x", "y"])
    parquet(tmp_path / "test-0.parquet", [-1, -1], ["x", "y"])
    train = load(str(tmp_path))
    assert len(train) == 10  # a fifth of each class is cut off
    assert any("(test split) has no labels: left out; `edarts predict`" in n for n in train.notes)


def test_which_column_holds_the_images(tmp_path: Path) -> None:
    """Not a mask that stands before it; of two that have no usual name none is guessed."""
    masks, path = [png(255)] * 12, tmp_path / "train.parquet"
    labels = [0, 1] * 6
    features = {
        "mask": datasets.Image(),
        "image": datasets.Image(),
        "label": datasets.ClassLabel(names=["x", "y"]),
    }
    images = [png(20 if label == 0 else 120) for label in labels]
    made = datasets.Dataset.from_dict({"mask": masks, "image": images, "label": labels})
    made = made.cast(datasets.Features(features))
    made.to_parquet(path)
    assert set(load(str(path)).images.unique().tolist()) == {20, 120}
    chosen = load(DataConfig.of(str(path), image_column="mask"))
    assert chosen.images.unique().tolist() == [255]
    made.rename_column("image", "photo").to_parquet(path)
    with pytest.raises(
        EdartsError, match="2 image columns, mask, photo; name one with --image-col"
    ):
        load(str(path))
    with pytest.raises(EdartsError, match="no image column foto among mask, photo, label"):
        load(DataConfig.of(str(path), image_column="foto"))


def test_files_of_images_as_plain_bytes(tmp_path: Path) -> None:
    labels = [0, 1] * 6
    images = [png(20 if label == 0 else 120)["bytes"] for label in labels]
    made = datasets.Dataset.from_dict({"image": images, "label": labels})
    made.to_parquet(tmp_path / "train.parquet")
    train = load(str(tmp_path / "train.parquet"))
    assert set(train.images.unique().tolist()) == {20, 120} and train.classes == ("0", "1")
