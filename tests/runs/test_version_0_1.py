"""Runs of version 0.1: their settings, their models, and a training that was stopped amid them.

`version_0_1/` is a run that version 0.1 has made: `edarts train cell.json digits --limit 120
--epochs 3 --cells 2 --channels 2 --batch-size 30 --lr 0.05 --seed 3`; `stopped/` holds what it had
written after the second step of its second epoch.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

import edarts
from edarts import DataConfig, EdartsError, SearchConfig, Session, TrainConfig, registry
from edarts.config import option_names, upgraded
from edarts.runs.folder import read_settings
from edarts.training.models import load_model

HERE = Path(__file__).parent / "version_0_1"
RESULTS = Path(__file__).parents[2] / "results"
CONFIGS = sorted([*RESULTS.rglob("config.yaml"), *RESULTS.rglob("*.config.yaml")])
OF_RUNS = {"seed", "device", "genotype"}

TRAIN = TrainConfig("shallow", epochs=3, cells=2, channels=2, batch_size=30, lr=0.05, auxiliary=0.0)
DATA = DataConfig("digits", limit=120)


def run(folder: Path) -> Path:
    """A copy of the run."""
    return Path(shutil.copytree(HERE, folder, ignore=shutil.ignore_patterns("stopped")))


def stopped(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the run as it was when it was stopped, beside the cell that it was given."""
    shutil.copytree(HERE / "stopped", folder)
    for name in ("config.yaml", "genotype.json"):
        shutil.copy(HERE / name, folder)
    shutil.copy(HERE / "genotype.json", folder.parent / "cell.json")
    monkeypatch.chdir(folder.parent)
    return folder


# -- a model --------------------------------------------------------------------------------------


def test_its_model_is_loaded() -> None:
    model = load_model(HERE)
    assert model.architecture.to_dict()["preprocessing"] == "enas"  # `plumbing` in its model.json
    assert (model.size.cells, model.size.channels) == (2, 2)
    assert (model.image, len(model.classes), model.data) == ((1, 8, 8), 10, "digits")
    weights = load_file(HERE / "model.safetensors")
    assert all(torch.equal(weights[k], v) for k, v in model.network.state_dict().items())


def test_its_model_is_evaluated_and_predicts(tmp_path: Path) -> None:
    from PIL import Image

    folder = run(tmp_path / "run")
    report = edarts.evaluate(folder, session=Session(device="cpu"))
    # what version 0.1 said; another processor may round one of the 359 images to another class
    assert report.test_accuracy == pytest.approx(84 / 359, abs=1.5 / 359)
    assert (report.test_images, report.parameters, report.flops) == (359, 864, 12_416)
    Image.new("L", (8, 8), 90).save(tmp_path / "grey.png")
    (prediction,) = edarts.predict(folder, [tmp_path / "grey.png"], Session(device="cpu"))
    assert prediction.to_dict()["class"] in load_model(folder).classes


def test_its_page_is_drawn_again(tmp_path: Path) -> None:
    folder = run(tmp_path / "run")
    edarts.report([folder])
    assert "train" in (folder / "report.html").read_text(encoding="utf-8")


# -- a training -----------------------------------------------------------------------------------


def test_its_training_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From its checkpoint to the weights at which version 0.1 ended without a stop."""
    folder = stopped(tmp_path / "run", monkeypatch)
    edarts.train("cell.json", DATA, TRAIN, Session(seed=3, out=folder))
    found, expected = (load_file(f / "model.safetensors") for f in (folder, HERE))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
    lines = [
        [json.loads(text) for text in (f / "metrics.jsonl").read_text().splitlines()]
        for f in (folder, HERE)
    ]
    for mine, its in zip(*lines, strict=True):
        assert (mine["phase"], mine["epoch"]) == (its["phase"], its["epoch"])
        for name in ("loss", "accuracy"):
            assert mine[name] == pytest.approx(its[name], rel=1e-3)


def test_another_training_in_its_folder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = stopped(tmp_path / "run", monkeypatch)
    with pytest.raises(EdartsError, match=r"recipe: shallow in the run, darts now.*another --out"):
        edarts.train("cell.json", DATA, TrainConfig("darts", epochs=3), Session(seed=3, out=folder))


# -- settings -------------------------------------------------------------------------------------


def test_there_are_old_settings() -> None:
    assert len(CONFIGS) >= 38


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: str(p.relative_to(RESULTS)))
def test_recorded_settings_are_read_without_loss(path: Path, tmp_path: Path) -> None:
    shutil.copy(path, tmp_path / "config.yaml")
    old, new = yaml.safe_load(path.read_text()), read_settings(tmp_path)
    read = DataConfig.from_settings(new).to_settings()
    if "study" in new:
        study = registry.get("studies", new["study"])
        own = {"study", "seeds", "search", "train", *option_names(study)}
        check(kept(old) - own, old, {**read, **{name: new[name] for name in OF_RUNS & {*new}}})
        check_train(old["train"], new["train"])
        check_search(old["search"], new["search"], others="methods" in old)
        return
    data = {name: new[name] for name in (*read, *OF_RUNS) if name in new}
    assert {**data, **read} == {**read, **data}
    rest = {name: value for name, value in old.items() if name not in data}
    (check_search if "method" in old else check_train)(rest, new)


def kept(settings: Mapping[str, Any]) -> set[str]:
    """The names of what is set."""
    return {name for name, value in settings.items() if value is not None}


def check(names: set[str], old: Mapping[str, Any], read: Mapping[str, Any]) -> None:
    assert {n: old[n] for n in names} == {n: read[n] for n in names}


def check_train(old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    read = TrainConfig.from_settings(new).to_settings()
    assert read["recipe"] == old["size"]
    check(kept(old) - {"size"}, old, read)


def check_search(old: Mapping[str, Any], new: Mapping[str, Any], others: bool = False) -> None:
    """`others`: whether it may hold what only other methods take, as in a comparison."""
    read = SearchConfig.from_settings(new).to_settings()
    if others:
        read |= {n: new[n] for n in option_names(registry.get("methods", "random_ws")) & {*new}}
    dropped = {"edarts": {"order"}, "random_ws": {"arch_update"}}.get(old["method"], set())
    check(kept(old) - {"partial", "topology"} - dropped, old, read)
    if old.get("partial") is not None:
        assert read["channel_fraction"] == 1 / old["partial"]
    topology = old.get("topology")
    if topology == "enas":
        assert read["space"] == "enas" and "topology" not in read
    elif topology is not None:
        assert (read["space"], read["topology"]) == ("darts", topology)
    else:
        assert "space" not in read, "the method's own"


OPEN = dict.fromkeys(["order", "operations", "topology", "attention", "partial", "clip"])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"method": "nasnet_rl", "arch_lr": 3e-4}, {"method": "nasnet_rl", "controller_lr": 3e-4}),
        ({"method": "enas", "arch_lr": 3e-4}, {"method": "enas", "arch_lr": 3e-4}),
        ({"method": "edarts", "order": 1}, {"method": "edarts"}),
        ({"method": "darts", "order": 2}, {"method": "darts", "order": 2}),
        ({"method": "random_ws", "arch_update": "epoch"}, {"method": "random_ws"}),
        ({"method": "pnas", "topology": "all"}, {"method": "pnas", "space": "blocks"}),
        (
            {"method": "hierarchical_evolution", "lr": None},
            {"method": "hierarchical_evolution", "space": "motifs"},
        ),
        (
            {"method": "regularized_evolution", "topology": "enas"},
            {"method": "regularized_evolution", "space": "enas"},
        ),
        (
            {"method": "pc_darts", "topology": "all", "partial": 4},
            {"method": "pc_darts", "topology": "all", "space": "darts", "channel_fraction": 0.25},
        ),
        (
            {"method": "enas", "topology": "7"},
            {"method": "enas", "topology": "7", "space": "darts"},
        ),
        # the search of a study leaves the topology open: enas has its own space
        ({"method": "enas", "topology": None}, {"method": "enas"}),
    ],
)
def test_settings_are_called_as_they_are_now(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert upgraded(OPEN | old) == new
    assert upgraded({"search": OPEN | old}) == {"search": new}


def test_settings_of_this_version_stay_as_they_are() -> None:
    new = {"method": "enas", "space": "enas", "arch_lr": None}
    assert upgraded(new) == new
