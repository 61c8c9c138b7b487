"""A folder of class folders, and what can be wrong with it."""

import re
from pathlib import Path

import pytest

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
