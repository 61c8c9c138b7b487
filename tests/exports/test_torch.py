"""Exported programs: any batch, any process, and nothing left where they cannot be written."""

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from edarts import __version__
from edarts.errors import EdartsError
from edarts.exports.torch import CARD, TorchProgram
from edarts.space import zoo
from edarts.space.base import Architecture, Image, Size
from edarts.testing.others import tiny_model
from exporting import CLASSES, agrees, elsewhere, found, probabilities, some_images, trained

CASES = [
    pytest.param(found(), Size(2, 4), (1, 9, 7), True, id="found, grey, odd, mirrored"),
    pytest.param(zoo.get("enas.figure").architecture, Size(2, 4), (4, 8, 11), False, id="enas"),
]


@pytest.mark.parametrize(("design", "size", "image", "mirrored"), CASES)
def test_any_batch_agrees_with_the_model(
    design: Architecture, size: Size, image: Image, mirrored: bool, tmp_path: Path
) -> None:
    model = trained(design, size, image, mirrored)
    export = TorchProgram()
    (file,) = export.write(model, tmp_path / "model.pt2")
    agrees(export.open(file), model)


ELSEWHERE = """
import sys, numpy, torch
extra = {"model.json": ""}
program = torch.export.load(sys.argv[1], extra_files=extra)
with torch.no_grad():
    said = program.module()(torch.from_numpy(numpy.load(sys.argv[2])))
numpy.save(sys.argv[3], said.numpy())
print(extra["model.json"])
"""


@pytest.mark.processes
def test_opens_where_this_library_is_not(tmp_path: Path) -> None:
    model = tiny_model()
    (file,) = TorchProgram().write(model, tmp_path / "model.pt2")
    images = some_images(model.image, 3)
    np.save(tmp_path / "images.npy", images)
    (tmp_path / "open.py").write_text(ELSEWHERE)
    told = elsewhere("open.py", str(file), "images.npy", "said.npy", cwd=tmp_path)
    expected = probabilities(model, images)
    np.testing.assert_allclose(np.load(tmp_path / "said.npy"), expected, atol=1e-5)
    assert json.loads(told) == {
        "classes": ["a", "b"],
        "image": [1, 9, 8],
        "white": 65535.0,
        "data": "tiny",
        "network": str(model.architecture),
        "parameters": model.parameters,
        "made_by": f"edarts {__version__}",
    }


def test_it_tells_no_path_of_this_machine(tmp_path: Path) -> None:
    (file,) = TorchProgram().write(tiny_model(), tmp_path / "model.pt2")
    content = file.read_bytes()
    assert str(Path(torch.__file__).parents[1]).encode() not in content
    assert str(Path(__file__).parents[2]).encode() not in content


def test_names_of_classes_are_any_text(tmp_path: Path) -> None:
    extra = {CARD: ""}
    (file,) = TorchProgram().write(trained(found(), Size(1, 4), (1, 8, 8)), tmp_path / "model.pt2")
    torch.export.load(file, extra_files=extra)
    assert json.loads(extra[CARD])["classes"] == [*CLASSES]


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


@pytest.mark.slow
@pytest.mark.parametrize("image", [(1, 9, 7), (3, 16, 16)], ids=str)
@pytest.mark.parametrize("name", zoo.names())
def test_the_whole_zoo(name: str, image: Image, tmp_path: Path) -> None:
    design = zoo.get(name).architecture
    size = Size(3, 4, whitening=image[0] == 1 and design.whitens) if design.sized else Size()
    model = trained(design, size, image)
    (file,) = TorchProgram().write(model, tmp_path / "model.pt2")
    agrees(TorchProgram().open(file), model, rounding=5e-5)
