"""Parquet in the Hugging Face layout."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from edarts import DataConfig, EdartsError, load
from edarts.data.sources import open_catalogue
from edarts.data.sources import parquet as source
from support import IMAGE, class_label, counts, described, parquet_bytes, png, table


def test_parquet_file_folder_and_labels_out_of_range(tmp_path: Path) -> None:
    write(tmp_path / "train-00000-of-00001.parquet", table(15, ["x", "y", "z"]))
    alone = load(str(tmp_path / "train-00000-of-00001.parquet"))
    assert len(alone) == 12
    write(tmp_path / "test-00000-of-00001.parquet", table(6, ["x", "y", "z"]))
    assert len(load(str(tmp_path))) == 15
    assert len(load(str(tmp_path), "test")) == 6
    assert alone.classes == ("x", "y", "z")
    assert alone.shape == (3, 9, 10)
    bad = tmp_path / "other.parquet"
    write(bad, table(15, ["x", "y", "z"], first_label=-1))
    with pytest.raises(EdartsError, match=r"label -1 of image 0 is out of range 0\.\.2"):
        load(str(bad))
    with pytest.raises(EdartsError, match="no label column kind"):
        load(DataConfig.of(str(bad), label_column="kind"))
    bad.write_bytes(b"PAR1 but not really")
    with pytest.raises(EdartsError, match=r"other\.parquet: cannot be read as parquet"):
        load(str(bad))


def test_a_label_column_by_name(tmp_path: Path) -> None:
    made = table(15, ["x", "y", "z"]).rename_columns(["img", "kind"])
    path = write(tmp_path / "kinds.parquet", made)
    with pytest.raises(EdartsError, match="no label column label, labels, fine_label"):
        load(path)
    assert len(load(DataConfig.of(path, label_column="kind"))) == 12


def test_cifar10(cifar10: Path) -> None:
    train = load(DataConfig(str(cifar10), limit=500))
    assert train.shape == (3, 32, 32)
    assert len(train.classes) == 10
    assert counts(train.labels) == [50] * 10
    assert train.flip


def write(path: Path, made: Any, **options: Any) -> str:
    path.write_bytes(parquet_bytes(made, **options))
    return str(path)


def grey(level: int) -> dict[str, Any]:
    return png(Image.new("L", (8, 8), level))


def levels(labels: list[int], names: list[str]) -> Any:
    """Images whose grey level tells the class, its labels counted in `names`."""
    known = {"x": 20, "y": 120, "z": 220}
    images = [grey(known[names[label]] if label >= 0 else 0) for label in labels]
    kinds = {"image": IMAGE} | ({"label": class_label(names)} if min(labels) >= 0 else {})
    return described({"image": images, "label": labels}, kinds)


def test_labels_follow_their_names(tmp_path: Path) -> None:
    """The test split names its classes in another order, and has fewer."""
    write(tmp_path / "train-0.parquet", levels([0, 1, 2] * 4, ["x", "y", "z"]))
    write(tmp_path / "test-0.parquet", levels([0, 1, 1, 0], ["z", "x"]))
    train, test = load(str(tmp_path)), load(str(tmp_path), "test")
    assert train.classes == test.classes == ("x", "y", "z")
    level = {int(y): int(x.max()) for x, y in zip(train.images, train.labels, strict=True)}
    assert test.labels.tolist() == [2, 0, 0, 2]
    for image, label in zip(test.images, test.labels, strict=True):
        assert int(image.max()) == level[int(label)]


def test_a_class_that_only_the_test_split_has_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "train-0.parquet", levels([0, 1] * 4, ["x", "y"]))
    write(tmp_path / "test-0.parquet", levels([0, 1], ["x", "z"]))
    with pytest.raises(EdartsError, match=r"test split\): column label: label z is out of range"):
        load(str(tmp_path), "test")


def test_a_test_split_without_labels_is_left_out(tmp_path: Path) -> None:
    write(tmp_path / "train-0.parquet", levels([0, 1] * 6, ["x", "y"]))
    write(tmp_path / "test-0.parquet", levels([-1, -1], ["x", "y"]))
    train = load(str(tmp_path))
    assert len(train) == 10  # a fifth of each class is cut off
    assert any("(test split) has no labels: left out; `edarts predict`" in n for n in train.notes)


def test_which_column_holds_the_images(tmp_path: Path) -> None:
    """Not a mask that stands before it; of two that have no usual name none is guessed."""
    columns = {
        "mask": [grey(255)] * 12,
        "image": [grey(20), grey(120)] * 6,
        "label": [0, 1] * 6,
    }
    kinds = {"mask": IMAGE, "image": IMAGE, "label": class_label(["x", "y"])}
    made = described(columns, kinds)
    path = tmp_path / "train.parquet"
    write(path, made)
    assert set(load(str(path)).images.unique().tolist()) == {20, 120}
    chosen = load(DataConfig.of(str(path), image_column="mask"))
    assert chosen.images.unique().tolist() == [255]
    write(path, made.rename_columns(["mask", "photo", "label"]))
    with pytest.raises(
        EdartsError, match="2 image columns, mask, photo; name one with --image-col"
    ):
        load(str(path))
    with pytest.raises(EdartsError, match="no image column foto among mask, photo, label"):
        load(DataConfig.of(str(path), image_column="foto"))


def test_files_of_images_as_plain_bytes(tmp_path: Path) -> None:
    images = [grey(20)["bytes"], grey(120)["bytes"]] * 6
    made = pa.table({"image": images, "label": [0, 1] * 6})
    train = load(write(tmp_path / "train.parquet", made))
    assert set(train.images.unique().tolist()) == {20, 120} and train.classes == ("0", "1")


@pytest.mark.parametrize("described_as", [IMAGE, None])
def test_images_by_their_paths(tmp_path: Path, described_as: Any) -> None:
    """Alone, where the metadata call them images; or beside bytes that are not there."""
    paths = []
    for level in (20, 120):
        Image.new("L", (8, 8), level).save(tmp_path / f"{level}.png")
        paths.append(str(tmp_path / f"{level}.png"))
    images: list[Any] = paths * 6
    if described_as is None:
        images = [{"bytes": None, "path": path} for path in images]
    made = pa.table({"image": images, "label": ["x", "y"] * 6})
    if described_as:
        info = {"info": {"features": {"image": described_as}}}
        made = made.replace_schema_metadata({"huggingface": json.dumps(info)})
    train = load(write(tmp_path / "train.parquet", made))
    assert set(train.images.unique().tolist()) == {20, 120} and train.classes == ("x", "y")


@pytest.mark.parametrize("path", ["{elsewhere}/x.png", "../elsewhere/x.png", "a/../../x.png"])
def test_paths_that_lead_out_of_the_folder(tmp_path: Path, path: str) -> None:
    """A table that came from others does not choose among the files of whoever reads it."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    Image.new("L", (8, 8), 20).save(elsewhere / "x.png")
    images = [{"bytes": None, "path": path.format(elsewhere=elsewhere)}] * 12
    (tmp_path / "data").mkdir()
    file = write(
        tmp_path / "data" / "train.parquet", pa.table({"image": images, "label": [0, 1] * 6})
    )
    with pytest.raises(
        EdartsError, match=r"train\.parquet: row 0: names .*x\.png, which is not in "
    ):
        load(file)


def test_paths_within_the_folder(tmp_path: Path) -> None:
    """Wherever the command is given."""
    (tmp_path / "images").mkdir()
    for level in (20, 120):
        Image.new("L", (8, 8), level).save(tmp_path / "images" / f"{level}.png")
    images = [{"bytes": None, "path": f"images/{level}.png"} for level in (20, 120)] * 6
    made = pa.table({"image": images, "label": ["x", "y"] * 6})
    train = load(write(tmp_path / "train.parquet", made))
    assert set(train.images.unique().tolist()) == {20, 120}


@pytest.mark.parametrize("options", [{"row_group_size": 7}, {}, {"compression": "zstd"}])
def test_a_few_rows_are_in_memory_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    """In whichever order they are asked for, each row is the right one, also across files."""
    made = table(60, ["x", "y", "z"])
    for n, part in enumerate((made[:23], made[23:])):
        write(tmp_path / f"train-{n}.parquet", part, **options)
    monkeypatch.setattr(source, "BATCH", 700)
    catalogue = open_catalogue(DataConfig(str(tmp_path)))
    shown = made.column("img").to_pylist()
    for order in (range(60), np.random.default_rng(0).permutation(60)):
        for row in order:
            assert catalogue.items[row].data == shown[row]["bytes"]
            assert catalogue.items[row].name == f"{tmp_path}: row {row}"
            assert len(catalogue.items.scalars.batch) < 10  # type: ignore[union-attr]


def test_class_names_that_differ_between_the_files_of_a_split(tmp_path: Path) -> None:
    write(tmp_path / "train-0.parquet", levels([0, 1] * 6, ["x", "y"]))
    write(tmp_path / "train-1.parquet", levels([0, 1] * 6, ["y", "x"]))
    with pytest.raises(EdartsError, match=r"train-1\.parquet: its columns or the names of its"):
        load(str(tmp_path))


def test_labels_that_are_missing_or_no_labels(tmp_path: Path) -> None:
    images = [grey(20)] * 4
    for labels, words in (
        ([0, 1, None, 1], "column label: row 2: no label"),
        ([[0], [1], [0, 1], [1]], "column label: lists of several lengths; give one label per im"),
        ([{"a": 1}] * 4, "column label: labels of type object; give whole numbers or text"),
    ):
        path = write(tmp_path / "train.parquet", pa.table({"image": images, "label": labels}))
        with pytest.raises(EdartsError, match=words):
            load(path)
    write(tmp_path / "train.parquet", levels([0, 1] * 6, ["x", "y"]))
    blank = pa.table({"image": images, "label": pa.array([None] * 4, pa.int64())})
    write(tmp_path / "test.parquet", blank)
    assert any("(test split) has no labels: left out" in note for note in load(str(tmp_path)).notes)


def test_labels_of_other_types(tmp_path: Path) -> None:
    images = [grey(20), grey(120)] * 6
    for labels in (
        pa.array(["x", "y"] * 6).dictionary_encode(),
        pa.array(["x", "y"] * 6, pa.large_string()),
        pa.array([[0], [1]] * 6),
        pa.array([0, 1] * 6, pa.uint8()),
        pa.array([0.0, 1.0] * 6),
        pa.array([False, True] * 6),
    ):
        made = pa.table({"image": images, "label": labels})
        train = load(write(tmp_path / "train.parquet", made))
        assert len(train.classes) == 2
        for image, label in zip(train.images, train.labels, strict=True):
            assert int(image.max()) == (20, 120)[int(label)]


def test_what_is_damaged_is_named_once(tmp_path: Path) -> None:
    """The page of some images, after which nothing can be read; or the description."""
    path = tmp_path / "train.parquet"
    made = table(60, ["x", "y", "z"])
    content = bytearray(parquet_bytes(made, use_dictionary=False))
    content[4:24] = bytes(20)  # the head of the first page
    path.write_bytes(content)
    for options in ({}, {"skip_bad": True}):
        with pytest.raises(EdartsError, match=r"train\.parquet: cannot be read as parquet: ") as e:
            load(DataConfig(str(path), **options))  # type: ignore[arg-type]
        assert "\n" not in str(e.value)
    made = made.replace_schema_metadata({"huggingface": "{"})
    with pytest.raises(EdartsError, match=r"train\.parquet: cannot be read as parquet: "):
        load(write(path, made))


def test_a_file_that_changes_while_it_is_open(tmp_path: Path) -> None:
    path = write(tmp_path / "train.parquet", table(30))
    catalogue = open_catalogue(DataConfig(path))
    write(tmp_path / "train.parquet", table(20))
    with pytest.raises(EdartsError, match=r"train\.parquet: has changed while it was in use"):
        catalogue.items[25]
