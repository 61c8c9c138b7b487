"""Data are known by content: what changes the fingerprint, and how a change is told."""

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edarts
from edarts import DataConfig, EdartsError, Session, TrainConfig
from edarts.config import SearchConfig
from edarts.data import open_data
from edarts.data.fingerprint import Listing
from edarts.runs.files import write_kept
from support import parquet_bytes, table, write_images


def fingerprint(data: Any) -> str:
    return edarts.data.opened.Opened(DataConfig.of(data)).listing.fingerprint


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_images(tmp_path / "photos", {"ant": 6, "bee": 6})


def add(root: Path) -> None:
    for number in (10, 11):
        shutil.copy(root / "ant" / "0.png", root / "ant" / f"{number}.png")


def remove(root: Path) -> None:
    (root / "bee" / "2.png").unlink()


def relabel(root: Path) -> None:
    """A file that moves is another file in another class."""
    (root / "bee" / "2.png").rename(root / "ant" / "2b.png")


def change(root: Path) -> None:
    shutil.copy(root / "ant" / "0.png", root / "bee" / "3.png")


CHANGES = [
    (add, "2 images added"),
    (remove, "1 image removed"),
    (relabel, "1 image added, 1 removed"),
    (change, "1 image changed"),
]


@pytest.mark.parametrize(("do", "told"), CHANGES)
def test_what_changes(do: Callable[[Path], None], told: str, photos: Path) -> None:
    before = open_data(str(photos)).listing
    do(photos)
    after = open_data(str(photos)).listing
    assert before.fingerprint != after.fingerprint
    assert before.changes(after) == told and before.changes(before) == ""


def test_the_place_does_not_count(photos: Path, tmp_path: Path) -> None:
    other = shutil.copytree(photos, tmp_path / "else" / "where")
    assert fingerprint(str(photos)) == fingerprint(str(other))
    assert fingerprint(str(photos)).startswith("sha256:")


def test_labels_of_a_table_count(photos: Path) -> None:
    lines = [f"ant/{n}.png,x" for n in range(6)] + [f"bee/{n}.png,y" for n in range(6)]
    for labels in (
        lines,
        [*lines[:3], *(line.replace(",x", ",y") for line in lines[3:6]), *lines[6:]],
    ):
        (photos / "t.csv").write_text("\n".join(["file,label", *labels]) + "\n")
        listing = edarts.data.opened.Opened(DataConfig(str(photos / "t.csv"))).listing
        if labels is lines:
            before = listing
    assert before.changes(listing) == "3 images relabelled"


def test_every_kind_of_data_has_one(photos: Path, tmp_path: Path) -> None:
    """And it changes with a pixel."""
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for file in photos.rglob("*.png"):
            archive.write(file, file.relative_to(photos))
    (tmp_path / "t.parquet").write_bytes(parquet_bytes(table(15, ["x", "y", "z"])))
    images, labels = np.zeros((12, 8, 8), np.uint8), np.arange(12) % 3
    np.savez(tmp_path / "a.npz", x=images, y=labels)
    found = [fingerprint(str(tmp_path / name)) for name in ("photos.zip", "t.parquet", "a.npz")]
    found += [fingerprint("digits"), fingerprint((images, labels))]
    assert len(set(found[:4])) == 4 and found[2] == found[4]
    images[3, 4, 4] = 1
    assert fingerprint((images, labels)) != found[4]


def test_it_is_kept_and_read_back(photos: Path, tmp_path: Path) -> None:
    listing = open_data(str(photos)).listing
    (tmp_path / "data.npz").write_bytes(listing.to_bytes())
    assert Listing.read(tmp_path / "data.npz") == listing
    (tmp_path / "data.npz").write_bytes(b"no")
    assert Listing.read(tmp_path / "data.npz") is None
    write_kept(tmp_path / "data.npz", listing.to_bytes())
    assert Listing.read(tmp_path / "data.npz") == listing
    (tmp_path / "data.npz").write_bytes(listing.to_bytes()[:-1])
    with pytest.raises(EdartsError, match=r"data.npz: damaged: not what was written there"):
        Listing.read(tmp_path / "data.npz")


# -- runs -----------------------------------------------------------------------------------------


def train(data: Path, out: Path | None = None) -> Any:
    config = TrainConfig(epochs=1, batch_size=8)
    return edarts.train("linear", str(data), config, Session(out=out, device="cpu"))


@pytest.mark.parametrize("do", [add, remove, change])
def test_changed_data_are_another_run(
    do: Callable[[Path], None], photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same command after a change trains anew; in the same folder it is refused."""
    monkeypatch.chdir(tmp_path)
    first, again = train(photos), train(photos)
    assert first.run == again.run
    told = dict(CHANGES)[do]
    train(photos, tmp_path / "out")
    do(photos)
    assert train(photos).run != first.run
    with pytest.raises(EdartsError, match=f"out: the data .*photos have changed since: {told}"):
        train(photos, tmp_path / "out")
    with pytest.raises(EdartsError, match=f"have changed since: {told}"):
        edarts.evaluate(first.run)


def test_runs_models_and_ledgers_hold_it(photos: Path, tmp_path: Path) -> None:
    known = fingerprint(str(photos))
    report = train(photos, tmp_path / "out")
    assert known in (report.run / "config.yaml").read_text()
    assert edarts.load_model(report.run).fingerprint == known
    config = SearchConfig.of("random_search", trials=1, epochs=1, cells=2, channels=2)
    names = []
    for n in range(2):
        out = Session(out=tmp_path / f"s{n}", device="cpu")
        names.append(edarts.search(str(photos), config, out).study)  # type: ignore[union-attr]
        change(photos)
    assert names[0] != names[1]


def test_a_run_that_knows_no_fingerprint_goes_on(photos: Path, tmp_path: Path) -> None:
    report = train(photos, tmp_path / "out")
    path = report.run / "config.yaml"
    lines = [line for line in path.read_text().splitlines() if "fingerprint" not in line]
    path.write_text("\n".join(lines) + "\n")
    (report.run / "digests.json").unlink()  # nor did it have these
    assert train(photos, tmp_path / "out").train_accuracy == report.train_accuracy


def test_a_study_too(photos: Path, tmp_path: Path) -> None:
    def study() -> Any:
        return edarts.study(
            "depth",
            str(photos),
            SearchConfig.of("darts", channels=2, epochs=1, operations="skip_connect,max_pool_3x3"),
            TrainConfig(cells=2, channels=2, epochs=1, batch_size=8, valid_fraction=0.3),
            Session(out=tmp_path / "study", device="cpu"),
            cells="2",
            seeds=1,
        )

    assert not study().failed
    add(photos)
    with pytest.raises(EdartsError, match=r"study: the data .* have changed since: 2 images added"):
        study()
