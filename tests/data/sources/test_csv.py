"""Tables of file names and labels, alone and in folders."""

from pathlib import Path

import pytest

from edarts import DataConfig, EdartsError, load
from support import counts, write_images


def write(path: Path, *lines: str, encoding: str = "utf-8") -> Path:
    path.write_text("\n".join(lines) + "\n", encoding=encoding)
    return path


def rows(root: Path, *folders: str) -> list[str]:
    """A line for each image below these folders, labelled by the name of its folder."""
    return [
        f"{file.relative_to(root).as_posix()},{file.parent.name}"
        for folder in folders
        for file in sorted((root / folder).rglob("*.png"))
    ]


def test_a_csv_beside_the_images(folder: Path) -> None:
    lines = rows(folder, "ant", "bee")
    table = write(folder / "some.csv", "path,label", *lines, encoding="utf-8-sig")
    train = load(str(table))
    assert train.classes == ("ant", "bee") and counts(train.labels) == [8, 8]
    dim, bright = (train.images[train.labels == n].float().mean() for n in (0, 1))
    assert dim < bright


@pytest.mark.parametrize("name", ["metadata.csv", "labels.csv"])
def test_a_folder_with_a_table(name: str, folder: Path) -> None:
    write(folder / name, "file_name,label", *rows(folder, "bee", "cat"))
    assert load(str(folder)).classes == ("bee", "cat")  # the table decides, not the folders


def test_a_table_in_each_split(tmp_path: Path) -> None:
    for split, count in (("train", 5), ("test", 2)):
        root = write_images(tmp_path / split, {"a": count, "b": count})
        write(root / "metadata.csv", "file_name,label", *rows(root, "b", "a"))
    assert counts(load(str(tmp_path)).labels) == [5, 5]
    assert counts(load(str(tmp_path), "test").labels) == [2, 2]


def test_a_column_says_the_split(folder: Path) -> None:
    lines = [
        f"{line},{'Test' if index % 5 == 0 else 'train'}"
        for index, line in enumerate(rows(folder, "ant", "bee"))
    ]
    table = write(folder / "t.csv", "file,class,split", *lines)
    assert counts(load(str(table)).labels) == [8, 8]
    assert counts(load(str(table), "test").labels) == [2, 2]


def test_the_label_column(folder: Path) -> None:
    table = write(folder / "t.csv", "file,label,kind", *(f"{r},x" for r in rows(folder, "ant")),
                  *(f"{r},y" for r in rows(folder, "bee")))  # fmt: skip
    assert load(DataConfig.of(str(table), label_column="kind")).classes == ("x", "y")
    with pytest.raises(EdartsError, match="no label column among file, label, kind; name it with"):
        load(DataConfig.of(str(table), label_column="sort"))


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["name,label", "a.png,x"], "no column of file names among name, label; call it file_name"),
        (["file,sort", "a.png,x"], "no label column among file, sort; name it with --label-column"),
        (["file,label"], "has no rows below its first line"),
        (["file,label", "a.png,x", "b.png,"], "line 3: no label; fill it in or remove the line"),
        (["file,label,split", "a.png,x,test"], "every row is of the test split"),
        (["file,label", *["a.png,x"] * 5, *["b.png,y"] * 5], "a.png: no such file"),
    ],
)
def test_what_is_wrong_is_named(lines: list[str], words: str, tmp_path: Path) -> None:
    table = write(tmp_path / "t.csv", *lines)
    with pytest.raises(EdartsError, match=words) as caught:
        load(str(table))
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)
