"""Architectures: JSON of every kind, files, building; what whole networks refuse."""

from pathlib import Path

import pytest
import torch
from edarts.nn.densenet import DenseNetBC

from edarts import EdartsError, TrainConfig, UsageError
from edarts.nn.trees import Block, ProxylessTrees
from edarts.runtime import Session
from edarts.space import architecture, zoo
from edarts.testing import contract as testing
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
    data = testing.tiny_data(96)
    config = train.resolve_config(TrainConfig("full", epochs=4, batch_size=16), 96, whole=True)
    assert (config.cells, config.auxiliary, config.drop_path) == (None, 0.0, 0.0)
    network = train.build(kind, config, data, 0)
    runtime = device.runtime(Session(device="cpu"))
    result = train.fit(network, data, config, runtime)
    assert result.history[-1]["loss"] < result.history[0]["loss"]
    # the same without resolving first
    assert train.fit(network, data, TrainConfig("full", epochs=1), runtime).history


@pytest.mark.parametrize("option", ["cells", "channels", "auxiliary", "drop_path"])
def test_whole_networks_refuse(option: str) -> None:
    config = TrainConfig(**{option: 1 if option in ("cells", "channels") else 0.3})
    with pytest.raises(UsageError, match=f"{option} is for networks of cells"):
        train.resolve_config(config, 100, whole=True)


def test_whole_networks_have_neither_auxiliary_head_nor_edges() -> None:
    network = SMALL.build(3, (1, 8, 8))
    network.set_drop_path(0.0)
    with pytest.raises(UsageError, match=r"DenseNet-BC, 10 layers.*drop_path"):
        network.set_drop_path(0.1)
    with pytest.raises(UsageError, match="no auxiliary head"):
        network(torch.randn(2, 1, 8, 8), auxiliary=True)
