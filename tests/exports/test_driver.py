"""Exports as a user makes them: tested on the test images, kept if they say what the model says,
with files replaced one by one and nothing else touched.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

import edarts
from edarts.cli.main import main
from edarts.errors import EdartsError, UsageError
from edarts.exports.base import Answer, Export, classifier
from edarts.exports.python import PythonFolder
from edarts.exports.torch import TorchProgram
from edarts.nn.supernet import Supernet
from edarts.space.base import Size
from edarts.testing.others import tiny_model
from edarts.training.models import TrainedModel
from exporting import agrees, found, trained
from support import fails, run, write_images

TINY: dict[str, Any] = {"cells": 2, "channels": 4, "epochs": 1, "batch_size": 16}


@pytest.fixture(scope="module")
def won(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a small find in colour; the data lie beside it."""
    root = tmp_path_factory.mktemp("won")
    data = write_images(root / "photos", {"ant": 60, "bee": 60, "cat": 60}, (9, 8))
    search = edarts.SearchConfig.of("edarts", data_fraction=1.0, **TINY)
    session = edarts.Session(out=root / "run", device="cpu")
    train = edarts.TrainConfig(valid_fraction=0.25, **TINY)
    edarts.find(str(data), search, train, session, candidates="found")
    return root / "run"


def test_the_winner_of_find_is_tested_and_kept(won: Path, tmp_path: Path) -> None:
    report = edarts.export(won, "python", tmp_path / "net")
    names = ["network.py", "model.safetensors", "model.json", "predict.py"]
    assert report.files == tuple(tmp_path / "net" / name for name in names)
    assert all(file.is_file() for file in report.files)
    assert [path.name for path in tmp_path.iterdir()] == ["net"]
    found, tested = report.measured, edarts.evaluate(won)
    assert found is not None and found.accuracy is not None
    assert found.accuracy == tested.accuracy
    assert found.images == 36
    assert 0 <= found.difference < 1e-5
    assert found.bytes == sum(file.stat().st_size for file in report.files)
    assert found.milliseconds > 0
    about = json.loads((tmp_path / "net" / "model.json").read_text())
    assert (about["accuracy"], about["data"]) == (tested.test_accuracy, "photos")
    assert about["accuracy_ci95"] == [*tested.test_accuracy_ci95]
    agrees(PythonFolder().open(tmp_path / "net"), edarts.load_model(won))
    model = edarts.load_model(won)
    assert model.calibration is not None and model.calibration.temperature != 1


def test_the_command_prints_what_was_measured(
    won: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "net.pt2"
    told = run(capsys, "export", str(won), "--format", "torch", "--out", str(out), "--json")
    assert told["files"] == [str(out)]
    assert told["bytes"] == out.stat().st_size
    assert told["difference"] < 1e-5
    low, high = told["test_accuracy_ci95"]
    assert low <= told["test_accuracy"] <= high
    assert told["milliseconds"] > 0


def test_by_default_it_lies_in_the_run(won: Path, tmp_path: Path) -> None:
    shutil.copytree(won, tmp_path / "run")
    before = {path.name for path in (tmp_path / "run").iterdir()}
    edarts.export(tmp_path / "run", "python")
    assert {path.name for path in (tmp_path / "run").iterdir()} - before == {"model-python"}


class Lying(Export):
    """A format whose file says something else, or nothing that is a number."""

    suffix: ClassVar[str] = ".lie"
    shift: ClassVar[float] = 2e-4

    def write(self, model: TrainedModel, out: Path) -> list[Path]:
        self.network = classifier(model)
        out.write_text("a lie")
        return [out]

    def open(self, out: Path) -> Answer:
        def answer(images: Any) -> Any:
            said = self.network(torch.from_numpy(images)).numpy()
            said[:, 0] += self.shift
            return said

        return answer


class Broken(Lying):
    shift: ClassVar[float] = np.nan


class Close(Lying):
    shift: ClassVar[float] = 5e-5


@pytest.mark.parametrize("kind", [Lying, Broken])
def test_what_differs_is_not_kept(kind: Any, won: Path, tmp_path: Path) -> None:
    out = tmp_path / "model.lie"
    out.write_text("the one before")
    with pytest.raises(EdartsError, match=r"model\.lie: not kept, for its probabilities differ"):
        edarts.export(won, kind, out)
    assert [path.name for path in tmp_path.iterdir()] == ["model.lie"]
    assert out.read_text() == "the one before"


def test_what_differs_by_rounding_is_kept(won: Path, tmp_path: Path) -> None:
    report = edarts.export(won, Close, tmp_path / "model.lie")
    assert report.measured is not None
    assert report.measured.difference == pytest.approx(5e-5, rel=0.05)


def test_other_files_of_a_folder_stay(won: Path, tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "mine.txt").write_text("mine")
    (tmp_path / "net" / "predict.py").write_text("old")
    edarts.export(won, "python", tmp_path / "net")
    assert (tmp_path / "net" / "mine.txt").read_text() == "mine"
    assert (tmp_path / "net" / "predict.py").read_text() != "old"


@pytest.mark.parametrize("format", ["torch", "python"])
def test_where_nothing_can_be_written(format: str, won: Path, tmp_path: Path) -> None:
    with pytest.raises(EdartsError, match=r"none/x: cannot be written: .*none is no folder"):
        edarts.export(won, format, tmp_path / "none" / "x")
    (tmp_path / "file").write_text("")
    if format == "python":
        with pytest.raises(EdartsError, match=r"file.*: cannot be written: \S"):
            edarts.export(won, format, tmp_path / "file")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_without_the_data_it_is_compared_on_random_images(won: Path, tmp_path: Path) -> None:
    shutil.copytree(won.parent, tmp_path / "moved")
    copied = tmp_path / "moved" / "run"
    settings = (copied / "config.yaml").read_text().replace(str(won.parent), str(tmp_path / "gone"))
    (copied / "config.yaml").write_text(settings)
    (copied / "digests.json").unlink()  # the change is meant
    report = edarts.export(copied, "python", tmp_path / "net")
    assert report.measured is not None
    assert report.measured.accuracy is None
    assert report.measured.images == 64
    assert "not tested, but compared with the model on 64 random images: " in report.note
    assert "gone/photos" in report.note
    assert report.note in report.summary()
    # What find has measured is told all the same.
    about = json.loads((tmp_path / "net" / "model.json").read_text())
    assert about["accuracy"] == edarts.evaluate(won).test_accuracy


def test_data_from_python_are_given_again(tmp_path: Path) -> None:
    labels = np.arange(60) % 3
    images = np.random.default_rng(0).integers(0, 60, (60, 8, 8)) + 60 * labels[:, None, None]
    data, session = (images.astype(np.uint8), labels), edarts.Session(out=tmp_path / "run")
    edarts.train("darts.v2", data, edarts.TrainConfig(**TINY), replace(session, device="cpu"))
    edarts.data.opened._last = None  # as another process would find it
    alone = edarts.export(tmp_path / "run", "python", tmp_path / "alone")
    given = edarts.export(tmp_path / "run", "python", tmp_path / "given", data=data)
    assert alone.note and not given.note
    assert given.measured is not None and given.measured.images == 12
    with pytest.raises(UsageError, match="on the data that it was trained on, no others"):
        edarts.export(tmp_path / "run", "python", data=(images[:30].astype(np.uint8), labels[:30]))


def test_supernets_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tiny_model()
    net = Supernet(edarts.DartsSpace(), cells=2, channels=4, classes=2, image=model.image)
    for export in (TorchProgram(), PythonFolder()):
        with pytest.raises(UsageError, match="a supernet holds every candidate and cannot be exp"):
            export.write(replace(model, network=net), tmp_path / "model")
    (tmp_path / "run").mkdir()  # of a search, which has no trained network
    line = fails(capsys, 1, "export", str(tmp_path / "run"))
    assert "no trained model; `edarts train" in line


def test_in_half_precision(tmp_path: Path) -> None:
    """A network whose weights are of 16 bits is exported with the same weights, in float32."""
    model = trained(found(), Size(2, 4), (1, 9, 7))
    for weight in model.network.state_dict().values():
        weight.copy_(weight.to(torch.bfloat16))
    half = replace(model, network=_copied(model).to(torch.bfloat16))
    PythonFolder().write(half, tmp_path / "net")
    agrees(PythonFolder().open(tmp_path / "net"), model)
    assert {p.dtype for p in half.network.parameters()} == {torch.bfloat16}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("kind", [TorchProgram, PythonFolder])
def test_from_cuda(kind: Callable[[], Export], tmp_path: Path) -> None:
    model = trained(found(), Size(2, 4), (1, 9, 7))
    there = replace(model, network=_copied(model).to("cuda"))
    kind().write(there, tmp_path / "model")
    agrees(kind().open(tmp_path / "model"), model)
    assert {p.device.type for p in there.network.parameters()} == {"cuda"}


def _copied(model: TrainedModel) -> torch.nn.Module:
    network = model.architecture.build(model.size, model.image, len(model.classes)).eval()
    network.load_state_dict(model.network.state_dict())
    return network


def test_an_auxiliary_head_is_left_out(tmp_path: Path) -> None:
    model = trained(edarts.Genotype.load(_darts(tmp_path)), Size(3, 4, auxiliary=True), (3, 16, 16))
    PythonFolder().write(model, tmp_path / "net")
    agrees(PythonFolder().open(tmp_path / "net"), model)
    assert "uxiliary" not in (tmp_path / "net" / "network.py").read_text()
    assert hasattr(model.network, "auxiliary")


def _darts(folder: Path) -> Path:
    path = folder / "cell.json"
    path.write_text(found().to_json())
    return path


def test_int8_is_compared_with_float32(
    won: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(name)
    out = tmp_path / "net.onnx"
    words = ["export", str(won), "--format", "onnx", "--int8", "--out", str(out)]
    assert main([*words, "--json"]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    told = json.loads(last)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.onnx", "net_predict.py"]
    assert told["bytes"] == out.stat().st_size
    assert told["exact"]["difference"] < 1e-5 < told["difference"]
    assert told["exact"]["test_accuracy"] == edarts.evaluate(won).test_accuracy
    gap = told["test_accuracy"] - told["exact"]["test_accuracy"]
    assert told["change"]["value"] == pytest.approx(gap)
    assert told["change"]["n"] == 36
    assert told["change"]["low"] <= gap <= told["change"]["high"]
    text = "\n".join(lines)
    assert "int8 minus float32: " in text
    assert "verdict           int8 " in text
