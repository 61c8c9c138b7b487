"""Data sets of a hub on this machine: no test needs the network."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import constants
from PIL import ExifTags, Image

from edarts import DataConfig, EdartsError, UsageError, load
from edarts.data.sources import make_options
from edarts.data.sources.hub import CONVERTED
from sharing.fake_hub import FakeHub, hub_of
from support import IMAGE, class_label, described, parquet_bytes, png, table

NAME = "someone/something"
DATA = f"hf:{NAME}"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with hub_of(tmp_path, monkeypatch) as served:
        yield served


def put(hub: FakeHub, files: dict[str, Any], card: str = "", branch: str = "") -> None:
    """Make the data set on the hub: a number stands for a table of so many images."""
    contents = {
        path: parquet_bytes(table(made, ["x", "y", "z"])) if isinstance(made, int) else made
        for path, made in files.items()
    }
    if card:
        contents["README.md"] = f"---\n{card}\n---\n# About".encode()
    hub.repositories[f"datasets/{NAME}{branch}"] = contents


def away(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on there is no network."""
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")


def test_its_own_parquet_files(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two test splits only the one that is used is downloaded; then no network is needed."""
    files = {
        "data/train-00000-of-00002.parquet": 9,
        "data/train-00001-of-00002.parquet": 6,
        "data/test-00000-of-00001.parquet": 7,
        "data/validation-00000-of-00001.parquet": 5,
        "more.bin": b"large",
    }
    put(hub, files, card="license: mit")
    for n in range(2):
        train = load(DATA)
        assert train.name == NAME and train.classes == ("x", "y", "z")
        assert len(train) == 15 and len(load(DATA, "test")) == 7
        if n == 0:
            assert sorted(hub.sent) == ["README.md", *sorted(files)[:3]]
            away(monkeypatch)


def test_what_the_hub_has_converted(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the repository itself holds no parquet; a split may be there in part."""
    put(hub, {"images.zip": b"large"})
    files = {"default/partial-train/0000.parquet": 9, "default/test/0000.parquet": 6}
    put(hub, files, branch=f"@{CONVERTED}")
    for _ in range(2):
        train = load(DATA)
        assert (len(train), len(load(DATA, "test"))) == (9, 6)
        assert "train split: the hub has made parquet files of a part of it only" in train.notes
        away(monkeypatch)
    assert sorted(hub.sent) == sorted(files)


CARDS = {
    "lists": """configs:
- config_name: small
  data_files:
  - {split: train, path: small/train-*}
  - {split: test, path: [small/test-*]}
- config_name: large
  data_files:
  - {split: train, path: "large/**/*.parquet"}""",
    "mappings": """configs:
- {config_name: small, data_files: {train: small/train-*, test: small/test-*}}
- {config_name: large, data_files: large/*/*.parquet}""",
    "folders": """configs:
- {config_name: small, data_dir: small}
- {config_name: large, data_dir: ./large/}""",
}
FILES = {
    "small/train-0.parquet": 9,
    "small/test-0.parquet": 6,
    "large/deep/train-0.parquet": 21,
}


@pytest.mark.parametrize("form", CARDS)
def test_several_configs(hub: FakeHub, form: str) -> None:
    """The one that is named, or that the README calls the default; else none is guessed."""
    put(hub, FILES, CARDS[form])
    with pytest.raises(
        EdartsError, match=f"^{DATA}: has the configs large, small; choose one with --config-name$"
    ):
        load(DATA)
    small, large = (DataConfig.of(DATA, config_name=name) for name in ("small", "large"))
    assert (len(load(small)), len(load(small, "test"))) == (9, 6)
    assert len(load(large)) == 18  # a fifth is cut off
    assert small.to_settings()["config_name"] == "small"
    with pytest.raises(EdartsError, match=r"has the configs large, small; none is called medium$"):
        load(DataConfig.of(DATA, config_name="medium"))
    marked = CARDS[form].replace("config_name: large", "default: true, config_name: large")
    if form == "lists":
        marked = CARDS[form] + "\n  default: true"
    put(hub, FILES, marked)
    assert len(load(DATA)) == 18
    put(hub, FILES, CARDS[form].replace("config_name: small", "config_name: default"))
    assert len(load(DATA)) == 9


def test_several_configs_that_the_hub_has_converted(hub: FakeHub) -> None:
    put(hub, {"load.py": b"import this"})
    files = {f"{name}/train/0000.parquet": n for name, n in (("one", 9), ("two", 15))}
    put(hub, files, branch=f"@{CONVERTED}")
    with pytest.raises(EdartsError, match="has the configs one, two; choose one with --config-n"):
        load(DATA)
    assert len(load(DataConfig.of(DATA, config_name="two"))) == 12
    put(hub, {}, card="configs:\n- {config_name: one, default: true}\n- config_name: two")
    assert len(load(DATA)) == 6


def test_the_default_is_not_replaced_by_what_was_downloaded(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(hub, FILES, CARDS["lists"] + "\n  default: true")
    assert len(load(DataConfig.of(DATA, config_name="small"))) == 9
    away(monkeypatch)
    assert len(load(DataConfig.of(DATA, config_name="small"))) == 9
    with pytest.raises(EdartsError, match=f"^{DATA}: cannot be loaded: .*check the name and the n"):
        load(DATA)


def test_class_folders_of_images(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    files: dict[str, Any] = {"large.bin": b"large"}
    for split, count in (("train", 6), ("test", 2)):
        for n, name in enumerate(("cat", "dog")):
            for image in range(count):
                file = io.BytesIO()
                Image.new("L", (9, 8), 100 * n + image).save(file, "JPEG")
                files[f"{split}/{name}/{image}.{'JPG' if image else 'jpg'}"] = file.getvalue()
    put(hub, files)
    for _ in range(2):
        train = load(DATA)
        assert train.name == NAME and train.classes == ("cat", "dog")
        assert (len(train), len(load(DATA, "test"))) == (12, 4)
        assert "large.bin" not in hub.sent
        away(monkeypatch)
    with pytest.raises(UsageError, match="no parquet files, which options of columns"):
        load(DataConfig.of(DATA, label_column="kind"))


def test_what_goes_wrong_is_one_line(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(words: str) -> None:
        with pytest.raises(EdartsError, match=f"^{DATA}: {words}") as caught:
            load(DATA)
        assert "\n" not in str(caught.value)

    refused("no such data set on the hub; check the name, or `hf auth login` if it is private$")
    put(hub, {"notes.txt": b"nothing"})
    refused("has no parquet files, also none that the hub has made of it, and no folders of images")
    put(hub, {"extra/0.parquet": 9}, "configs: [{data_files: {extra: extra/*}}]")
    refused("no train split; it has extra$")
    cards = (
        "a: &a [x, x]\nb: &b [*a, *a]\nconfigs: [{config_name: *b}]",
        "configs: [1]",
        "configs: [{data_files: {train: [[x]]}}]",
        "configs: [{data_files: [{}]}]",
        "configs: [",
        "- 1",
    )
    for card in cards:
        put(hub, {"train.parquet": 9}, card)
        refused("the configs in its README.md cannot be read: ")
    put(hub, {"train.parquet": b"PAR1 but not really"})
    with pytest.raises(EdartsError, match=r"train\.parquet: cannot be read as parquet: "):
        load(DATA)
    hub.gated.add(f"datasets/{NAME}")
    put(hub, {"data/train.parquet": 9})
    refused("its owners ask who wants it: agree on its page of the hub, then `hf auth login`$")
    away(monkeypatch)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", constants.HF_HUB_CACHE + "/empty")
    refused("cannot be loaded: .*Connection refused; check the name and the network$")


def test_options_of_the_hub() -> None:
    assert make_options(DATA, {"config_name": "small"}).config_name == "small"
    with pytest.raises(UsageError, match="config_name is an option of the source hub; digits"):
        DataConfig.of("digits", config_name="small")


def stored(labels: list[int], names: list[str] | None, orientation: int = 1) -> bytes:
    """Images whose left half is bright where the class is x, as an upright viewer sees them."""
    images = []
    for label in labels:
        pixels = np.full((16, 24), 60, dtype=np.uint8)
        if names and names[label] == "x":
            pixels[:, :12] = 200
        image = Image.fromarray(pixels)
        if orientation == 6:  # the camera lay on its side: what it wrote has to be turned right
            image = image.transpose(Image.Transpose.ROTATE_90)
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        images.append(png(image, exif=exif))
    kinds = {"image": IMAGE} | ({"label": class_label(names)} if names else {})
    return parquet_bytes(described({"image": images, "label": labels}, kinds))


def test_labels_follow_their_names_and_images_stand_upright(hub: FakeHub) -> None:
    """The test split names its classes in another order, and its pictures lie on their side."""
    files = {
        "train.parquet": stored([0, 1] * 6, ["x", "y"]),
        "validation.parquet": stored([0, 1, 1], ["y", "x"], orientation=6),
    }
    put(hub, files)
    train, test = load(DATA), load(DATA, "test")
    assert train.classes == test.classes == ("x", "y")
    assert test.labels.tolist() == [1, 0, 0]
    assert test.shape == train.shape == (1, 16, 24)
    for data in (train, test):
        for image, label in zip(data.images, data.labels, strict=True):
            assert bool(image[:, :12].float().mean() > 150) is (int(label) == 0)
            assert float(image[:, 12:].float().mean()) == 60


def test_a_test_split_without_labels_is_left_out(hub: FakeHub) -> None:
    files = {
        "train.parquet": stored([0, 1] * 6, ["x", "y"]),
        "test.parquet": stored([-1] * 2, None),
    }
    put(hub, files)
    loaded = load(DATA)
    assert len(loaded) == 10
    assert any("has no labels: left out" in note for note in loaded.notes)
