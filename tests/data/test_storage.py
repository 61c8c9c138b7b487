"""Where decoded images lie: in memory or mapped, and what happens where there is no disk."""

import os
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import edarts
from edarts import DataConfig, EdartsError, SearchConfig, TrainConfig
from edarts.data import open_data, opened, storage
from edarts.data.storage import gather
from support import write_images

SHAPE = (3, 10, 12)  # C, H, W


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An own folder for what is mapped, which is everything; nothing is open."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(storage, "IN_MEMORY", 0)
    monkeypatch.setattr(opened, "_last", None)
    return tmp_path / "cache" / "edarts"


def pictures(count: int) -> list[np.ndarray]:  # type: ignore[type-arg]
    rng = np.random.default_rng(0)
    return list(rng.integers(0, 256, (count, 10, 12, 3), dtype=np.uint8))


def is_mapped(images: torch.Tensor) -> bool:
    """Whether the memory of a tensor is that of a file."""
    at = images.data_ptr()
    for line in Path("/proc/self/maps").read_text().splitlines():
        place, *_, inode = line.split(maxsplit=5)[:5]
        low, high = (int(end, 16) for end in place.split("-"))
        if low <= at < high:
            return inode != "0"
    raise AssertionError("no memory at all")


@pytest.mark.parametrize("most", [7, 9])
def test_both_hold_the_same(most: int, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`most` may be more than there are: some files cannot be read."""
    expected = np.stack(pictures(7))
    mapped = gather(iter(pictures(7)), most, SHAPE)
    monkeypatch.setattr(storage, "IN_MEMORY", most * 360)
    held = gather(iter(pictures(7)), most, SHAPE)
    for found in (mapped, held):
        assert found.dtype == np.uint8 and np.array_equal(found, expected)
    if sys.platform == "linux":
        assert is_mapped(torch.from_numpy(mapped)) and not is_mapped(torch.from_numpy(held))


def test_no_file_can_be_found(cache: Path) -> None:
    found = gather(iter(pictures(3)), 3, SHAPE)
    assert list(cache.iterdir()) == []
    assert cache.stat().st_mode & 0o777 == 0o700
    found[1] = 5  # it can be written to, as memory can
    assert found[1].max() == 5


def test_a_disk_without_room_is_told_before_anything_is_decoded(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(storage.shutil, "disk_usage", lambda folder: usage(2**30))
    images = iter(pictures(3))
    with pytest.raises(EdartsError) as raised:
        gather(images, 10**7, SHAPE)
    assert str(raised.value) == (
        f"{cache}: the decoded images need 3.35 GiB of disk: 1 GiB are free; free some, name a"
        " folder elsewhere by XDG_CACHE_HOME, or give --limit or --image-size"
    )
    assert len(list(images)) == 3


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_disk_that_others_fill_meanwhile(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # What is tested closes it.
    full = Path("/dev/full").open("r+b", buffering=0)  # noqa: SIM115
    monkeypatch.setattr(storage.tempfile, "TemporaryFile", lambda dir: full)
    with pytest.raises(EdartsError, match="of disk: No space left on device; free some, name"):
        gather(iter(pictures(3)), 3, SHAPE)
    assert full.closed


def test_a_cache_that_cannot_be_written(cache: Path) -> None:
    cache.parent.mkdir()
    cache.write_text("a file")
    with pytest.raises(EdartsError, match=r"edarts: the decoded images need .* File exists;"):
        gather(iter(pictures(3)), 3, SHAPE)


def test_files_that_cannot_be_read_leave_no_gap(cache: Path, folder: Path) -> None:
    (folder / "ant" / "3.png").write_bytes((folder / "ant" / "3.png").read_bytes()[:200])
    train = edarts.load(DataConfig(str(folder), skip_bad=True))
    assert is_mapped(train.images)
    assert len(train) == len(train.images) == 23
    bright = train.images.flatten(1).float().mean(dim=1)
    assert torch.equal((bright / 60).long(), train.labels)


def test_where_duplicates_are_left_out_none_stays(cache: Path, tmp_path: Path) -> None:
    train = write_images(tmp_path / "data" / "train", {"a": 6, "b": 6})
    test = write_images(tmp_path / "data" / "test", {"a": 3, "b": 3}, seed=1)
    (test / "b" / "2.png").write_bytes((train / "b" / "4.png").read_bytes())
    whole = edarts.load(str(tmp_path / "data"))
    data = open_data(DataConfig(str(tmp_path / "data"), drop_duplicates=True))
    left = [n for n in range(12) if n != 6 + 4]
    assert data.train.rows is None and is_mapped(data.train.images)
    assert torch.equal(data.train.images, whole.images[left])
    assert torch.equal(data.train.labels, whole.labels[left])
    assert data.place("train", 10) == "b/5.png"


def test_results_do_not_depend_on_where_images_lie(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = str(write_images(tmp_path / "data", {"a": 30, "b": 30}))
    search = SearchConfig(cells=2, channels=4, epochs=2, batch_size=16, data_fraction=0.8)
    train = TrainConfig(cells=2, channels=4, epochs=2, batch_size=16, valid_fraction=0.3)
    found = []
    for limit in (0, 2**60):
        monkeypatch.setattr(storage, "IN_MEMORY", limit)
        monkeypatch.setattr(opened, "_last", None)
        assert is_mapped(open_data(data).train.images) is (limit == 0)
        out = tmp_path / str(limit)
        session = edarts.Session(out=out / "search", device="cpu")
        design = edarts.search(data, search, session).genotype
        edarts.train(design, data, train, edarts.Session(out=out / "train", device="cpu"))
        edarts.evaluate(out / "train", session=edarts.Session(device="cpu"))
        names = ("train/model.safetensors", "train/predictions.npz", "search/genotype.json")
        found.append([(out / name).read_bytes() for name in names])
    assert found[0] == found[1]


MEMORY = """
import sys
from pathlib import Path
import edarts
from edarts.data import storage
from edarts.data.duplicates import duplicates
from edarts.training.fit import hold_out

def anonymous():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024

storage.IN_MEMORY = 2**24
edarts.load("digits").statistics()  # what is imported, and what threads take
before = anonymous()
train = edarts.load(edarts.DataConfig(sys.argv[1], image_size=224))
rest, held = hold_out(train, 0.3, 0)
rest.statistics()
print(train.images.nbytes / 2**20, anonymous() - before)
"""


@pytest.mark.processes
@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells the memory of a process")
def test_photographs_take_no_memory_that_stays(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    soft = Image.fromarray(rng.integers(0, 256, (7, 7, 3), dtype=np.uint8))
    for name in "ab":
        (tmp_path / "data" / name).mkdir(parents=True)
        first = tmp_path / "data" / name / "0.jpg"
        soft.resize((224, 224)).save(first)
        for index in range(1, 700):
            os.link(first, first.with_name(f"{index}.jpg"))
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(tmp_path / "data")],
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    decoded, taken = map(float, done.stdout.split())
    assert decoded == pytest.approx(1120 * 224 * 224 * 3 / 2**20)  # 161 MiB
    assert taken < 96  # threads keep some memory of their own
