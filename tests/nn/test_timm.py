"""Networks of timm: from scratch and from a local file, without a network; who they refuse."""

import builtins
import re
import sys
from importlib import util
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import edarts
from edarts import EdartsError, TrainConfig, UsageError
from edarts.nn.timm import Timm, begin_with
from edarts.space import architecture, named
from edarts.space.base import Size
from edarts.testing.problems import tiny_data
from edarts.training import fit

NAME = "test_resnet"
CONFIG = TrainConfig(epochs=1, batch_size=24)


@pytest.fixture(scope="module")
def timm() -> Any:
    """timm; where torchvision is of another torch, its operators are declared, as none is used."""
    try:
        import torchvision
    except RuntimeError:
        for name in [name for name in sys.modules if name.startswith("torchvision")]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "FRAGMENT")
        spec = util.find_spec("torchvision")
        assert spec is not None and spec.origin is not None
        text = Path(spec.origin).with_name("_meta_registrations.py").read_text()
        for name in re.findall(r'(?:register_meta\("|"torchvision::)(\w+)"', text):
            library.define(f"{name}(Tensor x) -> Tensor")
        import torchvision  # noqa: F401
    import timm

    return timm


def weights(timm: Any, path: Path, classes: int = 7) -> dict[str, torch.Tensor]:
    """Those of a model that is like any other but for its numbers, in a file."""
    torch.manual_seed(5)
    made: dict[str, torch.Tensor] = timm.create_model(NAME, num_classes=classes).state_dict()
    save_file(made, path)
    return made


def test_by_name(timm: Any) -> None:
    design = named.architecture(f"timm:{NAME}")
    assert design == Timm(NAME) and str(design) == f"timm:{NAME}"
    assert architecture.from_dict(design.to_dict()) == design
    with pytest.raises(UsageError, match="unknown model of timm 'test_resnt'; did you mean test_"):
        named.architecture("timm:test_resnt")
    with pytest.raises(UsageError, match="unknown model of timm ''"):
        named.architecture("timm:")


def test_images_are_resized_as_the_model_expects(timm: Any) -> None:
    network: Any = Timm(NAME).build(Size(), (1, 8, 8), 3)
    seen: list[torch.Size] = []
    network.model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape))
    assert network(torch.randn(2, 1, 8, 8)).shape == (2, 3)
    height, width = network.model.pretrained_cfg["input_size"][1:]
    assert seen == [(2, 1, height, width)]


def test_from_a_local_file(timm: Any, tmp_path: Path) -> None:
    """Its weights are those of the file, but for the classifier, as the classes differ."""
    known = weights(timm, tmp_path / "w.safetensors")
    data = tiny_data()
    config = fit.resolve_config(
        TrainConfig(pretrained=str(tmp_path / "w.safetensors")), len(data), whole=True
    )
    network: Any = fit.build(Timm(NAME), config, data, 0)
    mine = network.model.state_dict()
    same = [name for name in known if mine[name].shape == known[name].shape]
    assert len(same) > 0.8 * len(known)
    assert all(torch.equal(mine[name], known[name]) for name in same)
    assert mine["fc.weight"].shape[0] == 3


def test_trained_saved_and_loaded(timm: Any, tmp_path: Path) -> None:
    weights(timm, tmp_path / "w.safetensors")
    data, session = tiny_data(48), edarts.Session(out=tmp_path / "run", device="cpu")
    config = TrainConfig(epochs=1, batch_size=24, pretrained=str(tmp_path / "w.safetensors"))
    trained = edarts.train(f"timm:{NAME}", data, config, session)
    (tmp_path / "w.safetensors").unlink()  # from now on it is not needed
    assert edarts.load_model(tmp_path / "run").architecture == trained.genotype == Timm(NAME)
    assert 0 <= edarts.evaluate(tmp_path / "run", data).test_accuracy <= 1


def test_refused(timm: Any, tmp_path: Path) -> None:
    network = Timm(NAME).build(Size(), (3, 32, 32), 3)
    with pytest.raises(EdartsError, match=r"absent\.safetensors: no such file; give a safetensors"):
        begin_with(network, str(tmp_path / "absent.safetensors"))
    save_file({"other": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(EdartsError, match=r"other\.safetensors: not the weights of test_resnet: "):
        begin_with(network, str(tmp_path / "other.safetensors"))
    with pytest.raises(UsageError, match="pretrained is for networks named timm:NAME"):
        begin_with(torch.nn.Linear(1, 1), "hub")


def test_without_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = builtins.__import__

    def without(name: str, *arguments: Any, **more: Any) -> Any:
        if name == "timm":
            raise ImportError("No module named 'timm'")
        return plain(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(EdartsError, match=r"timm:NAME needs timm .*\[timm\].*No module named"):
        named.architecture("timm:resnet18")
