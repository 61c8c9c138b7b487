"""Exported programs: any batch, any process, and nothing left where they cannot be written."""

import errno
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from edarts import registry
from edarts.data.batches import Transform
from edarts.errors import EdartsError
from edarts.exports.torch import TorchProgram
from edarts.space import zoo
from edarts.space.base import Architecture, Image, Size
from edarts.space.darts import DartsSpace
from edarts.testing.others import tiny_model
from edarts.training.models import TrainedModel


def model(design: Architecture, size: Size, image: Image) -> TrainedModel:
    """A network whose norms have seen a batch."""
    torch.manual_seed(0)
    classes = ("ant", "bee", "cat")
    network = design.build(size, image, len(classes))
    network(torch.randn(16, *image))
    transform = Transform((0.25,) * image[0], (0.5,) * image[0])
    return TrainedModel.of(network, design, size, transform, classes, image, "tiny")


def found() -> Architecture:
    """A cell as a search finds it."""
    space: Any = registry.get("spaces", "darts")
    made = space.of(space.Options(operations="skip_connect,sep_conv_3x3,max_pool_3x3"))
    assert isinstance(made, DartsSpace)
    return made.sample(random.Random(3))


CASES = [
    pytest.param(found(), Size(2, 4), (1, 9, 7), id="found, grey, odd"),
    pytest.param(zoo.get("darts.v2").architecture, Size(3, 4), (3, 16, 16), id="zoo, colour"),
    pytest.param(zoo.get("enas.figure").architecture, Size(2, 4), (4, 8, 11), id="four channels"),
]


@pytest.mark.parametrize(("design", "size", "image"), CASES)
def test_any_batch_agrees_with_the_model(
    design: Architecture, size: Size, image: Image, tmp_path: Path
) -> None:
    trained = model(design, size, image)
    (file,) = TorchProgram().write(trained, tmp_path / "model.pt2")
    program = torch.export.load(file).module()
    for batch in (1, 7):
        images = torch.randn(batch, *image)
        with torch.no_grad():
            torch.testing.assert_close(
                program(images), trained.network(images), atol=1e-5, rtol=1e-5
            )


ELSEWHERE = """
import sys, torch
sys.modules["edarts"] = None  # importing it fails
extra = dict.fromkeys(("mean", "std", "classes", "white", "temperature"), "")
program = torch.export.load(sys.argv[1], extra_files=extra)
logits = program.module()(torch.load(sys.argv[2]))
torch.save((logits, extra), sys.argv[3])
"""


@pytest.mark.processes
def test_opens_where_this_library_is_not(tmp_path: Path) -> None:
    trained = tiny_model()
    (file,) = TorchProgram().write(trained, tmp_path / "model.pt2")
    images = torch.randn(3, *trained.image)
    torch.save(images, tmp_path / "images.pt")
    names = [str(file), str(tmp_path / "images.pt"), str(tmp_path / "logits.pt")]
    subprocess.run(
        [sys.executable, "-c", ELSEWHERE, *names], check=True, cwd=tmp_path, env={"PATH": ""}
    )
    logits, extra = torch.load(tmp_path / "logits.pt")
    with torch.no_grad():
        torch.testing.assert_close(logits, trained.network(images), atol=1e-5, rtol=1e-5)
    assert extra == {
        "mean": "0.5",
        "std": "0.25",
        "classes": "a\nb",
        "white": "255",
        "temperature": "1.0",
    }


def test_a_failed_write_leaves_no_half_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "model.pt2").write_bytes(b"the one before")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(EdartsError, match=r"model\.pt2: no space left on the disk"):
        TorchProgram().write(tiny_model(), tmp_path / "model.pt2")
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt2"]
    assert (tmp_path / "model.pt2").read_bytes() == b"the one before"


def test_a_folder_in_the_way_is_named(tmp_path: Path) -> None:
    with pytest.raises(EdartsError, match=r"none/model\.pt2: cannot be written"):
        TorchProgram().write(tiny_model(), tmp_path / "none" / "model.pt2")
