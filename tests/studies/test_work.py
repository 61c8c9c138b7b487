"""One run of a study, here or on another machine."""

from dataclasses import replace
from pathlib import Path

import pytest

from edarts.config import DataConfig
from edarts.data import open_data
from edarts.errors import Interrupted
from edarts.runtime import Session
from edarts.studies.base import Job
from edarts.studies.work import Work, inner_session, reachable
from studies.fakes import CELLS, DATA, TRAIN, recording
from support import write_images

JOB = Job("a", {"topology": 1}, 2, TRAIN, genotype=CELLS)


def test_what_is_not_asked_for_is_not_done(tmp_path: Path) -> None:
    verbs, calls = recording()
    work = Work(verbs, open_data(DATA), Session(), tmp_path, quiet=True)
    row = work(replace(JOB, test=False))
    assert [call.verb for call in calls] == ["train"]
    assert (row.name, row.factors, row.seed, row.status) == ("a", {"topology": 1}, 2, "done")
    assert (row.test_accuracy, row.search_seconds) == (None, None)
    assert (row.normal_skips, row.reduce_skips) == (1, 1)
    assert row.seconds is not None and row.folder == tmp_path


def test_a_failed_run_keeps_nothing_but_its_reason(tmp_path: Path) -> None:
    def fails(*arguments: object) -> None:
        raise ZeroDivisionError(f"in {tmp_path}/runs/a: by zero")

    verbs = replace(recording()[0], evaluate=fails)
    row = Work(verbs, open_data(DATA), Session(), tmp_path, quiet=True)(JOB)
    assert row.to_dict() == {
        "name": "a",
        "topology": 1,
        "seed": 2,
        "status": "failed",
        "reason": "ZeroDivisionError: in runs/a: by zero",
    }


def test_a_stop_is_no_failure(tmp_path: Path) -> None:
    def stops(*arguments: object) -> None:
        raise Interrupted("stopped")

    verbs = replace(recording()[0], train=stops)
    with pytest.raises(Interrupted):
        Work(verbs, open_data(DATA), Session(), tmp_path, quiet=True)(JOB)


def test_a_cluster_gets_an_absolute_path_of_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_images(tmp_path / "photos", {"ant": 4, "bee": 4})
    monkeypatch.chdir(tmp_path)
    data = open_data(DataConfig("photos"))
    assert reachable(data, Session(workers=2)) is data
    assert reachable(data, Session(ray_address="local")) is data
    cluster = Session(ray_address="10.0.0.1:6379")
    assert reachable(data, cluster).config.data == str(tmp_path / "photos")
    digits = open_data(DATA)
    assert reachable(digits, cluster) is digits


def test_a_run_takes_of_the_session_what_is_not_its_own() -> None:
    session = Session(device="cpu", out="a", workers=4, ray_address="local", precision="bf16")
    inner = inner_session(session)
    assert (inner.device, inner.precision) == ("cpu", "bf16")
    assert (inner.out, inner.workers, inner.ray_address) == (None, 1, None)
