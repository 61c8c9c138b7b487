"""What the tests of exports build on: small trained models, and processes without this library."""

import os
import random
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image as Picture
from torch import nn

from edarts import registry
from edarts.data.batches import Transform
from edarts.data.decoding import read_image, to_pixels
from edarts.nn.mirrored import Mirrored
from edarts.space.base import Architecture, Image, Size
from edarts.space.darts import DartsSpace
from edarts.training import evaluation
from edarts.training.calibration import Calibration
from edarts.training.models import TrainedModel

CLASSES = ("ant", "bee", "cät")
TEMPERATURE = 1.7


def trained(
    design: Architecture, size: Size, image: Image, mirrored: bool = False, data: str = "a/tiny"
) -> TrainedModel:
    """A model whose weights and norms are unlike fresh ones, with a calibration."""
    torch.manual_seed(0)
    network = design.build(size, image, len(CLASSES))
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    transform = Transform((0.25,) * image[0], (0.5,) * image[0])
    some = transform.normalise(torch.from_numpy(some_images(image, 16)))
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:  # so that images are told apart: their statistics are those of images
        norm.momentum = 1.0
    network.train()(some)
    network.eval()
    for norm in norms:  # lest what hardly varies becomes rounding alone
        norm.running_var.clamp_(min=0.01)
    *_, last = (module for module in network.modules() if isinstance(module, nn.Linear))
    with torch.no_grad():
        last.weight /= network(some).std(dim=0).max()
    images = torch.from_numpy(some_images(image, 6))
    told = evaluation.respond(network, images, transform, torch.device("cpu"))
    learned = Calibration(30, TEMPERATURE, 0.1, 1.0, told.features.half())
    used = Mirrored(network) if mirrored else network
    return TrainedModel.of(used, design, size, transform, CLASSES, image, data, calibration=learned)


def found() -> Architecture:
    """A cell as a search finds it."""
    space: Any = registry.get("spaces", "darts")
    made = space.of(space.Options(operations="skip_connect,sep_conv_3x3,max_pool_3x3"))
    assert isinstance(made, DartsSpace)
    return made.sample(random.Random(3))


def some_images(image: Image, count: int) -> NDArray[np.uint8]:
    """(N, H, W, C) of any values, some dark and some bright."""
    channels, height, width = image
    draw = np.random.default_rng(count)
    pixels = draw.integers(0, 256, (count, height, width, channels))
    return (pixels * draw.uniform(0.1, 1, (count, 1, 1, channels))).astype(np.uint8)


def probabilities(model: TrainedModel, images: NDArray[np.uint8]) -> NDArray[Any]:
    """What `predict` says."""
    cpu, given = torch.device("cpu"), torch.from_numpy(images)
    return evaluation.predict(
        model.network, given, model.transform, cpu, model.calibration
    ).probabilities.numpy()


def agrees(answer: Any, model: TrainedModel, rounding: float = 1e-5) -> None:
    """The export says what `predict` says, for one image and for seven, which it tells apart.

    `rounding`: how far apart they may be; deep networks magnify it on tiny images.
    """
    assert answer is not None
    for count in (1, 7):
        images = some_images(model.image, count)
        said, expected = answer(images), probabilities(model, images)
        np.testing.assert_allclose(said, expected, atol=rounding)
        # Also where one class has nearly all the probability.
        logs = [np.log(np.maximum(values, 1e-30)) for values in (said, expected)]
        np.testing.assert_allclose(*logs, atol=1e-3)
    assert logs[1].std(axis=0).max() > 0.01


def elsewhere(*words: str, cwd: Path) -> str:
    """What a Python process prints in which this library cannot be imported.

    It does without `site`, so that an editable installation is not found either; in the one place
    where packages are looked for a real installation is kept out.
    """
    begin = (
        "import runpy, sys\n"
        "sys.modules['edarts'] = None\n"
        "sys.argv = sys.argv[1:]\n"
        "sys.path[0] = ''\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    packages = sysconfig.get_path("purelib")
    done = subprocess.run(
        [sys.executable, "-S", "-c", begin, *words],
        cwd=cwd,
        env={"PATH": os.environ.get("PATH", ""), "PYTHONPATH": packages, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def photographs(folder: Path) -> list[Path]:
    """Image files of every kind that is decoded in a way of its own."""
    draw = np.random.default_rng(0)
    colours = Picture.fromarray(draw.integers(0, 256, (40, 60, 3), dtype=np.uint8))
    colours = colours.resize((600, 400))
    lying = Picture.Exif()
    lying[0x0112] = 6
    half = colours.copy()
    half.putalpha(Picture.linear_gradient("L").resize(half.size))
    deep = Picture.fromarray(draw.integers(0, 60000, (30, 20), dtype=np.uint16))
    palette = colours.quantize(16)
    colours.save(folder / "large.jpg")
    colours.save(folder / "lying.jpg", exif=lying)
    half.save(folder / "half.png")
    deep.save(folder / "deep.png")
    palette.save(folder / "palette.png")
    palette.save(folder / "through.png", transparency=0)
    colours.convert("L").save(folder / "grey.png")
    colours.convert("1").save(folder / "ink.png")
    colours.convert("CMYK").save(folder / "print.jpg")
    return sorted(folder.iterdir())


def expected_lines(model: TrainedModel, files: list[Path]) -> list[str]:
    """What the script has to print: the pixels are those of `predict`."""
    read = [read_image(file, model.image[1:]) for file in files]
    pixels = np.stack([to_pixels(image, model.image, model.white) for image in read])
    said = probabilities(model, pixels)
    best = said.argmax(axis=1)
    rows = zip(files, best, said, strict=True)
    return [f"{file}  {CLASSES[k]}  {row[k]:.4f}" for file, k, row in rows]


def same_lines(out: str, expected: list[str]) -> None:
    """Equal but for the last digit."""
    rows = [line.split("  ") for line in out.splitlines()]
    wanted = [line.split("  ") for line in expected]
    assert [row[:2] for row in rows] == [row[:2] for row in wanted]
    numbers = [[float(row[2]) for row in table] for table in (rows, wanted)]
    assert numbers[0] == pytest.approx(numbers[1], abs=2e-4)
