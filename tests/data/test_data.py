"""Any data in one argument; splits; augmentation; one line for each thing that can be wrong."""

import io
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from edarts import DataConfig, EdartsError, load
from edarts.data.data import Loader, Transform, stratified_split
from support import write_images


def counts(labels: torch.Tensor) -> list[int]:
    return [int(n) for n in labels.bincount()]


def save_npz(path: Path, **arrays: Any) -> str:
    np.savez(path, **arrays)
    return str(path)


def grey(count: int) -> Any:
    return np.arange(count * 64, dtype=np.uint8).reshape(count, 8, 8)


def table(count: int, names: list[str] | None = None, first_label: int = 0) -> datasets.Dataset:
    images = []
    for index in range(count):
        buffer = io.BytesIO()
        Image.new("RGB", (10, 9), (index, 50, 90)).save(buffer, "PNG")
        images.append({"bytes": buffer.getvalue(), "path": None})
    labels = [first_label if i == 0 else i % 3 for i in range(count)]
    kind = datasets.ClassLabel(names=names) if names else datasets.Value("int64")
    features = datasets.Features({"img": datasets.Image(), "label": kind})
    return datasets.Dataset.from_dict({"img": images, "label": labels}, features=features)


def test_digits() -> None:
    train, test = load("digits"), load("digits", "test")
    assert train.shape == (1, 8, 8)
    assert len(train) + len(test) == 1797
    assert train.images.dtype == torch.uint8
    assert not train.flip
    assert int(train.images.max()) == 255


def test_splits_are_seeded_stratified_disjoint() -> None:
    labels = np.repeat([0, 1, 2], [50, 10, 3])
    rest, part = stratified_split(labels, 0.2, seed=1)
    assert np.array_equal(np.sort(np.concatenate([rest, part])), np.arange(63))
    assert np.bincount(labels[part]).tolist() == [10, 2, 1]
    assert np.array_equal(part, stratified_split(labels, 0.2, seed=1)[1])
    assert not np.array_equal(part, stratified_split(labels, 0.2, seed=2)[1])


def test_folder_without_and_with_splits(folder: Path, tmp_path: Path) -> None:
    train, test = load(str(folder)), load(str(folder), "test")
    assert train.classes == ("ant", "bee", "cat")
    assert train.shape == (3, 10, 12)
    assert counts(train.labels) == [8, 8, 8]
    assert counts(test.labels) == [2, 2, 2]
    pixels = [set(map(tuple, d.images.flatten(1).tolist())) for d in (train, test)]
    assert not pixels[0] & pixels[1]
    root = tmp_path / "given"
    write_images(root / "train", {"a": 4, "b": 5})
    write_images(root / "test", {"a": 2, "b": 1}, seed=1)
    assert counts(load(str(root)).labels) == [4, 5]
    assert counts(load(str(root), "test").labels) == [2, 1]


def test_mixed_sizes_and_channels_are_made_one(folder: Path) -> None:
    for index in range(3):
        Image.new("L", (40, 30)).save(folder / "ant" / f"grey{index}.png")
    train = load(str(folder))
    assert train.shape == (3, 10, 12)
    assert any("2 sizes" in note for note in train.notes)
    assert load(DataConfig(str(folder), image_size=16)).shape == (3, 16, 16)


def test_large_images_are_shrunk(tmp_path: Path) -> None:
    root = write_images(tmp_path / "big", {"a": 4, "b": 4}, size=(512, 256))
    train = load(str(root))
    assert train.shape == (3, 128, 256)
    assert any("larger than 256" in note for note in train.notes)


def test_png_modes(tmp_path: Path) -> None:
    for mode, channels in (("L", 1), ("LA", 2), ("RGB", 3), ("RGBA", 4), ("1", 1), ("I;16", 1)):
        for name in "ab":
            place = tmp_path / mode.replace(";", "") / name
            place.mkdir(parents=True)
            for index in range(3):
                Image.new(mode, (8, 8)).save(place / f"{index}.png")
        assert load(str(tmp_path / mode.replace(";", ""))).shape == (channels, 8, 8)


@pytest.mark.parametrize(
    "keys",
    [
        ("x_train", "y_train", "x_test", "y_test"),
        ("train_images", "train_labels", "test_images", "test_labels"),
    ],
)
def test_npz_with_test(tmp_path: Path, keys: tuple[str, ...]) -> None:
    labels = np.arange(12) % 3
    arrays = dict(zip(keys, (grey(12), labels[:, None], grey(3), np.arange(3)), strict=True))
    path = save_npz(tmp_path / "a.npz", **arrays)
    assert len(load(path)) == 12
    assert len(load(path, "test")) == 3


def test_npz_layouts(tmp_path: Path) -> None:
    labels = np.arange(12) % 3
    first = save_npz(tmp_path / "b.npz", images=np.random.rand(12, 3, 8, 9), labels=labels)
    assert load(first).shape == (3, 8, 9)
    text = np.array(["cat", "dog", "eel"])[labels]
    second = save_npz(tmp_path / "c.npz", images=np.random.rand(12, 8, 9, 4), labels=text)
    assert load(second).classes == ("cat", "dog", "eel")
    assert load(second).shape == (4, 8, 9)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": grey(12), "labels": np.arange(12) % 3 - 1}, "label -1 at index 0 is below 0"),
        ({"images": grey(12), "labels": np.arange(11) % 3}, "12 images but 11 labels"),
        ({"images": grey(12), "labels": np.zeros(12, int)}, "only one class"),
        ({"images": grey(12) * np.nan, "labels": np.arange(12) % 3}, "NaN or infinite value in"),
        ({"images": grey(12) * 9.0, "labels": np.arange(12) % 3}, "scale them to 0..255"),
        ({"images": grey(12)[:, 0], "labels": np.arange(12) % 3}, "images are"),
        ({"images": grey(12), "labels": [0] * 5 + [1] * 5 + [2] * 2}, "class '2' has 2 images"),
        ({"images": np.array([{}] * 4), "labels": np.arange(4)}, "cannot be read as .npz"),
        ({"pictures": grey(3)}, "has the arrays pictures"),
        (
            {
                "images": grey(6),
                "labels": np.arange(6) % 2,
                "test_images": grey(1),
                "test_labels": [7],
            },
            "label 7 is out of range",
        ),
        (
            {"images": grey(6), "labels": np.arange(6), "classes": np.array(["a", "b"])},
            r"label 2 of image 2 is out of range 0\.\.1",
        ),
    ],
)
def test_npz_errors(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(EdartsError, match=message):
        load(save_npz(tmp_path / "bad.npz", **arrays))


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
        load(DataConfig(str(bad), label_column="kind"))
    bad.write_bytes(b"PAR1 but not really")
    with pytest.raises(EdartsError, match=r"other\.parquet: cannot be read as parquet"):
        load(str(bad))


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


def test_bad_files_are_named_counted_and_skipped(folder: Path) -> None:
    whole = (folder / "ant" / "3.png").read_bytes()
    (folder / "ant" / "3.png").write_bytes(whole[: len(whole) // 2])
    (folder / "bee" / "notes.txt").write_text("hello")
    config = DataConfig(str(folder), test_fraction=0.01)
    with pytest.raises(
        EdartsError, match=r"(3\.png|notes\.txt).*and 1 more such files.*--skip-bad"
    ):
        load(config)
    skipping = DataConfig(str(folder), test_fraction=0.01, skip_bad=True)
    train = load(skipping)
    assert any("skipped 2 unreadable" in note for note in train.notes)
    assert len(train) + len(load(skipping, "test")) == 30 - 1


@pytest.mark.parametrize("case", ["missing", "empty", "one", "few", "empty class", "kind"])
def test_folder_errors(tmp_path: Path, case: str) -> None:
    root = tmp_path / "data"
    messages = {
        "missing": "no such file or folder",
        "empty": "no class folders",
        "one": "only one class",
        "few": "class 'b' has 2 images",
        "empty class": "empty folder",
        "kind": "'.txt' cannot be read",
    }
    if case == "empty":
        root.mkdir()
    elif case == "one":
        write_images(root, {"a": 5})
    elif case == "few":
        write_images(root, {"a": 5, "b": 2})
    elif case == "empty class":
        write_images(root, {"a": 5})
        (root / "b").mkdir()
    elif case == "kind":
        root = tmp_path / "data.txt"
        root.write_text("x")
    with pytest.raises(EdartsError, match=messages[case]) as caught:
        load(str(root))
    assert "data" in str(caught.value) or case == "few"
    assert "\n" not in str(caught.value)


def test_too_many_classes(tmp_path: Path) -> None:
    labels = np.arange(3003) % 1001
    path = save_npz(tmp_path / "m.npz", images=np.zeros((3003, 8, 8), np.uint8), labels=labels)
    with pytest.raises(EdartsError, match="1001 classes"):
        load(path)


def test_test_limit_keeps_the_shares_and_the_training_images() -> None:
    limited, whole = DataConfig("digits", test_limit=100), DataConfig("digits")
    part = load(limited, "test")
    assert len(part) == 100 and int(part.labels.bincount().min()) >= 9
    assert "limited to 100 test images" in part.notes
    assert torch.equal(load(limited).images, load(whole).images)


def test_limit_keeps_the_shares() -> None:
    part = load(DataConfig("digits", limit=200))
    assert 190 <= len(part) <= 210
    assert min(counts(part.labels)) >= 18


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
    white = torch.full((300, 16, 16, 1), 255, dtype=torch.uint8)
    hole = Transform((0.0,), (1.0,), cutout=0.5).augment(white)
    zeros = (hole[:, 0, 4:12, 4:12] == 0).float().mean()
    assert 0.1 < float(zeros) < 0.6


def test_cifar10(cifar10: Path) -> None:
    train = load(DataConfig(str(cifar10), limit=500))
    assert train.shape == (3, 32, 32)
    assert len(train.classes) == 10
    assert counts(train.labels) == [50] * 10
    assert train.flip
