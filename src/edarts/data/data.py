"""Any labelled images in one argument -> uint8 tensors, split without leaks.

A *catalogue* lists images without decoding them; `load` decodes one split of it, so a search or a
training never even opens a test image. Shapes: N images, H x W pixels, C channels (1..4).
"""

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from edarts.config import DataConfig
from edarts.errors import EdartsError, one_line
from edarts.seeds import permutation

SMALLEST, LARGEST = 8, 256  # pixels
MAX_CLASSES = 1000
IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"})
TRAIN_NAMES = ("train", "training")
TEST_NAMES = ("test", "testing", "val", "valid", "validation")  # the first that exists is used
LABEL_COLUMNS = ("label", "labels", "fine_label", "class", "target")
IMAGE_MODES = {"1": "L", "L": "L", "LA": "LA", "P": "RGB", "RGB": "RGB", "RGBA": "RGBA"}
CHANNEL_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}

Split = Literal["train", "test"]
Pixels = NDArray[np.uint8]
Items = Sequence[Any] | Pixels
"""Images that can be decoded one by one, or already are: (N, H, W, C)."""


@dataclass(frozen=True)
class Dataset:
    """One split of a data set, decoded.

    `images`: (N, H, W, C) uint8. `labels`: (N,) int64 in 0..len(classes) - 1. `classes`: names.
    `notes`: what was done to the images, for the user. `flip`: whether mirroring is harmless.
    """

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    name: str = "data"
    notes: tuple[str, ...] = ()
    flip: bool = True

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of every image."""
        _, height, width, channels = self.images.shape
        return channels, height, width

    def subset(self, index: Tensor) -> "Dataset":
        """The images at `index` (n,) int64."""
        return Dataset(
            self.images[index],
            self.labels[index],
            self.classes,
            self.name,
            self.notes,
            self.flip,
        )

    def statistics(self) -> tuple[list[float], list[float]]:
        """Mean and standard deviation of each channel, of pixels scaled to 0..1."""
        channels = self.images.shape[-1]
        counts = [
            torch.bincount(self.images[..., c].flatten(), minlength=256).double()
            for c in range(channels)
        ]
        values = torch.arange(256).double() / 255
        means = [float((n * values).sum() / n.sum()) for n in counts]
        deviations = [
            float(((n * (values - m) ** 2).sum() / n.sum()).sqrt())
            for n, m in zip(counts, means, strict=True)
        ]
        # A constant channel carries nothing; any scale will do.
        return means, [d if d > 1e-6 else 1.0 for d in deviations]


@dataclass
class Catalogue:
    """A data set before decoding: `items` can be decoded one by one, `label` of each beside it.

    `test`: the items and labels of the test split, if the data set brings one.
    """

    name: str
    classes: tuple[str, ...]
    items: Items
    labels: NDArray[np.int64]
    test: tuple[Items, NDArray[np.int64]] | None = None
    notes: list[str] = field(default_factory=list)


def load(
    config: DataConfig | str, split: Split = "train", shape: tuple[int, int, int] | None = None
) -> Dataset:
    """Decode one split of the data set.

    `shape`: (C, H, W) that the images must get, for a network that was trained on them; without it
    the sizes of the training split decide. Raises EdartsError naming the file, class or value.
    """
    config = DataConfig(config) if isinstance(config, str) else config
    catalogue = open_catalogue(config)
    _check_classes(catalogue, config)
    items, labels = catalogue.items, catalogue.labels
    notes = list(catalogue.notes)
    if catalogue.test is None:
        train, test = stratified_split(labels, config.test_fraction, config.split_seed)
        index = train if split == "train" else test
        items, labels = _pick(items, index), labels[index]
        notes.append(f"no test split given: {len(test)} of {len(train) + len(test)} images cut off")
    elif split == "test":
        items, labels = catalogue.test
    limit, which = (config.limit, "training") if split == "train" else (config.test_limit, "test")
    if limit is not None and limit < len(labels):
        _, index = stratified_split(labels, limit / len(labels), config.split_seed, stream="limit")
        items, labels = _pick(items, index), labels[index]
        notes.append(f"limited to {len(labels)} {which} images")
    images, labels, read_notes = _decode(items, labels, config, shape)
    flip = images.shape[-1] >= 3 if config.flip is None else config.flip
    dataset = Dataset(
        torch.from_numpy(images),
        torch.from_numpy(np.asarray(labels, dtype=np.int64)),
        catalogue.classes,
        catalogue.name,
        tuple(notes + read_notes),
        flip,
    )
    if split == "train":
        _check_counts(dataset.labels.numpy(), catalogue.classes, 2, "training images")
    return dataset


def stratified_split(
    labels: NDArray[np.int64], fraction: float, seed: int, stream: str = "test"
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(rest, part): indices with `fraction` of every class, at least one image each, in `part`.

    Disjoint, sorted, together everything; the same for the same labels and seed.
    """
    part = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        count = min(max(1, round(fraction * len(members))), len(members))
        order = permutation(len(members), seed, stream, int(label)).numpy()
        part.append(members[order[:count]])
    chosen = np.sort(np.concatenate(part))
    return np.setdiff1d(np.arange(len(labels)), chosen), chosen


# -- catalogues ----------------------------------------------------------------------------------


def open_catalogue(config: DataConfig) -> Catalogue:
    """List the images of `config.data` without decoding them."""
    source = config.data
    if source == "digits":
        return _digits()
    if source.startswith("hf:"):
        return _hub(source[3:], config)
    path = Path(source)
    if not path.exists():
        raise EdartsError(
            f"{source}: no such file or folder; give digits, a folder of class folders, a parquet"
            " file or folder, an .npz file, or hf:OWNER/NAME"
        )
    if path.is_dir():
        parquet = sorted(path.rglob("*.parquet"))
        return _parquet(path, parquet, config) if parquet else _folder(path)
    if path.suffix == ".npz":
        return _npz(path)
    if path.suffix == ".parquet":
        return _parquet(path, [path], config)
    raise EdartsError(f"{source}: not a folder, .parquet or .npz; '{path.suffix}' cannot be read")


def _digits() -> Catalogue:
    from sklearn.datasets import load_digits

    digits = load_digits()
    # 17 grey levels, 0..16
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)[..., None]
    return Catalogue("digits", tuple(map(str, range(10))), images, digits.target.astype(np.int64))


def _folder(path: Path) -> Catalogue:
    folders = {child.name.lower(): child for child in path.iterdir() if child.is_dir()}
    train = next((folders[name] for name in TRAIN_NAMES if name in folders), None)
    test = next((folders[name] for name in TEST_NAMES if name in folders), None)
    if train is None or test is None:
        # A lone train/ is the whole data set; a lone test/ is a class that happens to be called so.
        root = train if train is not None and len(folders) == 1 else path
        return _class_folders(root, path.name)
    catalogue = _class_folders(train, path.name)
    other = _class_folders(test, path.name, catalogue.classes)
    catalogue.test = (other.items, other.labels)
    catalogue.notes.append(f"test split: {test.name}/")
    return catalogue


def _class_folders(root: Path, name: str, classes: tuple[str, ...] | None = None) -> Catalogue:
    folders = sorted(c for c in root.iterdir() if c.is_dir() and not c.name.startswith("."))
    if not folders:
        raise EdartsError(f"{root}: no class folders; put the images of each class into a folder")
    names = tuple(folder.name for folder in folders) if classes is None else classes
    files: list[Path] = []
    labels: list[int] = []
    for folder in folders:
        if folder.name not in names:
            raise EdartsError(f"{folder}: class '{folder.name}' is not in the training split")
        # Every file counts, so that a file of the wrong kind is named and not passed over.
        found = sorted(f for f in folder.rglob("*") if f.is_file() and not f.name.startswith("."))
        if not found and classes is None:
            raise EdartsError(f"{folder}: empty folder; add images or remove it")
        files += found
        labels += [names.index(folder.name)] * len(found)
    if not files:
        raise EdartsError(f"{root}: no images")
    return Catalogue(name, names, files, np.array(labels, dtype=np.int64))


NPZ_NAMES = (
    ("x_train", "y_train", "x_test", "y_test"),
    ("train_images", "train_labels", "test_images", "test_labels"),
    ("images", "labels", "test_images", "test_labels"),
    ("x", "y", "x_test", "y_test"),
)


def _npz(path: Path) -> Catalogue:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            names = set(arrays.files)
            keys = next((k for k in NPZ_NAMES if k[0] in names and k[1] in names), None)
            if keys is None:
                raise EdartsError(
                    f"{path}: has the arrays {', '.join(sorted(names)) or 'none'}; name them"
                    " x_train, y_train (and x_test, y_test), or images, labels"
                )
            images = _array_images(arrays[keys[0]], f"{path}: {keys[0]}")
            raw = arrays[keys[1]]
            classes = tuple(map(str, arrays["classes"])) if "classes" in names else None
            given_test = keys[2] in names and keys[3] in names
            raw_test = arrays[keys[3]] if given_test else None
            test_images = arrays[keys[2]] if given_test else None
    except (ValueError, OSError, EOFError, KeyError) as error:
        raise EdartsError(f"{path}: cannot be read as .npz: {error}") from None
    except Exception as error:  # zipfile and zlib raise their own kinds
        if isinstance(error, EdartsError):
            raise
        raise EdartsError(f"{path}: damaged .npz file: {error}") from None
    labels, classes = _array_labels(raw, classes, f"{path}: {keys[1]}")
    _check_length(len(images), len(labels), path)
    catalogue = Catalogue(path.stem, classes, images, labels)
    if raw_test is not None and test_images is not None:
        known = classes
        test_labels, _ = _array_labels(raw_test, known, f"{path}: {keys[3]}", fitted=True)
        tested = _array_images(test_images, f"{path}: {keys[2]}")
        _check_length(len(tested), len(test_labels), path)
        catalogue.test = (tested, test_labels)
    return catalogue


def _array_images(array: NDArray[Any], what: str) -> Pixels:
    """(N, H, W), (N, H, W, C) or (N, C, H, W) of integers 0..255 or floats -> (N, H, W, C)."""
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim != 4:
        raise EdartsError(f"{what}: shape {array.shape}; images are (N, H, W) or (N, H, W, C)")
    if array.shape[-1] not in CHANNEL_MODES and array.shape[1] in CHANNEL_MODES:
        array = array.transpose(0, 2, 3, 1)
    if array.shape[-1] not in CHANNEL_MODES:
        raise EdartsError(f"{what}: {array.shape[-1]} channels; 1 to 4 can be read")
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    if not np.issubdtype(array.dtype, np.number):
        raise EdartsError(f"{what}: values of type {array.dtype}; give numbers")
    bad = ~np.isfinite(array)
    if bad.any():
        raise EdartsError(
            f"{what}: NaN or infinite value in image {int(np.argwhere(bad)[0][0])}"
            f" ({int(bad.any(axis=(1, 2, 3)).sum())} such images); remove or repair them"
        )
    low, high = float(array.min(initial=0)), float(array.max(initial=0))
    if low < 0 or high > 255:
        raise EdartsError(f"{what}: values from {low:g} to {high:g}; scale them to 0..255 or 0..1")
    unit = np.issubdtype(array.dtype, np.floating) and high <= 1
    return np.round(array * (255.0 if unit else 1.0)).astype(np.uint8)


def _array_labels(
    raw: NDArray[Any], classes: tuple[str, ...] | None, what: str, fitted: bool = False
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Labels as 0..K - 1, and the names. `fitted`: `classes` are the training split's."""
    values = raw.reshape(-1) if raw.ndim == 2 and raw.shape[1] == 1 else raw
    if values.ndim != 1:
        raise EdartsError(f"{what}: shape {raw.shape}; give one label per image")
    if values.dtype.kind == "f":
        if not np.isfinite(values).all():
            raise EdartsError(f"{what}: NaN at index {int(np.argmin(np.isfinite(values)))}")
        if (values != np.round(values)).any():
            raise EdartsError(f"{what}: labels are not whole numbers")
        values = values.astype(np.int64)
    if values.dtype.kind not in "iubU":
        raise EdartsError(f"{what}: labels of type {values.dtype}; give whole numbers or text")
    if values.dtype.kind != "U":
        values = values.astype(np.int64)
    if classes is None:
        if values.dtype.kind != "U" and len(values) and values.min() < 0:
            at = int(np.argmax(values < 0))
            raise EdartsError(f"{what}: label {values[at]} at index {at} is below 0")
        found, labels = np.unique(values, return_inverse=True)
        return labels.astype(np.int64), tuple(map(str, found))
    names = {name: index for index, name in enumerate(classes)}
    if values.dtype.kind == "U" or fitted:
        strange = [str(v) for v in np.unique(values) if str(v) not in names]
        if strange:
            raise EdartsError(f"{what}: label {strange[0]} is out of range; known: {_few(classes)}")
        return np.array([names[str(v)] for v in values], dtype=np.int64), classes
    _check_range(values, len(classes), what)
    return values, classes


def _check_range(labels: NDArray[np.int64], count: int, what: str) -> None:
    out = (labels < 0) | (labels >= count)
    if out.any():
        at = int(np.argmax(out))
        raise EdartsError(
            f"{what}: label {labels[at]} of image {at} is out of range 0..{count - 1}"
            f" ({int(out.sum())} such images); remove or relabel them"
        )


def _check_length(images: int, labels: int, path: Path) -> None:
    if images != labels:
        raise EdartsError(f"{path}: {images} images but {labels} labels")


def _parquet(path: Path, files: list[Path], config: DataConfig) -> Catalogue:
    import datasets

    parts = {name: [f for f in files if _part(f, path) == name] for name in ("train", "test", "")}
    valid = [f for f in files if _part(f, path) == "valid"]
    train = parts["train"] + parts[""]
    test = parts["test"] or valid
    if not train:
        train, test = test, []
    datasets.disable_progress_bars()

    def read(group: list[Path]) -> Any:
        try:
            return datasets.Dataset.from_parquet([str(f) for f in group])
        except Exception as error:  # pyarrow and datasets raise many kinds
            cause = error.__cause__ or error
            raise EdartsError(
                f"{', '.join(map(str, group))}: cannot be read as parquet: {one_line(cause)}"
            ) from None

    catalogue = _table(read(train), path.name.removesuffix(".parquet"), str(path), config)
    if test:
        other = _table(read(test), path.name, f"{path} (test split)", config, catalogue.classes)
        catalogue.test = (other.items, other.labels)
    return catalogue


def _part(file: Path, root: Path) -> str:
    """Which split a parquet file belongs to, by the Hugging Face naming: train-00000-of-00001..."""
    relative = file.relative_to(root) if root.is_dir() else Path(file.name)
    for word in (relative.name, *relative.parts[:-1]):
        stem = word.lower().split("-")[0].split(".")[0].split("_")[0]
        if stem in TRAIN_NAMES:
            return "train"
        if stem in TEST_NAMES:
            return "test" if stem.startswith("test") else "valid"
    return ""


def _hub(name: str, config: DataConfig) -> Catalogue:
    import datasets

    datasets.disable_progress_bars()
    try:
        splits = datasets.load_dataset(name)
    except Exception as error:  # the hub client raises many kinds
        raise EdartsError(
            f"hf:{name}: cannot be loaded: {one_line(error)}; check the name and the network"
        ) from None
    train = next((splits[n] for n in TRAIN_NAMES if n in splits), None)
    if train is None:
        raise EdartsError(f"hf:{name}: no train split; it has {', '.join(splits)}")
    catalogue = _table(train, name, f"hf:{name}", config)
    test = next((n for n in TEST_NAMES if n in splits), None)
    if test is not None:
        other = _table(splits[test], name, f"hf:{name} ({test})", config, catalogue.classes)
        catalogue.test = (other.items, other.labels)
    return catalogue


def _table(
    table: Any,
    name: str,
    what: str,
    config: DataConfig,
    classes: tuple[str, ...] | None = None,
) -> Catalogue:
    """A datasets.Dataset with an image column and a label column."""
    import datasets

    features = table.features
    image = next((c for c, f in features.items() if _is_image(f)), None)
    if image is None:
        raise EdartsError(f"{what}: no image column among {', '.join(features)}")
    wanted = [config.label_column] if config.label_column else LABEL_COLUMNS
    label = next((c for c in wanted if c in features), None)
    if label is None:
        raise EdartsError(
            f"{what}: no label column {_few(wanted)} among {', '.join(features)};"
            " name it with --label-column"
        )
    values = np.asarray(table.with_format("numpy", columns=[label])[label][:])
    named = getattr(features[label], "names", None)
    labels, classes = _array_labels(
        np.asarray(values.tolist()),
        tuple(named) if named else classes,
        f"{what}: column {label}",
        fitted=not named and classes is not None,
    )
    plain = table.cast_column(image, datasets.Image(decode=False))
    items = _Column(plain, image, what)
    return Catalogue(name, classes, items, labels)


def _is_image(feature: Any) -> bool:
    if type(feature).__name__ == "Image":
        return True
    return isinstance(feature, dict) and {"bytes", "path"} <= set(feature)


# -- decoding ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Encoded:
    """Compressed image data and where it stands."""

    data: bytes
    name: str


class _Column(Sequence[Any]):
    """The image column of a table, an item at a time."""

    def __init__(self, table: Any, column: str, what: str) -> None:
        # One memory-mapped Arrow column: asking the table row by row is a hundred times slower.
        self.values = table.with_format("arrow", columns=[column])[:].column(column)
        self.what = what

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: Any) -> Any:
        value = self.values[int(index)].as_py()
        if value["bytes"] is None:
            return Path(value["path"])
        return _Encoded(value["bytes"], f"{self.what}: row {index}")


def _pick(items: Items, index: NDArray[np.int64]) -> Items:
    """The items at some indices, still not decoded."""
    return items[index] if isinstance(items, np.ndarray) else _Picked(items, index)


class _Picked(Sequence[Any]):
    def __init__(self, items: Sequence[Any], index: NDArray[np.int64]) -> None:
        self.items, self.chosen = items, index

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, place: Any) -> Any:
        return self.items[self.chosen[place]]


def read_image(item: "Path | _Encoded") -> Image.Image:
    """Decode one image file completely; raises EdartsError that names it."""
    name = str(item) if isinstance(item, Path) else item.name
    try:
        with Image.open(item if isinstance(item, Path) else io.BytesIO(item.data)) as image:
            image.load()
            mode = IMAGE_MODES.get(image.mode, "L" if image.mode.startswith(("I", "F")) else "RGB")
            if image.mode.startswith("I"):  # 16 bits a pixel
                pixels = np.asarray(image)
                top = max(int(pixels.max()), 255)
                return Image.fromarray((pixels * (255.0 / top)).astype(np.uint8))
            if image.mode == "P" and "transparency" in image.info:
                mode = "RGBA"
            return image.convert(mode) if image.mode != mode else image.copy()
    except FileNotFoundError:
        raise EdartsError(f"{name}: no such file") from None
    except Exception as error:  # a broken file can make Pillow raise almost anything
        raise EdartsError(f"{name}: not a readable image: {one_line(error)}") from None


def to_pixels(image: Image.Image, shape: tuple[int, int, int]) -> Pixels:
    """(H, W, C) uint8 of the given (C, H, W), resized and converted where needed."""
    channels, height, width = shape
    mode = CHANNEL_MODES[channels]
    if image.mode != mode:
        image = image.convert(mode)
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=3.0)
    return np.asarray(image, dtype=np.uint8).reshape(height, width, channels)


def _decode(
    items: Items,
    labels: NDArray[np.int64],
    config: DataConfig,
    shape: tuple[int, int, int] | None,
) -> tuple[Pixels, NDArray[np.int64], list[str]]:
    """(N, H, W, C) pixels, the labels of the images that could be read, notes."""
    notes: list[str] = []
    if isinstance(items, np.ndarray):
        pixels: Pixels = items
        images: list[Image.Image] | None = None
        sizes = {(pixels.shape[1], pixels.shape[2])}
        channels = pixels.shape[3]
    else:
        images, labels = _read_all(items, labels, config.skip_bad, notes)
        sizes = {(image.height, image.width) for image in images}
        channels = max(len(image.getbands()) for image in images)
    target = shape or (channels, *_target_size(sizes, images, config, notes))
    if images is None:
        if pixels.shape[1:] == (target[1], target[2], target[0]):
            return np.ascontiguousarray(pixels), labels, notes
        images = [Image.fromarray(p.squeeze(-1) if p.shape[-1] == 1 else p) for p in pixels]
    result = np.empty((len(images), target[1], target[2], target[0]), dtype=np.uint8)
    for index, image in enumerate(images):
        result[index] = to_pixels(image, target)
    return result, labels, notes


def _read_all(
    items: Sequence[Any], labels: NDArray[np.int64], skip_bad: bool, notes: list[str]
) -> tuple[list[Image.Image], NDArray[np.int64]]:
    def attempt(index: int) -> Image.Image | EdartsError:
        try:
            return read_image(items[index])
        except EdartsError as error:
            return error

    with ThreadPoolExecutor() as pool:
        results = list(pool.map(attempt, range(len(items))))
    bad = [result for result in results if isinstance(result, EdartsError)]
    if bad and (not skip_bad or len(bad) == len(results)):
        more = f" (and {len(bad) - 1} more such files)" if len(bad) > 1 else ""
        raise EdartsError(f"{bad[0]}{more}; repair or remove, or go on without with --skip-bad")
    if bad:
        notes.append(f"skipped {len(bad)} unreadable images, the first: {bad[0]}")
    good = [i for i, result in enumerate(results) if not isinstance(result, EdartsError)]
    return [r for r in results if not isinstance(r, EdartsError)], labels[good]


def _target_size(
    sizes: set[tuple[int, int]],
    images: list[Image.Image] | None,
    config: DataConfig,
    notes: list[str],
) -> tuple[int, int]:
    """The (H, W) that all images get."""
    smallest = min(min(size) for size in sizes)
    if config.image_size is not None:
        if sizes != {(config.image_size, config.image_size)}:
            notes.append(f"resized to {config.image_size} x {config.image_size}")
        return config.image_size, config.image_size
    if smallest < SMALLEST:
        raise EdartsError(
            f"an image is only {smallest} pixels wide or high; at least {SMALLEST} are needed:"
            " give --image-size to enlarge"
        )
    height, width = next(iter(sizes))
    if len(sizes) > 1 and images is not None:
        height = int(np.median([image.height for image in images]))
        width = int(np.median([image.width for image in images]))
    scale = min(1.0, LARGEST / max(height, width))
    height, width = (max(SMALLEST, round(side * scale)) for side in (height, width))
    if sizes != {(height, width)}:
        why = f"{len(sizes)} sizes" if len(sizes) > 1 else f"larger than {LARGEST}"
        notes.append(f"{why}: all images resized to {height} x {width}")
    return height, width


# -- checks --------------------------------------------------------------------------------------


def _check_classes(catalogue: Catalogue, config: DataConfig) -> None:
    count = len(catalogue.classes)
    if count < 2:
        raise EdartsError(f"{config.data}: only one class ({_few(catalogue.classes)}); two needed")
    if count > MAX_CLASSES:
        raise EdartsError(f"{config.data}: {count} classes; at most {MAX_CLASSES} can be searched")
    needed, why = (3, "one for the test split") if catalogue.test is None else (2, "one is tested")
    _check_counts(
        catalogue.labels,
        catalogue.classes,
        needed,
        f"images; the splits need {needed} of each class"
        + (f", {why}" if catalogue.test is None else ""),
    )


def _check_counts(
    labels: NDArray[np.int64], classes: tuple[str, ...], needed: int, what: str
) -> None:
    counts = np.bincount(labels, minlength=len(classes))
    few = np.flatnonzero(counts < needed)
    if len(few):
        others = f" ({len(few)} such classes)" if len(few) > 1 else ""
        raise EdartsError(
            f"class '{classes[few[0]]}' has {counts[few[0]]} {what}{others}: add images or remove"
            " the class"
        )


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def batches(count: int, size: int) -> int:
    """Number of batches of about `size` that hold `count` images."""
    return max(1, -(-count // size))


class Loader:
    """Batches of one data set on `device`, a pure function of (epoch, step): nothing to save.

    Every epoch is a new seeded permutation cut into batches of nearly equal size, so each image is
    seen once and no batch is tiny. `stream` names the seed's use, so two loaders differ.
    """

    def __init__(
        self, data: Dataset, batch_size: int, seed: int, stream: str, device: torch.device
    ) -> None:
        self.images = data.images.to(device)
        self.labels = data.labels.to(device)
        self.steps = batches(len(data), batch_size)
        self.seed, self.stream = seed, stream
        self._epoch, self._chunks = -1, ()  # type: int, tuple[Tensor, ...]

    def batch(self, epoch: int, step: int) -> tuple[Tensor, Tensor]:
        """(B, H, W, C) uint8 images and (B,) labels of one step."""
        if epoch != self._epoch:
            order = permutation(len(self.labels), self.seed, self.stream, epoch)
            self._chunks = order.to(self.labels.device).tensor_split(self.steps)
            self._epoch = epoch
        index = self._chunks[step]
        return self.images[index], self.labels[index]

    def endless(self, count: int) -> tuple[Tensor, Tensor]:
        """Batch number `count` of the endless stream: epoch after epoch."""
        return self.batch(*divmod(count, self.steps))


@dataclass(frozen=True)
class Transform:
    """uint8 (B, H, W, C) -> normalised float32 (B, C, H, W) in channels-last memory.

    `mean`, `std`: per channel, of pixels scaled to 0..1, from the training split.
    `flip`: mirror half of the images. `cutout`: side of the square as a share of the image.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    flip: bool = False
    cutout: float = 0.0

    @classmethod
    def of(cls, data: Dataset, cutout: float = 0.0) -> "Transform":
        """With the statistics of `data`."""
        mean, std = data.statistics()
        return cls(tuple(mean), tuple(std), data.flip, cutout)

    def normalise(self, images: Tensor) -> Tensor:
        """Scale and shift only, for evaluation."""
        mean = torch.tensor(self.mean, device=images.device)
        std = torch.tensor(self.std, device=images.device)
        scaled = images.float().mul(1 / (255 * std)).sub(mean / std)
        return scaled.permute(0, 3, 1, 2)

    def augment(self, images: Tensor) -> Tensor:
        """Random crop after zero padding by an eighth, flip, normalise, cutout (DARTS' recipe).

        Draws from torch's CPU generator, so that every device sees the same images.
        """
        batch, height, width, _ = images.shape
        device = images.device
        pad = max(1, max(height, width) // 8)
        padded = torch.nn.functional.pad(images, (0, 0, pad, pad, pad, pad))
        top = torch.randint(0, 2 * pad + 1, (batch, 1))
        left = torch.randint(0, 2 * pad + 1, (batch, 1))
        rows = top + torch.arange(height)
        columns = left + torch.arange(width)
        if self.flip:
            mirrored = torch.rand(batch, 1) < 0.5
            columns = torch.where(mirrored, columns.flip(1), columns)
        # One gather crops and mirrors all images, and leaves them channels-last.
        cropped = padded[
            torch.arange(batch, device=device)[:, None, None],
            rows.to(device)[:, :, None],
            columns.to(device)[:, None, :],
        ]
        x = self.normalise(cropped)
        if self.cutout > 0:
            x = x * _cutout_mask(batch, height, width, self.cutout).to(device)
        return x


def _cutout_mask(batch: int, height: int, width: int, share: float) -> Tensor:
    """(B, 1, H, W): zero in one square per image, its centre uniform, clipped at the border."""
    sides = []
    for side in (height, width):
        length = round(share * side)
        start = torch.randint(0, side, (batch, 1)) - length // 2
        place = torch.arange(side)
        sides.append((place >= start) & (place < start + length))
    hole = sides[0][:, :, None] & sides[1][:, None, :]
    return (~hole)[:, None].float()
