"""The time of runs before any is done: of each kind the cheapest is timed, and multiplied."""

import pytest
import torch

from edarts.config import DataConfig, SearchConfig, TrainConfig
from edarts.data import open_data
from edarts.runtime import Runtime
from edarts.space import zoo
from edarts.studies import timing
from edarts.studies.base import Job

TRAIN = TrainConfig(cells=2, channels=2, epochs=3, batch_size=32, valid_fraction=0.2)
CELL = zoo.get("darts.v2").architecture


def job(name: str, method: str | None = None) -> Job:
    search = None if method is None else SearchConfig.of(method, cells=2, channels=2, epochs=2)
    return Job(name, {}, 0, TRAIN, search, CELL if method is None else None)


def test_each_kind_is_timed_once_and_multiplied(monkeypatch: pytest.MonkeyPatch) -> None:
    timed: list[str] = []

    def fake(one: Job, data: object, runtime: object) -> float:
        timed.append(one.name)
        return {"training": 4.0, "edarts": 30.0}[timing.kind(one)]

    monkeypatch.setattr(timing, "_seconds_of", fake)
    jobs = [job("b"), job("a"), job("c", "edarts"), job("d", "edarts")]
    costs = {"a": 2.0, "b": 3.0, "c": 10.0, "d": 20.0}
    data = open_data(DataConfig("digits", limit=60))
    found = timing.seconds(jobs, costs, data, Runtime(torch.device("cpu")))
    assert timed == ["a", "c"]
    assert found == {"a": 4.0, "b": 6.0, "c": 30.0, "d": 60.0}


def test_what_there_is_no_time_for_counts_as_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "MOST", 0.0)
    monkeypatch.setattr(timing, "_seconds_of", lambda *_: 4.0)
    data = open_data(DataConfig("digits", limit=60))
    costs = {"a": 2.0, "c": 10.0}
    found = timing.seconds(
        [job("a"), job("c", "edarts")], costs, data, Runtime(torch.device("cpu"))
    )
    assert found == {"a": 4.0, "c": 20.0}
    assert timing.seconds([], {}, data, Runtime(torch.device("cpu"))) == {}


@pytest.mark.parametrize("method", [None, "edarts", "darts", "random_search"])
def test_steps_are_timed(method: str | None) -> None:
    data = open_data(DataConfig("digits", limit=200))
    one = job("a", method)
    found = timing.seconds([one], {"a": 1.0}, data, Runtime(torch.device("cpu")))
    assert 0 < found["a"] < 600
