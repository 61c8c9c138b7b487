"""A folder of class folders, and what can be wrong with it."""

import re
import zipfile
from pathlib import Path

import pytest
import torch

from edarts import DataConfig, EdartsError, load
from support import counts, write_images


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


def test_what_systems_leave_is_no_class_and_no_image(folder: Path) -> None:
    """As network disks, archives and desktops do, beside the classes and inside of them."""
    for name in ("__MACOSX", "@eaDir", ".git", "#recycle", "$RECYCLE.BIN", "lost+found"):
        for place in (folder, folder / "ant"):
            (place / name).mkdir()
            (place / name / "0.png").write_bytes(b"x")
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "._0.png"):
        (folder / "bee" / name).write_bytes(b"x")
    train = load(str(folder))
    assert train.classes == ("ant", "bee", "cat")
    assert counts(train.labels) == [8, 8, 8]


def test_a_link_that_leads_nowhere_is_a_bad_file(folder: Path) -> None:
    (folder / "ant" / "gone.png").symlink_to(folder / "absent.png")
    (folder / "ant" / "there.png").symlink_to(folder / "ant" / "0.png")
    with pytest.raises(EdartsError, match=r"gone\.png: no such file.*--skip-bad"):
        load(str(folder))
    train = load(DataConfig(str(folder), test_fraction=0.01, skip_bad=True))
    assert any(re.search(r"skipped 1 unreadable images.*gone\.png", note) for note in train.notes)


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("train", "test"),
        ("Training_Set", "test_set"),
        ("trainset", "val"),
        ("train-images", "Validation"),
        ("training", "testing"),
    ],
)
def test_usual_names_of_splits(train: str, test: str, tmp_path: Path) -> None:
    write_images(tmp_path / train, {"a": 4, "b": 5})
    write_images(tmp_path / test, {"a": 2, "b": 1}, seed=1)
    assert load(str(tmp_path)).classes == ("a", "b")
    assert counts(load(str(tmp_path)).labels) == [4, 5]
    assert counts(load(str(tmp_path), "test").labels) == [2, 1]


def test_test_comes_before_validation(tmp_path: Path) -> None:
    for name, count in (("train", 4), ("val", 2), ("test", 3)):
        write_images(tmp_path / name, {"a": count, "b": count})
    assert counts(load(str(tmp_path), "test").labels) == [3, 3]


@pytest.mark.parametrize("inside", ["train", ""])
def test_a_flat_test_folder_has_no_labels(inside: str, tmp_path: Path) -> None:
    """It is left out, which is said: its name is no class."""
    write_images(tmp_path / inside, {"OK": 5, "NG": 5})
    for index, image in enumerate(write_images(tmp_path / "x", {"y": 3}).rglob("*.png")):
        (tmp_path / "test").mkdir(exist_ok=True)
        image.rename(tmp_path / "test" / f"{index}.png")
    (tmp_path / "x" / "y").rmdir()
    (tmp_path / "x").rmdir()
    train = load(str(tmp_path))
    assert train.classes == ("NG", "OK") and len(train) == 8
    assert any(note.startswith("test/ has no class folders, so no labels") for note in train.notes)


def test_class_folders_beside_a_test_split(tmp_path: Path) -> None:
    write_images(tmp_path, {"OK": 5, "NG": 5})
    write_images(tmp_path / "test", {"OK": 2, "NG": 3}, seed=1)
    assert counts(load(str(tmp_path)).labels) == [5, 5]
    assert counts(load(str(tmp_path), "test").labels) == [3, 2]


@pytest.mark.parametrize(
    ("folders", "words"),
    [
        (("bus/", "car/", "train/"), "train/ looks like a split, but bus/ stands beside it"),
        (("a/", "b/", "test/c/"), "test/ looks like a split, but a/ stands beside it"),
        (("OK/train/", "NG/train/"), "NG/ and OK/ both hold train/, so which are the classes"),
        (("day1/cat/", "day1/dog/", "day2/cat/", "day2/dog/"), "both hold cat/, so which are"),
    ],
)
def test_what_is_not_clear_is_refused(folders: tuple[str, ...], words: str, tmp_path: Path) -> None:
    for folder in folders:
        *place, name = folder.strip("/").split("/")
        write_images(tmp_path.joinpath(*place), {name: 4})
    with pytest.raises(EdartsError, match=words):
        load(str(tmp_path))


def test_a_lone_split_is_all_there_is(tmp_path: Path) -> None:
    for split in ("train", "test"):
        write_images(tmp_path / split / split, {"a": 4, "b": 4})
        assert load(str(tmp_path / split)).classes == ("a", "b")


@pytest.mark.parametrize("inside", ["", "photos/"])
@pytest.mark.parametrize("split", [False, True])
def test_a_zip_of_class_folders(inside: str, split: bool, tmp_path: Path) -> None:
    """The same images in the same order as from the folder, with or without one around them."""
    root = tmp_path / "data"
    for name in ("train", "test") if split else ("",):
        write_images(root / name, {"ant": 6, "bee": 5})
        (root / name / "ant" / "more").mkdir()
        (root / name / "ant" / "0.png").rename(root / name / "ant" / "more" / "0.png")
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        archive.writestr("__MACOSX/x/y.png", b"x")
        for file in sorted(root.rglob("*.png"), reverse=True):
            archive.write(file, inside + file.relative_to(root).as_posix())
    for part in ("train", "test"):
        packed, plain = (load(str(tmp_path / name), part) for name in ("data.zip", "data"))
        assert packed.classes == plain.classes and packed.name == plain.name
        assert torch.equal(packed.images, plain.images)
        assert torch.equal(packed.labels, plain.labels)


def test_a_bad_zip(tmp_path: Path) -> None:
    (tmp_path / "data.zip").write_bytes(b"no zip")
    with pytest.raises(EdartsError, match=r"data\.zip: cannot be read as a zip"):
        load(str(tmp_path / "data.zip"))
