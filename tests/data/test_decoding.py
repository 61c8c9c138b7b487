"""Decoding: modes, sizes, files that cannot be read."""

from pathlib import Path

import pytest
from PIL import Image

from edarts import DataConfig, EdartsError, load
from support import write_images


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
