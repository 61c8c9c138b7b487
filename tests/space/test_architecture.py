"""Architectures: JSON of every kind, formats of plug-ins, files, names; what whole networks
refuse.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from edarts import EdartsError, Size, TrainConfig, UsageError, registry
from edarts.nn.baselines.densenet_bc import DenseNetBC
from edarts.nn.trees import Block, ProxylessTrees
from edarts.nn.whole import Whole
from edarts.runtime import Session
from edarts.space import architecture, named, zoo
from edarts.testing.problems import tiny_data
from edarts.training import device
from edarts.training import fit as train

SMALL = DenseNetBC(10, 2)
TREES = ProxylessTrees((Block.parse("4 3(i,a) m(5,d) i(i,i) 7(m,3)"),) * 3)


@pytest.mark.parametrize("kind", [SMALL, TREES, zoo.get("snas.aggressive").architecture])
def test_json(kind: architecture.Architecture, tmp_path: Path) -> None:
    path = tmp_path / "genotype.json"
    path.write_text(kind.to_json())
    assert architecture.load(path) == kind
    assert architecture.from_dict(kind.to_dict()) == kind


@pytest.mark.parametrize("text", ["{", "[]", "3", '{"format": []}', '{"format": "edarts.trees/1"}'])
def test_damaged_file_is_named(text: str, tmp_path: Path) -> None:
    path = tmp_path / "g.json"
    path.write_text(text)
    with pytest.raises(EdartsError, match=r"g\.json: damaged genotype"):
        architecture.load(path)


@pytest.mark.parametrize("kind", [SMALL, TREES])
def test_whole_networks_train(kind: DenseNetBC | ProxylessTrees) -> None:
    data = tiny_data(96)
    config = train.resolve_config(TrainConfig("darts", epochs=4, batch_size=16), 96, whole=True)
    assert (config.cells, config.auxiliary, config.drop_path) == (None, 0.0, 0.0)
    network = train.build(kind, config, data, 0)
    runtime = device.runtime(Session(device="cpu"))
    result = train.fit(network, data, config, runtime)
    assert result.history[-1]["loss"] < result.history[0]["loss"]
    # the same without resolving first
    assert train.fit(network, data, TrainConfig("darts", epochs=1), runtime).history


@pytest.mark.parametrize("option", ["cells", "channels", "auxiliary", "drop_path"])
def test_whole_networks_refuse(option: str) -> None:
    config = TrainConfig(**{option: 1 if option in ("cells", "channels") else 0.3})
    with pytest.raises(UsageError, match=f"{option} is for networks of cells"):
        train.resolve_config(config, 100, whole=True)


def test_whole_networks_have_neither_auxiliary_head_nor_edges() -> None:
    network = SMALL.build(Size(), (1, 8, 8), 3)
    network.set_drop_path(0.0)
    with pytest.raises(UsageError, match=r"DenseNet-BC, 10 layers.*drop_path"):
        network.set_drop_path(0.1)
    with pytest.raises(UsageError, match="no auxiliary head"):
        network(torch.randn(2, 1, 8, 8), auxiliary=True)
    for size in (Size(cells=3), Size(channels=4), Size(auxiliary=True)):
        with pytest.raises(UsageError, match="has its own depth and width, and no auxiliary head"):
            SMALL.build(size, (1, 8, 8), 3)


# -- plug-ins -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Linear(Whole):
    """A baseline of somebody else's: one linear layer, `width` of nothing in particular."""

    FORMAT: ClassVar[str] = "baselines.flat/1"
    name: ClassVar[str] = "flat"
    width: int = 3

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Linear":
        return cls(fields["width"])

    def to_dict(self) -> dict[str, Any]:
        return {"format": self.FORMAT, "width": self.width}

    def network(self, image: tuple[int, int, int], classes: int) -> Any:
        return nn.Sequential(nn.Flatten(), nn.Linear(image[0] * image[1] * image[2], classes))

    def __str__(self) -> str:
        return f"linear, {self.width}"


@pytest.fixture
def linear() -> type[Linear]:
    added: type[Linear] = registry.add("baselines", Linear)
    return added


def test_the_format_of_a_plugin_names_it(linear: type[Linear], tmp_path: Path) -> None:
    path = tmp_path / "genotype.json"
    path.write_text(Linear(7).to_json())
    assert architecture.load(path) == Linear(7)
    assert architecture.from_dict(Linear(7).to_dict()) == Linear(7)
    # A space names the class of its architectures.
    space = type("Ours", (), {"name": "ours", "Architecture": Linear})
    registry.add("spaces", space)
    assert architecture.from_dict({"format": "spaces.ours/2", "width": 5}) == Linear(5)


def test_a_format_whose_plugin_is_not_here_is_named() -> None:
    with pytest.raises(registry.UnknownPlugin, match="unknown baseline 'flap'"):
        architecture.from_dict({"format": "baselines.flap/1"})
    for unknown in ("methods.darts/1", "edarts.genotype/9", "linear"):
        with pytest.raises(UsageError, match=f"an architecture of the unknown format '{unknown}'"):
            architecture.from_dict({"format": unknown})


def test_built_in_baselines_have_their_own_format() -> None:
    assert SMALL.to_dict()["format"] == "edarts.densenet_bc/1"
    named = SMALL.to_dict() | {"format": "baselines.densenet_bc/1"}
    assert architecture.from_dict(named) == SMALL


# -- names ----------------------------------------------------------------------------------------


def test_read(linear: type[Linear], tmp_path: Path) -> None:
    v2 = zoo.get("darts.v2").architecture
    assert named.architecture("darts.v2") == v2
    assert named.architecture("densenet_bc") == DenseNetBC()
    assert named.architecture("flat") == Linear()
    (tmp_path / "genotype.json").write_text(SMALL.to_json())
    assert named.architecture(str(tmp_path)) == SMALL
    assert named.architecture(str(tmp_path / "genotype.json")) == SMALL


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    for name, message in {
        str(tmp_path): r"has no genotype\.json; a search writes one when it is done",
        str(tmp_path / "absent"): "absent: no such file or run folder",
        "absent.json": r"absent\.json: no such file or run folder",
        "darts.v3": r"unknown architecture .*'darts\.v3'; did you mean darts\.v",
        "densenet_bd": "did you mean densenet_bc",
    }.items():
        with pytest.raises(EdartsError, match=message):
            named.architecture(name)


def test_a_plugin_missing_in_a_run_is_told_with_its_package(tmp_path: Path) -> None:
    (tmp_path / "genotype.json").write_text(Linear(7).to_json())
    plugins = {"baselines flat": "somebodys-networks 2.1"}
    (tmp_path / "environment.json").write_text(json.dumps({"plugins": plugins}))
    with pytest.raises(EdartsError, match=r"made with somebodys-networks 2\.1"):
        named.architecture(str(tmp_path))
    with pytest.raises(EdartsError, match=r"genotype\.json: .*: unknown baseline 'flat'"):
        architecture.load(tmp_path / "genotype.json")
