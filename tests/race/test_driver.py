"""Finding within a budget: seconds by a fake clock, what is cut, and whole small races."""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch

import edarts
from edarts import EdartsError
from edarts.config import Budget, SearchConfig, TrainConfig
from edarts.data.dataset import Dataset
from edarts.errors import Interrupted
from edarts.methods.oneshot import driver as oneshot
from edarts.nn.baselines.convnet import ConvNet
from edarts.race import driver
from edarts.race.candidates import Candidate
from edarts.race.halving import Pace, Trial
from edarts.race.plan import Plan
from edarts.race.trainer import OnHeldOut
from edarts.runs.clock import Clock
from edarts.runs.folder import Run
from edarts.runs.stop import Stop
from edarts.runtime import Runtime
from edarts.testing.problems import tiny_data
from edarts.testing.searches import StopAfter
from edarts.training import fit

CPU = torch.device("cpu")
TINY = TrainConfig(cells=2, channels=4, epochs=4, batch_size=16)
SEARCH = SearchConfig.of("edarts", cells=2, channels=4, epochs=1, batch_size=16, data_fraction=1.0)


@dataclass
class World:
    """In which searching and training take `speed` times as long as is planned, and no more."""

    speed: float
    pace_of_search: float = 4.0
    now: float = 0.0
    final: list[tuple[int, float | None]] = field(default_factory=list)

    def clock(self, limit: float | None) -> Clock:
        self.final = []
        return Clock(limit, lambda: self.now)

    def passes(self, planned: float, limit: float | None) -> float:
        taken = planned * self.speed
        taken = taken if limit is None else min(taken, limit)
        self.now += taken
        return taken


PACES = {"found": 30.0, "convnet": 3.0, "convnet-64": 9.0, "resnet8": 6.0, "linear": 0.1}


def pace_of(name: str) -> float:
    return PACES[name] if name in PACES else PACES[name.partition("-")[0]]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """Everything that takes time is replaced by a clock that is set on."""
    world = World(1.0)

    def pace(trainer: OnHeldOut, candidate: Candidate) -> Pace:
        world.now += 1.0
        return Pace(pace_of(candidate.name), "fp32")

    def train(
        trainer: OnHeldOut, candidate: Candidate, pace: Pace, round: int, plan: tuple[int, float]
    ) -> Trial:
        epochs, share = plan
        usual = epochs * share * pace_of(candidate.name)
        limit = 1.3 * epochs * share * pace.seconds if trainer.limited else None
        taken = world.passes(usual, limit)
        world.now += 0.5  # for judging
        right = (1, 1, 0) if candidate.name == "convnet" else (1, 0, 0)
        return Trial(candidate.name, round, epochs, share, taken, 1e-3, right)

    def search(
        data: Dataset, config: Any, space: Any, runtime: Runtime, limit: float | None = None
    ) -> oneshot.SearchResult:
        taken = world.passes(config.epochs * world.pace_of_search, limit)
        found = space.sample(random.Random(0))
        history: list[dict[str, Any]] = [{}] * config.epochs
        return oneshot.SearchResult(found, space, config, {}, history, oneshot.Counts(), taken)

    def finish(
        network: Any, data: Any, config: TrainConfig, runtime: Runtime, limit: float | None = None
    ) -> fit.FitResult:
        world.final.append((config.epochs, limit))
        wide = network.architecture == ConvNet(64)
        more = len(data) / len(OnHeldOut(data, config, config, runtime, True).split()[0])
        taken = world.passes(
            config.epochs * PACES["convnet-64" if wide else "convnet"] * more, limit
        )
        return fit.FitResult(network, None, [{}] * config.epochs, taken)  # type: ignore[arg-type]

    monkeypatch.setattr(OnHeldOut, "pace", pace)
    monkeypatch.setattr(OnHeldOut, "train", train)
    monkeypatch.setattr(oneshot, "one_shot", search)
    monkeypatch.setattr(oneshot, "seconds_of_epoch", lambda *_: world.pace_of_search)
    monkeypatch.setattr(fit, "fit", finish)
    return world


def plan(data: Dataset, budget: Budget, wanted: Sequence[str] = ("found", "convnet")) -> Plan:
    given = TrainConfig(cells=2, channels=2)
    search = SearchConfig.of("edarts", cells=2, channels=2)
    train = fit.resolve_config(given, len(data))
    return Plan(data, tuple(wanted), budget, search, given, train, 1000)


ALL = ("found", "convnet", "resnet", "linear")


@pytest.mark.parametrize("minutes", [5.0, 10.0, 60.0])
@pytest.mark.parametrize("speed", [0.8, 1.0, 1.25])
def test_the_minutes_hold(world: World, minutes: float, speed: float) -> None:
    """What is planned with a fourth less or more than it takes ends within the minutes."""
    world.speed = speed
    limit = 60 * minutes
    found = driver.find(
        plan(tiny_data(100), Budget(minutes), ALL), Runtime(CPU), world.clock(limit)
    )
    assert found.winner.name == "convnet"
    closing = 3.0 + 0.02 * limit + 1000 * 1e-3  # is left for the evaluation and the files
    assert world.now + closing <= 1.001 * limit
    ((epochs, room),) = world.final
    assert room is not None and (epochs == 100 or minutes < 60)
    if epochs < 100 and speed >= 1.0:
        assert world.now > 0.85 * limit  # and they are used


WIDE = "It was made 2 times as wide, for which there was time"


@pytest.mark.parametrize(
    ("minutes", "budget", "wide"),
    [
        (5.0, {}, False),
        (15.0, {}, False),
        (20.0, {}, True),
        (20.0, {"max_parameters": 600_000}, False),
    ],
)
def test_a_plain_winner_becomes_wider_where_there_is_time(
    world: World, minutes: float, budget: dict[str, Any], wide: bool
) -> None:
    """1.75 times the recipe's 40 epochs take it 788 seconds; what is kept fits the limits."""
    asked = plan(tiny_data(100), Budget(minutes, **budget), ALL)
    found = driver.find(asked, Runtime(CPU), world.clock(60 * minutes))
    assert found.winner.architecture == ConvNet(32)
    assert found.kept.architecture == ConvNet(64 if wide else 32)
    assert found.verdict.endswith(WIDE) is wide
    assert found.kept.costs.within(asked.budget)


def test_a_published_network_stays_as_it_is(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = plan(tiny_data(100), Budget(60), ("resnet.r20",))
    monkeypatch.setitem(PACES, "resnet.r20", 3.0)
    found = driver.find(asked, Runtime(CPU), world.clock(3600.0))
    assert found.kept is found.winner


def test_what_is_cut_is_said(world: World) -> None:
    found = driver.find(plan(tiny_data(100), Budget(5), ALL), Runtime(CPU), world.clock(300.0))
    assert found.cut[0] == "search: 7 of 50 epochs"  # 10 % of 300 seconds, 4 for an epoch


def test_who_is_too_slow_does_not_race(world: World) -> None:
    """Who would see less than two epochs in the first round, where time is short; the found cell
    stays in one size."""
    found = driver.find(plan(tiny_data(100), Budget(5), ALL), Runtime(CPU), world.clock(300.0))
    raced = {trial.name for trial in found.race.trials}
    assert raced == {"convnet", "linear", "found-2"}
    for name in ("found-4", "resnet8"):
        assert f"{name} is too slow here to race within the minutes" in found.cut
    found = driver.find(plan(tiny_data(100), Budget(120), ALL), Runtime(CPU), world.clock(7200.0))
    assert {trial.name for trial in found.race.trials} > raced
    assert not [text for text in found.cut if "too slow" in text]


def test_without_minutes_nothing_is_cut(world: World) -> None:
    found = driver.find(plan(tiny_data(100), Budget(), ALL), Runtime(CPU), world.clock(None))
    assert found.cut == () and world.final == [(40, None)]
    # The race takes as long as one training of the middle candidate.
    raced = sum(trial.seconds for trial in found.race.trials)
    assert raced <= 40 * 30.0


@pytest.mark.parametrize("flip_open", [False, True])
def test_too_few_minutes_are_refused_at_once(
    world: World, flip_open: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it was found out before whether mirroring is harmless."""
    monkeypatch.setattr(driver, "measure", lambda *_: None)
    little = replace(plan(tiny_data(100), Budget(0.1), ALL), flip_open=flip_open)
    with pytest.raises(EdartsError, match=r"--minutes 0.1 is too little; the least here is 0\.\d"):
        driver.find(little, Runtime(CPU), world.clock(6.0))
    assert world.now < 6 and not world.final
    least = 0.6
    driver.find(plan(tiny_data(100), Budget(least), ALL), Runtime(CPU), world.clock(60 * least))
    assert world.now < 60 * least


def test_a_continued_run_keeps_its_plan(world: World, tmp_path: Path) -> None:
    """Epochs were decided before it was killed; the seconds of before count."""
    first = Run(tmp_path)
    clock = world.clock(300.0)
    first.count(clock)
    whole = driver.find(plan(tiny_data(100), Budget(5), ALL), Runtime(CPU, run=first), clock)
    epochs = world.final[0][0]
    spent = clock.seconds
    again = Run(tmp_path)
    clock = world.clock(300.0)
    again.count(clock)
    assert 0 < clock.seconds <= spent
    assert clock.seconds == pytest.approx(again.states()["clock"]["seconds"])
    second = driver.find(plan(tiny_data(100), Budget(5), ALL), Runtime(CPU, run=again), clock)
    assert world.final[0][0] == epochs
    assert [one.name for one in second.ranked] == [one.name for one in whole.ranked]
    assert second.race.to_dict() == whole.race.to_dict()


# -- whole small races ----------------------------------------------------------------------------


def test_a_killed_race_continues_to_the_identical_end(tmp_path: Path) -> None:
    """Stopped in the middle of a training of the race, of the final one, and not at all."""
    data = tiny_data(60)
    config = fit.resolve_config(TINY, len(data))
    made = Plan(data, ("found", "convnet", "linear"), Budget(), SEARCH, TINY, config, 10)

    def find(run: Run, stop: Stop | None = None) -> driver.Found:
        # The paces are what a machine measures: here they are the same in all runs.
        if "race" not in run.states():
            run.save("race", {"paces": PACES_KNOWN, "trials": [], "seconds": None})
        return driver.find(made, Runtime(CPU, 0, run, stop=stop or Stop()), Clock())

    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    whole = find(Run(tmp_path / "whole"))
    for steps in (9, 4, 3):
        with pytest.raises(Interrupted):
            find(Run(tmp_path / "killed"), StopAfter(steps))
    again = find(Run(tmp_path / "killed"))
    assert [t.right for t in again.race.trials] == [t.right for t in whole.race.trials]
    assert [one.name for one in again.ranked] == [one.name for one in whole.ranked]
    ours, theirs = (one.fitted.network.state_dict() for one in (again, whole))
    for name, value in theirs.items():
        assert torch.equal(value, ours[name]), name
    assert not list((tmp_path / "killed" / "race").iterdir()), "a checkpoint was left behind"


PACES_KNOWN = {
    name: {"seconds": 0.5, "precision": "fp32"}
    for name in ("found-8", "found-4", "convnet", "linear")
}


def test_a_baseline_that_wins_is_saved_and_used(tmp_path: Path) -> None:
    """Its model is loaded, predicted with, evaluated and trained again like that of a cell."""
    data = tiny_data(90)
    session = edarts.Session(out=tmp_path / "run", device="cpu")
    found = edarts.find(data, SEARCH, TINY, session, candidates="linear,resnet")
    assert found.winner in ("linear", "resnet8") and len(found.candidates) == 2
    assert found.to_dict()["genotype"] is None
    again = edarts.evaluate(tmp_path / "run", data)
    assert again.test_accuracy == found.test_accuracy
    model = edarts.load_model(tmp_path / "run")
    assert type(model.architecture).__name__ in ("Linear", "ResNet")
    race = json.loads((tmp_path / "run" / "race.json").read_text())
    assert race["winner"] == found.winner and race["verdict"] == found.verdict
    assert [one["name"] for one in race["candidates"]] == [one.name for one in found.candidates]
    assert not (tmp_path / "run" / "found.json").exists()
    report = edarts.train(
        str(tmp_path / "run"), data, TrainConfig(epochs=1), edarts.Session(out=tmp_path / "again")
    )
    assert report.genotype == model.architecture


def test_the_cell_alone(tmp_path: Path) -> None:
    """`found` alone is searched and trained in the size that was asked for; nothing races."""
    session = edarts.Session(out=tmp_path / "run", device="cpu")
    found = edarts.find(tiny_data(60), SEARCH, TINY, session, candidates="found")
    assert found.candidates == () and "only candidate" in found.verdict
    assert not (tmp_path / "run" / "race.json").exists()
    model = json.loads((tmp_path / "run" / "model.json").read_text())
    assert (model["cells"], model["channels"]) == (2, 4)
    searched = edarts.search(
        tiny_data(60), SEARCH, edarts.Session(out=tmp_path / "search", device="cpu")
    )
    assert found.genotype == searched.genotype


def test_limits_reach_the_model(tmp_path: Path) -> None:
    session = edarts.Session(out=tmp_path / "run", device="cpu")
    budget = Budget(max_parameters=900, max_ram=64)
    found = edarts.find(tiny_data(60), SEARCH, TINY, session, budget, "found,linear,resnet")
    assert found.parameters <= 900
    assert all(one.parameters <= 900 for one in found.candidates)
    settings = (tmp_path / "run" / "config.yaml").read_text()
    assert "max_parameters: 900" in settings and "candidates: found,linear,resnet" in settings
    with pytest.raises(EdartsError, match="nothing fits the limits; the nearest is"):
        edarts.find(
            tiny_data(60), SEARCH, TINY, edarts.Session(out=tmp_path / "none"),
            Budget(max_parameters=9),
        )  # fmt: skip
