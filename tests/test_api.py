"""The library as it is called: typed reports, any form of data, what a verb refuses, and how often
data are decoded and models read.
"""

import csv
import json
import shutil
import subprocess
import sys
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import edarts
from edarts import api
from edarts.cli.main import main
from edarts.data import Dataset, Opened
from edarts.methods.blackbox.base import LedgerOptions
from edarts.nn.supernet import Supernet
from edarts.reporting.exported import ExportReport
from edarts.reporting.predictions import Prediction
from edarts.reporting.reports import (
    BlackBoxReport,
    EvaluationReport,
    FindReport,
    PagesReport,
    SearchReport,
    TrainReport,
)
from edarts.studies.driver import StudyReport
from edarts.studies.row import Row
from edarts.training import models
from support import write_images

SEARCH = edarts.SearchConfig.of(
    "edarts", cells=2, channels=4, epochs=1, batch_size=16, data_fraction=1.0
)
TRAIN = edarts.TrainConfig(cells=2, channels=4, epochs=1, batch_size=16)
HELD_OUT = edarts.TrainConfig(cells=2, channels=4, epochs=1, batch_size=16, valid_fraction=0.3)


def arrays() -> tuple[Any, Any]:
    """60 grey images of 8 x 8 of three classes, whose brightness tells them apart."""
    labels = np.arange(60) % 3
    noise = np.random.default_rng(0).integers(0, 60, (60, 8, 8))
    return (noise + 60 * labels[:, None, None]).astype(np.uint8), labels


def of_form(form: str, folder: Path) -> Any:
    """Small data: a path, a config, a Dataset, or arrays."""
    path = str(write_images(folder, {"a": 20, "b": 20, "c": 20}, (8, 8)))
    if form == "path":
        return path
    if form == "config":
        return edarts.DataConfig(path, test_fraction=0.3)
    return edarts.load(path) if form == "Dataset" else arrays()


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> FindReport:
    """A run of find on the arrays."""
    out = tmp_path_factory.mktemp("found") / "run"
    return edarts.find(arrays(), SEARCH, TRAIN, edarts.Session(out=out, device="cpu"))


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The splits that are decoded, in order."""
    splits: list[str] = []
    decode = Opened._decode

    def spy(opened: Opened, split: Any, *asked: Any) -> Dataset:
        splits.append(split)
        return decode(opened, split, *asked)

    monkeypatch.setattr(Opened, "_decode", spy)
    return splits


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The runs whose model is read from the disk."""
    runs: list[str] = []

    def spy(run: str | Path) -> models.TrainedModel:
        runs.append(Path(run).name)
        return models.load_model(run)

    monkeypatch.setattr(api, "load_model", spy)
    return runs


@pytest.mark.parametrize("form", ["path", "config", "Dataset", "arrays"])
def test_every_form_of_data_works_with_every_verb(form: str, tmp_path: Path) -> None:
    data = of_form(form, tmp_path / "data")

    def session(name: str) -> edarts.Session:
        return edarts.Session(out=tmp_path / name, device="cpu")

    searched = edarts.search(data, SEARCH, session("search"))
    assert isinstance(searched, SearchReport)
    assert isinstance(searched.genotype, edarts.Genotype)
    trained = edarts.train(searched.genotype, data, TRAIN, session("train"))
    assert isinstance(trained, TrainReport)
    assert trained.genotype == searched.genotype
    tested = edarts.evaluate(tmp_path / "train", data)
    assert isinstance(tested, EvaluationReport)
    # A Dataset is what its test split is cut off from, here 48 images.
    assert tested.test_images == {"config": 18, "Dataset": 9}.get(form, 12)
    assert tested.accuracy.low is not None
    assert tested.accuracy.low <= tested.test_accuracy
    both = edarts.find(
        data, SEARCH, replace(TRAIN, valid_fraction=0.0), session("find"), candidates="found"
    )
    assert isinstance(both, FindReport)
    assert both.genotype == searched.genotype
    # On the CPU the same seed gives the same to the last bit, in one run folder or in two.
    assert both.test_accuracy == tested.test_accuracy
    done = edarts.study("depth", data, edarts.SearchConfig.of("darts", channels=4, epochs=1),
                        HELD_OUT, session("study"), cells="2", seeds=1)  # fmt: skip
    assert isinstance(done, StudyReport)
    assert [type(row) for row in done.rows] == [Row]
    assert done.failed == ()


def test_other_verbs_return_reports_too(found: FindReport, tmp_path: Path) -> None:
    photo = write_images(tmp_path / "photos", {"x": 2}, (8, 8)) / "x" / "0.png"
    predicted = edarts.predict(found.run, [photo, str(photo)])
    assert [type(each) for each in predicted] == [Prediction, Prediction]
    assert predicted.to_dict() == [each.to_dict() for each in predicted]
    assert predicted.summary().splitlines() == [each.summary() for each in predicted]
    assert predicted[0].class_name in ("0", "1", "2")
    exported = edarts.export(found.run, out=tmp_path / "model.pt2")
    assert isinstance(exported, ExportReport)
    assert exported.files == (tmp_path / "model.pt2",)
    drawn = edarts.report([found.run])
    assert isinstance(drawn, PagesReport)
    assert drawn.files == (found.run / "report.html",)
    config = edarts.SearchConfig.of("random_search", trials=2, epochs=1, cells=2, channels=4)
    session = edarts.Session(out=tmp_path / "random", device="cpu")
    searched = edarts.search(arrays(), config, session)
    assert isinstance(searched, BlackBoxReport)
    assert searched.scored == 2 < LedgerOptions().trials
    session = edarts.Session(out=tmp_path / "compare", device="cpu")
    search = edarts.SearchConfig.of_many(cells=2, channels=4, epochs=1)
    options: dict[str, Any] = {"methods": "edarts", "random_cells": 1, "seeds": 1}
    done = edarts.compare(arrays(), search, HELD_OUT, session, **options)
    assert isinstance(done, StudyReport)
    assert [row.factors["kind"] for row in done.rows] == ["method", "random"]


def test_data_and_models_are_loaded(found: FindReport) -> None:
    data = edarts.load(arrays())
    assert isinstance(data, edarts.Dataset)
    assert len(data) == 48
    model = edarts.load_model(found.run)
    assert (model.architecture, model.parameters) == (found.genotype, found.parameters)
    assert model.classes == ("0", "1", "2")


def test_find_decodes_each_split_once_and_reads_no_model_back(
    tmp_path: Path, decoded: list[str], read: list[str]
) -> None:
    data = str(write_images(tmp_path / "data", {"a": 20, "b": 20}, (8, 8)))
    session = edarts.Session(out=tmp_path / "run", device="cpu")
    first = edarts.find(data, SEARCH, TRAIN, session)
    assert decoded == ["train", "test"]
    assert read == []
    # What is read back is what was tested.
    assert edarts.evaluate(tmp_path / "run").test_accuracy == first.test_accuracy
    assert read == ["run"]


def test_a_study_decodes_each_split_once_and_reads_no_model_back(
    tmp_path: Path, decoded: list[str], read: list[str]
) -> None:
    data = str(write_images(tmp_path / "data", {"a": 20, "b": 20}, (8, 8)))
    session = edarts.Session(out=tmp_path / "study", device="cpu")
    done = edarts.study("topology", data, None, HELD_OUT, session, topologies="0,1", seeds=1)
    assert [row.status for row in done.rows] == ["done", "done"]
    assert decoded == ["train", "test"]
    assert read == []


def test_a_study_takes_all_of_its_session(tmp_path: Path) -> None:
    """What a run's evaluation cannot use is not handed to it: see the refusals below."""
    data = str(write_images(tmp_path / "data", {"a": 20, "b": 20}, (8, 8)))
    session = edarts.Session(
        out=tmp_path / "study", device="cpu", checkpoint_seconds=1.0, precision="bf16"
    )
    done = edarts.study("topology", data, None, HELD_OUT, session, topologies="0", seeds=2)
    assert [(row.status, row.seed) for row in done.rows] == [("done", 0), ("done", 1)]


def test_a_session_is_passive() -> None:
    """Making one opens no device and needs no torch; what it says is checked when it is used."""
    code = (
        "import sys, edarts\n"
        "edarts.Session(device='no such device', precision='fp16', compile=True, workers=3)\n"
        "assert 'torch' not in sys.modules and 'ray' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(edarts.EdartsError, match="device no such device is not here"):
        edarts.search("digits", SEARCH, edarts.Session(device="no such device"))


@pytest.mark.parametrize(
    ("verb", "option", "value"),
    [
        *(("find", *pair) for pair in (("storage", "sqlite://"), ("workers", 2))),
        *(("train", *pair) for pair in (("workers", 2), ("ray_address", "local"))),
        *(("search", *pair) for pair in (("storage", "x"), ("workers", 2), ("ray_address", "x"))),
        *(("random_search", *pair) for pair in (("precision", "bf16"), ("compile", True))),
        *(("evaluate", *pair) for pair in (("seed", 1), ("out", "x"), ("precision", "bf16"))),
        *(("predict", *pair) for pair in (("compile", True), ("checkpoint_seconds", 1.0))),
        *(("study", *pair) for pair in (("seed", 1), ("storage", "sqlite://"))),
    ],
)
def test_what_a_verb_cannot_use_of_a_session_is_refused(
    tmp_path: Path, found: FindReport, verb: str, option: str, value: Any
) -> None:
    session = edarts.Session(**{"out": tmp_path / "run", option: value})
    alone = edarts.Session(**{option: value})
    calls = {
        "find": lambda: edarts.find(arrays(), SEARCH, TRAIN, session),
        "search": lambda: edarts.search(arrays(), SEARCH, session),
        "random_search": lambda: edarts.search(
            arrays(), edarts.SearchConfig("random_search"), session
        ),
        "train": lambda: edarts.train("darts.v1", arrays(), TRAIN, session),
        "evaluate": lambda: edarts.evaluate(found.run, session=alone),
        "predict": lambda: edarts.predict(found.run, ["x.png"], alone),
        "study": lambda: edarts.study("depth", arrays(), session=session),
    }
    with pytest.raises(edarts.UsageError, match=option.replace("_", "[-_]") + "|seeds|ledger"):
        calls[verb]()
    assert not (tmp_path / "run").exists()


def test_wrong_options_of_plug_ins_are_refused(found: FindReport) -> None:
    with pytest.raises(edarts.UsageError, match="study topology takes no --cells"):
        edarts.study("topology", arrays(), cells="5")
    with pytest.raises(edarts.UsageError, match="unknown option of format torch 'opset'"):
        edarts.export(found.run, opset=17)
    with pytest.raises(edarts.UsageError, match="find searches with one-shot methods"):
        edarts.find(arrays(), edarts.SearchConfig("random_search"))
    with pytest.raises(edarts.UsageError, match="study needs a kind"):
        edarts.study()


def test_six_calls_from_the_command_to_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Verb.run, search, one_shot, Loop, SupernetTraining.step, and the supernet itself."""
    stacks: list[list[str]] = []
    forward, package = Supernet.forward, str(Path(edarts.__file__).parent)

    def spy(net: Supernet, *inputs: Any) -> Any:
        frames = traceback.extract_stack()[:-1]
        ours = [f.name for f in frames if f.filename.startswith(package)]
        stacks.append(ours[ours.index("main") :])
        return forward(net, *inputs)

    monkeypatch.setattr(Supernet, "forward", spy)
    argv = ["search", "digits", "--cells", "2", "--channels", "4", "--limit", "60", "--epochs", "1"]
    assert main([*argv, "--quiet", "--device", "cpu", "--out", str(tmp_path / "run")]) == 0
    assert stacks[0] == ["main", "run", "search", "one_shot", "__call__", "step"]


def test_predict_takes_folders_and_patterns(found: FindReport, tmp_path: Path) -> None:
    photos = write_images(tmp_path / "photos", {"x": 2, "y": 1}, (8, 8))
    (photos / "x" / ".DS_Store").write_bytes(b"x")
    files = [str(photos / name) for name in ("x/0.png", "x/1.png", "y/0.png")]
    for given in ([photos], [photos / "x", files[2]], [str(photos / "*" / "*.png")]):
        assert [said.file for said in edarts.predict(found.run, given)] == files
    with pytest.raises(edarts.EdartsError, match=r"none.*: no image file"):
        edarts.predict(found.run, [photos / "none*"])
    with pytest.raises(edarts.EdartsError, match=r"none\.png: no such file"):
        edarts.predict(found.run, [photos / "none.png"])


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> FindReport:
    """A run that held out enough images to learn how far its answers can be trusted."""
    out = tmp_path_factory.mktemp("calibrated") / "run"
    config = edarts.TrainConfig(epochs=3, batch_size=32, valid_fraction=0.2)
    data = edarts.DataConfig("digits", limit=400)
    session = edarts.Session(out=out, device="cpu")
    return edarts.find(data, SEARCH, config, session, candidates="resnet")


def test_what_was_learned_from_images_held_out(calibrated: FindReport, tmp_path: Path) -> None:
    """It is kept with the model: coverage and flags in the report, sets and flags in predictions,
    the same by a model that is read back."""
    assert calibrated.trust is not None and calibrated.trust.learned is not None
    learned = calibrated.trust.learned
    assert learned.images == 80
    model = edarts.load_model(calibrated.run)
    assert model.calibration is not None
    assert model.calibration.temperature == learned.temperature
    assert "sets of classes" in calibrated.summary()
    again = edarts.evaluate(calibrated.run)
    assert again.trust == calibrated.trust
    digit = edarts.load("digits", "test").images[:3, :, :, 0].numpy()
    files = [tmp_path / "0.png", tmp_path / "1.png", tmp_path / "checks.png"]
    checks = (np.indices((8, 8)).sum(0) % 2 * 255).astype(np.uint8)
    for file, pixels in zip(files, (digit[0], digit[1], checks), strict=True):
        Image.fromarray(pixels).save(file)
    said = edarts.predict(calibrated.run, files, out=tmp_path / "said.csv")
    for each in said:
        assert each.classes is not None and each.classes[0] == each.class_name
        assert set(each.to_dict()) == {"file", "class", "probability", "set", "unlike"}
    assert [each.unlike for each in said] == [False, False, True]
    assert said[2].summary().endswith("unlike the training data")
    with (tmp_path / "said.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [json.loads(row["unlike"]) for row in rows] == [False, False, True]
    assert [json.loads(row["set"]) for row in rows] == [list(each.classes or ()) for each in said]


def test_few_images_held_out_teach_nothing(found: FindReport, tmp_path: Path) -> None:
    assert found.trust is not None and found.trust.learned is None
    photos = write_images(tmp_path / "photos", {"x": 1}, (8, 8))
    (said,) = edarts.predict(found.run, [photos])
    assert set(said.to_dict()) == {"file", "class", "probability"}


def test_a_damaged_calibration_is_named(calibrated: FindReport, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(calibrated.run, copy)
    (copy / "calibration.safetensors").write_bytes(b"x")
    with pytest.raises(edarts.EdartsError, match=r"calibration\.safetensors: damaged: not what"):
        edarts.load_model(copy)


def test_predictions_are_written(found: FindReport, tmp_path: Path) -> None:
    photos = write_images(tmp_path / "photos", {"a, b": 2}, (8, 8))
    said = edarts.predict(found.run, [photos], out=tmp_path / "said.csv")
    with (tmp_path / "said.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == [each.file for each in said]
    assert [float(row["probability"]) for row in rows] == [each.probability for each in said]
    edarts.predict(found.run, [photos], out=tmp_path / "said.json")
    assert json.loads((tmp_path / "said.json").read_text()) == said.to_dict()
    with pytest.raises(edarts.UsageError, match=r"said\.txt: predictions are written as \.csv or"):
        edarts.predict(found.run, [photos], out=tmp_path / "said.txt")
    with pytest.raises(edarts.EdartsError, match=r"said\.csv: cannot be written: No such file"):
        edarts.predict(found.run, [photos], out=tmp_path / "no" / "said.csv")


def test_other_data_are_evaluated_whole(tmp_path: Path) -> None:
    """All images of a folder without splits, any number for each class; the run's own data are not,
    by whatever path.
    """
    root = write_images(tmp_path / "data", {"a": 10, "b": 10}, (8, 8))
    edarts.train(
        "linear", str(root), edarts.TrainConfig(epochs=1), edarts.Session(out=tmp_path / "r")
    )
    own = edarts.evaluate(tmp_path / "r")
    assert own.test_images == 4
    assert edarts.evaluate(tmp_path / "r", str(tmp_path / "data" / ".." / "data")).test_images == 4
    other = write_images(tmp_path / "other", {"a": 1, "b": 6}, (8, 8), seed=1)
    assert edarts.evaluate(tmp_path / "r", str(other)).test_images == 7
    one = write_images(tmp_path / "one", {"b": 3}, (8, 8), seed=1)
    report = edarts.evaluate(tmp_path / "r", str(one))
    assert report.test_images == 3 and report.per_class["a"] is None
    splits = tmp_path / "splits"
    write_images(splits / "train", {"a": 4, "b": 4}, (8, 8))
    write_images(splits / "test", {"a": 2, "b": 1}, (8, 8))
    assert edarts.evaluate(tmp_path / "r", str(splits)).test_images == 3


def test_a_model_that_says_healthy_to_all_is_told_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """95 % of the images are healthy: balanced accuracy leads, and the share stands beside."""
    root = write_images(tmp_path / "data", {"healthy": 190, "ill": 10}, (8, 8))
    session = edarts.Session(out=tmp_path / "run", device="cpu")
    edarts.train("linear", str(root), edarts.TrainConfig(epochs=1, lr=1e-6), session)
    report = edarts.evaluate(tmp_path / "run")
    lines = report.summary().splitlines()
    assert lines[0].startswith("balanced accuracy ") and lines[1].startswith("test accuracy ")
    assert "95.00% of the test images are 'healthy'" in lines[2]
    assert report.trust is not None
    assert report.to_dict()["trust"]["majority_class"] == "healthy"
    assert report.trust.confusion[0][0] + report.trust.confusion[0][1] == 38
