"""Loggers: what TensorBoard's files hold, and that none of them can stop a run."""

import sys
import types
from pathlib import Path
from typing import Any

import pytest

import edarts
from edarts.runs.folder import Run, read_lines
from edarts.runs.loggers import logging, names
from edarts.runs.progress import Progress

SEARCH = edarts.SearchConfig.of("edarts", cells=2, channels=4, epochs=2)
TRAIN = edarts.TrainConfig(cells=2, channels=4, epochs=3, batch_size=32, valid_fraction=0.2)
TRAIN_LINEAR = edarts.TrainConfig(epochs=2)
DATA = edarts.DataConfig("digits", limit=80, test_limit=40)


class Told(Progress):
    """Keeps the warnings."""

    def __init__(self) -> None:
        super().__init__()
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Each tag of TensorBoard's event files -> (step, value) of it."""
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = reader.EventAccumulator(str(folder))
    found.Reload()
    tags = found.Tags()["scalars"]
    return {tag: [(event.step, event.value) for event in found.Scalars(tag)] for tag in tags}


def test_tensorboards_files_hold_the_metrics(tmp_path: Path) -> None:
    """Those of metrics.jsonl, and the test accuracy; read back by TensorBoard itself."""
    pytest.importorskip("tensorboard")
    told = Told()
    session = edarts.Session(out=tmp_path / "run", device="cpu", progress=told, log="tensorboard")
    report = edarts.find(DATA, SEARCH, TRAIN, session, candidates="found,linear")
    assert told.warnings == []
    found = scalars(report.run / "tensorboard")
    lines = read_lines(report.run / "metrics.jsonl")
    assert {line["phase"] for line in lines} == {"search", "train"}
    for phase, name in (("search", "loss"), ("train", "loss"), ("train", "valid_accuracy")):
        mine = [(ln["epoch"], ln[name]) for ln in lines if ln["phase"] == phase]
        assert len(mine) >= 2
        assert found[f"{phase}/{name}"] == [(n, pytest.approx(v, rel=1e-5)) for n, v in mine]
    assert found["test/accuracy"][0][1] == pytest.approx(report.test_accuracy)
    assert any(tag.startswith("race 1 linear") for tag in found)
    hparams = list((report.run / "tensorboard").rglob("hparams.yml"))
    assert "fingerprint" in hparams[0].read_text()


def test_a_run_is_the_same_with_loggers_and_without(tmp_path: Path) -> None:
    """What is logged belongs to no config: the same folder may be opened with and without."""
    reports = []
    for log in ("tensorboard", ""):
        session = edarts.Session(out=tmp_path / "run", device="cpu", progress=Told(), log=log)
        reports.append(edarts.train("linear", DATA, TRAIN_LINEAR, session))
    assert reports[0].to_dict() == reports[1].to_dict()


class Failing:
    """A tracker that fails in one of its calls, as accelerate's do: by an exception."""

    def __init__(self, at: str, calls: list[str]) -> None:
        self.at, self.calls = at, calls

    def __getattr__(self, name: str) -> Any:
        def call(*values: Any, **options: Any) -> None:
            self.calls.append(name)
            if name == self.at:
                raise RuntimeError("no\nconnection")

        return call


@pytest.mark.parametrize("at", ["start", "store_init_configuration", "log", "finish"])
def test_a_logger_that_fails_is_named_once_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    from accelerate import tracking

    calls: list[str] = []
    monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, "wandb", lambda **_: Failing(at, calls))
    told = Told()
    session = edarts.Session(out=tmp_path / "run", device="cpu", progress=told, log="wandb")
    report = edarts.train("linear", DATA, TRAIN_LINEAR, session)
    assert [line["epoch"] for line in read_lines(report.run / "metrics.jsonl")] == [0, 1]
    assert told.warnings == [
        "logger wandb has failed (RuntimeError: no connection); the run goes on without it"
    ]
    assert calls.count(at) == 1  # it is not asked again


def test_one_that_is_not_installed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)  # as if it were not there
    told = Told()
    session = edarts.Session(out=tmp_path / "run", device="cpu", progress=told, log="mlflow")
    edarts.train("linear", DATA, TRAIN_LINEAR, session)
    (line,) = told.warnings
    assert line == "logger mlflow has failed (install mlflow); the run goes on without it"


def test_weights_and_biases_count_their_own_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They drop what has a lower step than before, as the first epoch of a later phase has."""
    logged: list[tuple[Any, Any]] = []
    wandb: Any = types.ModuleType("wandb")
    run = types.SimpleNamespace(
        log=lambda values, step=None, **_: logged.append((values, step)), finish=lambda: None
    )
    asked: dict[str, Any] = {}
    wandb.init = lambda **options: (asked.update(options), run)[1]
    wandb.config = types.SimpleNamespace(update=lambda values, **_: asked.update(values))
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    told = Told()
    with logging(Run(tmp_path), "wandb", {"data": "digits", "flip": None}, told.warn):
        pass
    folder = Run(tmp_path)
    with logging(folder, "wandb", {"data": "digits"}, told.warn):
        folder.record(phase="search", epoch=3, loss=0.5, genotype={"a": 1}, settled=True)
        folder.record(phase="race 1: linear", epoch=0, loss=0.25)
    folder.record(phase="train", epoch=0, loss=0.125)  # nobody listens any more
    assert told.warnings == []
    assert asked["project"] == "edarts" and asked["name"] == tmp_path.name
    assert asked["data"] == "digits"
    assert logged == [
        ({"search/epoch": 3, "search/loss": 0.5}, None),
        ({"race 1 linear/epoch": 0, "race 1 linear/loss": 0.25}, None),
    ]
    assert len(read_lines(tmp_path / "metrics.jsonl")) == 3


def test_names() -> None:
    assert names("") == ()
    assert names(" tensorboard, mlflow") == ("tensorboard", "mlflow")
    with pytest.raises(edarts.UsageError, match="unknown logger 'tensorbord'; did you mean tens"):
        edarts.Session(log="tensorbord")
    with pytest.raises(edarts.UsageError, match="log names wandb twice"):
        edarts.Session(log="wandb,wandb")
    with pytest.raises(edarts.UsageError, match="predict cannot use --log; leave it out"):
        edarts.predict("run", ["x.png"], edarts.Session(log="wandb"))
    with pytest.raises(edarts.UsageError, match="a study has no loggers"):
        edarts.study("depth", DATA, session=edarts.Session(log="wandb"))
