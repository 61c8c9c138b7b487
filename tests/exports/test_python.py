"""Plain source: it computes what the network computes, without this library, for every kind of
network, and a network that has no plain form is refused.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from torch import nn

import edarts
from edarts import registry
from edarts.errors import UsageError
from edarts.exports.python import PythonFolder
from edarts.exports.source import WIDTH
from edarts.nn.trees import Block, ProxylessTrees
from edarts.space import zoo
from edarts.space.base import Image, Size
from edarts.space.genotype import KINDS
from edarts.training.models import TrainedModel
from exporting import (
    CLASSES,
    agrees,
    elsewhere,
    expected_lines,
    found,
    photographs,
    same_lines,
    trained,
)
from lab_plugins import SQUARE, Chain, Plain

TREES = ProxylessTrees((Block.parse("18 7(d,i) m(7,m) 5(5,5) d(a,7)"),) * 3)
SHAPES: list[Image] = [(1, 9, 7), (2, 8, 8), (3, 65, 30), (4, 11, 16)]


def written(model: TrainedModel, folder: Path) -> PythonFolder:
    """The format, by which the model has been written."""
    export = PythonFolder()
    files = export.write(model, folder / "net")
    names = ["network.py", "model.safetensors", "model.json", "predict.py"]
    assert [file.name for file in files] == names
    return export


@pytest.mark.parametrize("image", SHAPES, ids=str)
@pytest.mark.parametrize("name", ["nasnet_a.official", "pnasnet5.official", "enas.script"])
def test_every_form_of_cells(name: str, image: Image, tmp_path: Path) -> None:
    """Raw first inputs, wide pools, plain convolutions, inputs in the output; any stem."""
    size = Size(4, 4, whitening=image[0] % 2 == 0)
    model = trained(zoo.get(name).architecture, size, image, mirrored=image[0] > 2)
    agrees(written(model, tmp_path).open(tmp_path / "net"), model)


@pytest.mark.parametrize("image", SHAPES, ids=str)
def test_a_found_cell(image: Image, tmp_path: Path) -> None:
    model = trained(found(), Size(3, 4), image)
    agrees(written(model, tmp_path).open(tmp_path / "net"), model)
    source = (tmp_path / "net" / "network.py").read_text()
    assert source.count("edarts") == 1  # who has written it
    assert max(map(len, source.splitlines())) <= WIDTH
    for word in ("class NormalCell(Cell):", "class ReductionCell(Cell):", "# sep_conv_3x3"):
        assert word in source


@pytest.mark.parametrize("image", SHAPES[::3], ids=str)
@pytest.mark.parametrize("name", [*registry.names("baselines"), "trees"])
def test_baselines(name: str, image: Image, tmp_path: Path) -> None:
    design = TREES if name == "trees" else registry.get("baselines", name)()
    model = trained(design, Size(), image)
    agrees(written(model, tmp_path).open(tmp_path / "net"), model)


def test_a_node_that_nothing_enters_is_zero(tmp_path: Path) -> None:
    fields = {
        "normal": "2:none(0)+none(1) 3:skip(0)+sep3(2)",
        "reduce": "2:none(0)+none(1) 3:max3(0)+sep3(2)",
    }
    model = trained(edarts.Genotype.from_dict(fields), Size(3, 4), (1, 9, 7))
    agrees(written(model, tmp_path).open(tmp_path / "net"), model)


def test_operations_and_networks_from_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of torch's own modules have a plain form by themselves, a `forward` has none."""
    model = trained(Plain(4), Size(), (1, 8, 8))
    agrees(written(model, tmp_path).open(tmp_path / "net"), model)
    registry.add("operations", SQUARE)
    fields = dict.fromkeys(KINDS, "2:lab(0)+skip(1) 3:lab(1)+lab(2)")
    model = trained(edarts.Genotype.from_dict(fields), Size(3, 4), (1, 8, 8))
    agrees(written(model, tmp_path).open(tmp_path / "net"), model)
    model = trained(Chain(("skip_connect",)), Size(1, 4), (1, 8, 8))
    with pytest.raises(UsageError, match="ChainNetwork has no form in plain PyTorch here: give"):
        PythonFolder().write(model, tmp_path / "chain")
    assert not (tmp_path / "chain").exists()


@pytest.mark.processes
@pytest.mark.parametrize("channels", [1, 4])
def test_the_script_predicts_where_this_library_is_not(channels: int, tmp_path: Path) -> None:
    model = trained(found(), Size(2, 4), (channels, 13, 17))
    written(model, tmp_path)
    (tmp_path / "photos").mkdir()
    files = photographs(tmp_path / "photos")
    script = tmp_path / "net" / "predict.py"
    assert len(script.read_text().splitlines()) <= 40
    out = elsewhere("predict.py", *map(str, files), cwd=script.parent)
    same_lines(out, expected_lines(model, files))


def test_what_it_says_of_itself(tmp_path: Path) -> None:
    model = trained(found(), Size(1, 4), (1, 8, 8), data="/home/somebody/photos")
    written(model, tmp_path)
    about = json.loads((tmp_path / "net" / "model.json").read_text(encoding="utf-8"))
    assert about["classes"] == [*CLASSES]
    assert about["image"] == [1, 8, 8]
    assert about["data"] == "photos"
    for file in (tmp_path / "net").iterdir():
        assert b"somebody" not in file.read_bytes()


def test_a_lazy_module_has_no_plain_form(tmp_path: Path) -> None:
    class Odd(nn.ReLU):
        def forward(self, x: Any) -> Any:
            return super().forward(x) + 1

    model = trained(Plain(4), Size(), (1, 8, 8))
    model.network.norm = Odd()  # type: ignore[assignment]
    with pytest.raises(UsageError, match="Odd has no form in plain PyTorch"):
        PythonFolder().write(model, tmp_path / "net")


@pytest.mark.slow
@pytest.mark.parametrize("image", [(1, 9, 7), (3, 16, 16)], ids=str)
@pytest.mark.parametrize("name", zoo.names())
def test_the_whole_zoo(name: str, image: Image, tmp_path: Path) -> None:
    design = zoo.get(name).architecture
    size = Size(3, 4, whitening=image[0] == 1 and design.whitens) if design.sized else Size()
    model = trained(design, size, image)
    agrees(written(model, tmp_path).open(tmp_path / "net"), model, rounding=5e-5)
