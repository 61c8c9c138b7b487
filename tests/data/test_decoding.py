"""Decoding: modes, sizes, files that cannot be read."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

import edarts
from edarts import DataConfig, EdartsError, load
from edarts.data import open_data
from edarts.data.catalogue import Encoded
from edarts.data.decoding import HOT, array_pixels, read_image, to_pixels, white_of
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
    assert train.shape == (3, 32, 64)
    (note,) = (note for note in train.notes if "resized" in note)
    assert note == (
        "large for a small network: all images resized to 32 x 64; --image-size decides otherwise"
    )
    kept = load(DataConfig(str(root), image_size=200))
    assert kept.shape == (3, 200, 200)


@pytest.mark.parametrize(
    ("size", "shape"),
    [((63, 63), (63, 63)), ((64, 64), (32, 32)), ((300, 63), (54, 256)), ((100, 127), (64, 50))],
)
def test_sides_are_halved_from_64_pixels_on(
    size: tuple[int, int], shape: tuple[int, int], tmp_path: Path
) -> None:
    root = write_images(tmp_path / "big", {"a": 4, "b": 4}, size=size)
    assert load(str(root)).shape == (3, *shape)


def test_png_modes(tmp_path: Path) -> None:
    for mode, channels in (("L", 1), ("LA", 2), ("RGB", 3), ("RGBA", 4), ("1", 1), ("I;16", 1)):
        for name in "ab":
            place = tmp_path / mode.replace(";", "") / name
            place.mkdir(parents=True)
            for index in range(3):
                Image.new(mode, (8, 8)).save(place / f"{index}.png")
        assert load(str(tmp_path / mode.replace(";", ""))).shape == (channels, 8, 8)


def deep(path: Path, pixels: np.ndarray) -> Path:  # type: ignore[type-arg]
    """An image of 16 bits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint16)).save(path)
    return path


@pytest.mark.parametrize("kind", ["png", "tif"])
def test_images_of_16_bits_have_one_scale(kind: str, tmp_path: Path) -> None:
    """A dim image stays dim beside a bright one, though neither reaches the largest value."""
    rng = np.random.default_rng(0)
    for name, level in (("dim", 400), ("bright", 4000)):
        for index in range(4):
            noise = rng.integers(-20, 20, (16, 16))
            deep(tmp_path / "data" / name / f"{index}.{kind}", level + noise)
    train = load(str(tmp_path / "data"))
    assert train.white == pytest.approx(4019, abs=2)
    pairs = zip(train.images, train.labels, strict=True)
    means = {train.classes[int(label)]: image.float().mean() for image, label in pairs}
    assert means["bright"] == pytest.approx(255 * 4000 / train.white, abs=2)
    assert means["dim"] == pytest.approx(255 * 400 / train.white, abs=2)


def test_a_hot_pixel_darkens_nothing(tmp_path: Path) -> None:
    for name, level in (("dim", 400), ("bright", 4000)):
        for index in range(40):
            pixels = np.full((32, 32), level)
            if index == 0:
                pixels[3, 4] = 65535
            deep(tmp_path / "data" / name / f"{index}.png", pixels)
    train = load(str(tmp_path / "data"))
    assert train.white == 4000 and int(train.images.max()) == 255


@pytest.mark.parametrize(("images", "side"), [(1, 2), (3, 8), (200, 16), (40, 64)])
def test_white_is_the_quantile_of_all_pixels(images: int, side: int) -> None:
    """Though only the brightest are kept."""
    rng = np.random.default_rng(images)
    each = list(rng.integers(0, 60000, (images, side, side)))
    expected = float(np.quantile(np.concatenate([one.ravel() for one in each]), 1 - HOT))
    most = 3 * images * side * side // 2  # some cannot be read
    assert white_of(iter(each), most) == expected
    assert white_of((one / 4 for one in each), most) == pytest.approx(expected / 4)
    assert white_of((one // 1000 for one in each), most) == 255
    assert white_of(iter([np.zeros(0)]), 0) is None


def test_16_bits_that_hold_8_stay_as_they_are(tmp_path: Path) -> None:
    for name, level in (("a", 10), ("b", 20)):
        for index in range(4):
            deep(tmp_path / "data" / name / f"{index}.png", np.full((8, 8), level))
    train = load(str(tmp_path / "data"))
    assert train.white == 255 and sorted(set(train.images.flatten().tolist())) == [10, 20]


def test_white_is_what_the_network_was_trained_with(tmp_path: Path) -> None:
    path = deep(tmp_path / "one.png", np.full((8, 8), 1000))
    image = read_image(path)
    assert to_pixels(image, (1, 8, 8), 2000.0)[0, 0, 0] == 128
    assert to_pixels(image, (1, 8, 8), 500.0)[0, 0, 0] == 255
    assert to_pixels(image, (3, 8, 8))[0, 0].tolist() == [round(1000 / 257)] * 3
    for name in "ab":
        for index in range(6):
            deep(tmp_path / "data" / name / f"{index}.png", np.full((8, 8), 1000))
    opened = open_data(str(tmp_path / "data"))
    assert opened.split("test", (1, 8, 8), 4000.0).images.unique().tolist() == [64]
    assert opened.split("test", (1, 8, 8), 2000.0).images.unique().tolist() == [128]


def test_a_model_keeps_its_white(tmp_path: Path) -> None:
    """Bright and dim images are told apart by evaluate and predict as they were in training."""
    rng = np.random.default_rng(0)
    for name, level in (("dim", 1000), ("bright", 3000)):
        for index in range(20):
            pixels = level + rng.integers(-200, 200, (8, 8))
            deep(tmp_path / "data" / name / f"{index}.png", pixels)
    session = edarts.Session(out=tmp_path / "run", device="cpu")
    edarts.train("linear", str(tmp_path / "data"), edarts.TrainConfig(epochs=20), session)
    assert edarts.evaluate(tmp_path / "run").test_accuracy == 1
    assert edarts.load_model(tmp_path / "run").white == pytest.approx(3199, abs=3)
    for name in ("dim", "bright"):
        (said,) = edarts.predict(tmp_path / "run", [tmp_path / "data" / name / "0.png"])
        assert said.class_name == name


def test_frames_and_pages(tmp_path: Path) -> None:
    """The first is taken, which is said."""
    for name, level in (("a", 10), ("b", 200)):
        (tmp_path / name).mkdir()
        for index in range(4):
            first, other = (Image.new("L", (8, 8), value) for value in (level, 255 - level))
            kind = "gif" if index % 2 else "tif"
            more = {"save_all": True, "append_images": [other]} if index else {}
            first.save(tmp_path / name / f"{index}.{kind}", **more)
    train = load(str(tmp_path))
    assert set(train.images.flatten().tolist()) == {10, 200}
    assert any("several pages or frames: the first is taken" in note for note in train.notes)


def test_photographs_are_shrunk_while_they_are_decoded(tmp_path: Path) -> None:
    """No more of them is in memory than threads decode, and a JPEG is never decoded in full."""
    pixels = np.zeros((1600, 2400, 3), np.uint8)
    pixels[:, 1200:] = 200
    image = Image.fromarray(pixels)
    for name in "ab":
        (tmp_path / name).mkdir()
        for index in range(3):
            image.save(tmp_path / name / f"{index}.jpg")
    found = read_image(tmp_path / "a" / "0.jpg", (32, 48))
    assert max(found.size) < 700
    train = load(str(tmp_path))
    assert train.shape == (3, 42, 64) or min(train.shape[1:]) < 64
    left, right = train.images[0, :, : train.shape[2] // 2 - 2], train.images[0, :, -8:]
    assert int(left.max()) < 12 and int(right.min()) > 190


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


# -- a pixel keeps its meaning --------------------------------------------------------------------

TURNS = {  # EXIF orientation -> how an upright image is laid down for it
    1: [],
    2: [Image.Transpose.FLIP_LEFT_RIGHT],
    3: [Image.Transpose.ROTATE_180],
    4: [Image.Transpose.FLIP_TOP_BOTTOM],
    5: [Image.Transpose.TRANSPOSE],
    6: [Image.Transpose.ROTATE_90],
    7: [Image.Transpose.TRANSVERSE],
    8: [Image.Transpose.ROTATE_270],
}


def upright() -> Image.Image:
    """Four quarters of different grey, wider than high."""
    pixels = np.zeros((16, 32, 3), np.uint8)
    for index in range(4):
        rows, columns = divmod(index, 2)
        pixels[8 * rows : 8 * rows + 8, 16 * columns : 16 * columns + 16] = 60 * index + 30
    return Image.fromarray(pixels)


def lying(orientation: int, kind: str) -> bytes:
    """A file whose pixels lie, with the tag that says how."""
    image = upright()
    for turn in TURNS[orientation]:
        image = image.transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    image.save(file, kind, exif=exif, **({"quality": 100} if kind == "JPEG" else {}))
    return file.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", TURNS)
def test_an_image_stands_upright(orientation: int, kind: str, tmp_path: Path) -> None:
    """All eight orientations are one image, from a file and from bytes."""
    data = lying(orientation, kind)
    (tmp_path / "photo").write_bytes(data)
    for item in (tmp_path / "photo", Encoded(data, "photo")):
        found = np.asarray(read_image(item).convert("RGB"), dtype=int)
        assert found.shape == (16, 32, 3)
        assert np.abs(found - np.asarray(upright(), dtype=int)).max() <= 8, "not upright"
    assert ImageOps.exif_transpose(read_image(tmp_path / "photo")).size == (32, 16)  # once


def test_what_is_transparent_stands_on_white(tmp_path: Path) -> None:
    """Not on the colour that hides under it, whatever says that it is transparent."""
    red = (200, 10, 10)
    clear = Image.new("RGBA", (8, 8), (*red, 0))
    clear.paste((*red, 255), (0, 0, 4, 8))
    half = Image.new("LA", (8, 8), (100, 128))
    one = Image.new("RGB", (8, 8), red)
    one.paste((0, 0, 255), (4, 0, 8, 8))
    palette = one.convert("P", palette=Image.Palette.ADAPTIVE)
    files = {}
    for name, image, more in (
        ("clear", clear, {}),
        ("half", half, {}),
        ("one", one, {"transparency": (0, 0, 255)}),
        ("palette", palette, {"transparency": palette.getpixel((6, 0))}),
    ):
        image.save(tmp_path / f"{name}.png", **more)
        files[name] = to_pixels(read_image(tmp_path / f"{name}.png"), (3, 8, 8))
    for name in ("clear", "one", "palette"):
        assert (files[name][:, :4] == red).all() and (files[name][:, 4:] == 255).all(), name
    assert abs(int(files["half"][0, 0, 0]) - (255 + 100) // 2) <= 1
    grey = to_pixels(read_image(tmp_path / "clear.png"), (1, 8, 8))
    assert (grey[:, 4:] == 255).all()
    kept = to_pixels(read_image(tmp_path / "clear.png"), (4, 8, 8))
    assert (kept[:, 4:, 3] == 0).all(), "a network with transparency gets it"


def test_transparent_images_are_told(tmp_path: Path) -> None:
    root = write_images(tmp_path / "train", {"a": 4, "b": 4}, size=(8, 8)).parent
    write_images(root / "test", {"a": 2, "b": 2}, size=(8, 8))
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(root / "test" / "a" / "clear.png")
    opened = open_data(DataConfig(str(root)))
    test = opened.split("test", opened.split("train").shape)
    assert "1 transparent image is shown on white" in test.notes
    assert (test.images == 255).flatten(1).all(1).sum() == 1


def test_floats_that_exceed_one_by_rounding() -> None:
    array = np.linspace(0, 1, 4 * 8 * 8, dtype=np.float32).reshape(4, 8, 8)
    exact = array_pixels(array, "X")
    array[-1, -1, -1], array[0, 0, 0] = 1.0000002, -1e-6
    assert (array_pixels(array, "X") == exact).all()
    assert len(np.unique(exact)) > 200


@pytest.mark.parametrize("top", [1.01, 1.5, 2.0, 15.0])
def test_floats_of_another_scale_are_refused(top: float) -> None:
    array = np.linspace(0, top, 128).reshape(2, 8, 8)
    with pytest.raises(EdartsError, match=r"X: values from 0 to [\d.]+; scale them to 0\.\.255"):
        array_pixels(array, "X")
    whole = np.zeros((2, 8, 8), np.int64)
    whole[0] = 1  # whole numbers are pixels, however dark
    assert array_pixels(whole, "X").max() == 1


def test_a_lack_of_memory_is_no_fault_of_a_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Image, "open", full)
    with pytest.raises(MemoryError):
        load(DataConfig(str(folder), skip_bad=True))


def test_the_first_frame_is_taken(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "green")]
    for kind in ("gif", "tiff", "webp", "png"):
        path = tmp_path / f"moving.{kind}"
        more = {"lossless": True} if kind == "webp" else {}
        frames[0].save(path, save_all=True, append_images=frames[1:], **more)
        assert (to_pixels(read_image(path), (3, 8, 8)) == (255, 0, 0)).all(), kind


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.full((8, 8), -5, dtype=np.int32), "negative values"),
        (np.full((8, 8), np.nan, dtype=np.float32), "NaN or infinite values"),
        (np.full((8, 8), np.inf, dtype=np.float32), "NaN or infinite values"),
    ],
)
def test_values_that_no_grey_level_stands_for(
    values: np.ndarray,  # type: ignore[type-arg]
    reason: str,
    tmp_path: Path,
) -> None:
    path = tmp_path / "deep.tiff"
    Image.fromarray(values).save(path)
    with pytest.raises(EdartsError, match=rf"deep\.tiff: {reason}; scale them to 0\.\.65535"):
        read_image(path)


def test_complex_arrays_are_refused() -> None:
    with pytest.raises(EdartsError, match="X: values of type complex64; give numbers"):
        array_pixels(np.ones((2, 8, 8), np.complex64), "X")
