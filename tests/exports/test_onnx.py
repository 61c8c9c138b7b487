"""ONNX files: any batch, by onnxruntime alone; what they say of themselves; eight bits."""

import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edarts import __version__
from edarts.errors import EdartsError, UsageError
from edarts.exports.base import Facts
from edarts.exports.onnx import Onnx, Options
from edarts.reporting.stats import Estimate
from edarts.space import zoo
from edarts.space.base import Size
from edarts.testing.others import tiny_model
from edarts.training.models import TrainedModel
from exporting import (
    CLASSES,
    agrees,
    elsewhere,
    expected_lines,
    found,
    photographs,
    probabilities,
    same_lines,
    some_images,
    trained,
)

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

ACCURACY = Estimate(0.9, 0.8, 0.95, 40)


@pytest.fixture(scope="module")
def model() -> TrainedModel:
    """Grey, odd, mirrored in evaluation, with a temperature, of a data set in somebody's home."""
    made = trained(found(), Size(2, 4), (1, 9, 7), mirrored=True, data="/home/somebody/photos")
    return replace(made, white=4095.0)


@pytest.fixture(scope="module")
def file(model: TrainedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model, written."""
    out = tmp_path_factory.mktemp("onnx") / "model.onnx"
    assert Onnx(facts=Facts(ACCURACY)).write(model, out) == [out, out.parent / "model_predict.py"]
    return out


def test_any_batch_agrees_with_the_model(file: Path, model: TrainedModel) -> None:
    agrees(Onnx().open(file), model)


def test_the_graph_takes_pixels_and_gives_probabilities(file: Path) -> None:
    graph = onnx.load(file).graph
    (images,), (said,) = graph.input, graph.output
    sides = [side.dim_param or side.dim_value for side in images.type.tensor_type.shape.dim]
    assert (images.name, sides) == ("images", ["N", 9, 7, 1])
    assert images.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    sides = [side.dim_param or side.dim_value for side in said.type.tensor_type.shape.dim]
    assert (said.name, sides) == ("probabilities", ["N", len(CLASSES)])


def test_what_it_says_of_itself(file: Path, model: TrainedModel) -> None:
    told = {prop.key: json.loads(prop.value) for prop in onnx.load(file).metadata_props}
    assert told == {
        "classes": [*CLASSES],
        "image": [1, 9, 7],
        "white": 4095.0,
        "data": "photos",
        "network": str(model.architecture),
        "parameters": model.parameters,
        "accuracy": 0.9,
        "accuracy_ci95": [0.8, 0.95],
        "test_images": 40,
        "made_by": f"edarts {__version__}",
    }
    content = file.read_bytes()
    for path in (Path(torch.__file__).parents[1], Path(__file__).parents[2], "somebody"):
        assert str(path).encode() not in content


@pytest.mark.processes
def test_the_script_predicts_where_this_library_is_not(
    file: Path, model: TrainedModel, tmp_path: Path
) -> None:
    files = photographs(tmp_path)
    script = file.with_name("model_predict.py")
    code = [line for line in script.read_text().splitlines() if line.strip()]
    assert sum(not re.match(r'"""|import|from', line) for line in code) <= 20
    out = elsewhere(str(script), *map(str, files), cwd=tmp_path)
    same_lines(out, expected_lines(model, files))


def test_eight_bits(model: TrainedModel, file: Path, tmp_path: Path) -> None:
    """Its weights are rounded, and it still says about the same."""
    images = torch.from_numpy(some_images(model.image, 64))
    export = Onnx(Options(int8=True), Facts(images=images))
    exact, out = export.exact(), tmp_path / export.file
    assert exact is not None and exact.exact() is None
    exact._made = model, _without_metadata(file)
    assert export.write(model, out) == [out, tmp_path / "model.int8_predict.py"]
    kinds = {tensor.data_type for tensor in onnx.load(out).graph.initializer}
    assert onnx.TensorProto.INT8 in kinds
    given = some_images(model.image, 50)
    gap = np.abs(export.open(out)(given) - probabilities(model, given)).max()
    assert 1e-6 < gap < 0.2


def _without_metadata(file: Path) -> Any:
    proto = onnx.load(file)
    del proto.metadata_props[:]
    return proto


def test_eight_bits_need_training_images(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="int8 learns its ranges from training images, and none"):
        Onnx(Options(int8=True)).write(tiny_model(), tmp_path / "model.onnx")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["onnx", "onnxscript"])
def test_the_extra_is_named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(EdartsError, match=r"onnx needs onnx, onnxscript and onnxruntime \(in a"):
        Onnx().write(tiny_model(), tmp_path / "model.onnx")


@pytest.mark.slow
@pytest.mark.parametrize("image", [(1, 9, 7), (3, 16, 16)], ids=str)
@pytest.mark.parametrize("name", zoo.names())
def test_the_whole_zoo(name: str, image: Any, tmp_path: Path) -> None:
    design = zoo.get(name).architecture
    size = Size(3, 4, whitening=image[0] == 1 and design.whitens) if design.sized else Size()
    model = trained(design, size, image)
    Onnx().write(model, tmp_path / "model.onnx")
    agrees(Onnx().open(tmp_path / "model.onnx"), model, rounding=5e-5)
