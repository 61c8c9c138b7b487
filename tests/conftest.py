"""Small data sets on disk, and the real one where it is at hand."""

import os
from pathlib import Path

# The problems here are tiny: a thread each, as many tests at once as there are cores (pytest -n).
os.environ["OMP_NUM_THREADS"] = os.environ["NUMBA_NUM_THREADS"] = "1"

import numpy as np
import pytest
from PIL import Image

CIFAR10 = Path(os.environ.get("EDARTS_CIFAR10", "../shared/data/cifar10"))


@pytest.fixture
def cifar10() -> Path:
    """CIFAR-10 (JPEG); tests that need it are skipped where it is absent."""
    if not CIFAR10.exists():
        pytest.skip(f"{CIFAR10} is absent")
    return CIFAR10


def write_images(
    root: Path, classes: dict[str, int], size: tuple[int, int] = (12, 10), seed: int = 0
) -> Path:
    """`classes`: name -> number of PNG files; brightness tells the class."""
    generator = np.random.default_rng(seed)
    for index, (name, count) in enumerate(classes.items()):
        folder = root / name
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            pixels = generator.integers(0, 60, (size[1], size[0], 3)) + 60 * index
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
    return root


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of three class folders, ten images each."""
    return write_images(tmp_path / "animals", {"ant": 10, "bee": 10, "cat": 10})
