"""The resumable loop on a phase of one number: position, averages, checkpoints, stops, resume."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from edarts import EdartsError
from edarts.config import TrainConfig
from edarts.errors import Interrupted
from edarts.runs.folder import Run, read_lines
from edarts.runs.progress import Progress
from edarts.runs.stop import Stop
from edarts.runtime import Runtime
from edarts.training import loop as loops
from edarts.training.loop import Loop, Metrics, seconds_of_step, timed

CPU = torch.device("cpu")


@dataclass
class Sum:
    """A phase that adds up random numbers; `stop_after`: the step at which the user asks to stop.

    `kept`: how often its state was asked for.
    """

    stop: Stop = field(default_factory=Stop)
    stop_after: tuple[int, int] | None = None
    total: float = 0.0
    steps: list[tuple[int, int]] = field(default_factory=list)
    kept: int = 0
    done_after: int | None = None  # epochs

    def finished(self) -> bool:
        return self.done_after is not None and len(self.steps) >= 3 * self.done_after

    def step(self, epoch: int, at: int) -> Metrics:
        self.steps.append((epoch, at))
        self.stop.requested = (epoch, at) == self.stop_after
        drawn = torch.rand(()).item()
        self.total += drawn
        return {"drawn": drawn, "one": 1.0}

    def end(self, epoch: int) -> dict[str, Any]:
        return {"total": self.total, "noise": torch.rand(()).item()}

    def state(self) -> dict[str, Any]:
        self.kept += 1
        return {"total": self.total}

    def restore(self, state: dict[str, Any]) -> None:
        self.total = state["total"]


class Lines(Progress):
    """Remembers what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[str] = []
        self.said: list[str] = []

    def update(self, line: str) -> None:
        self.shown.append(line)

    def say(self, text: str) -> None:
        self.said.append(text)


def untimed(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in line.items() if k != "seconds"} for line in history]


def test_every_step_once_and_a_line_for_each_epoch(tmp_path: Path) -> None:
    phase, loop = Sum(), Loop("search", 2, 3, Runtime(CPU, run=Run(tmp_path)))
    loop(phase)
    assert phase.steps == [(e, s) for e in range(2) for s in range(3)]
    first, second = loop.history
    assert (first["phase"], first["epoch"], second["epoch"]) == ("search", 0, 1)
    assert first["one"] == second["one"] == 1
    assert 3 * (first["drawn"] + second["drawn"]) == pytest.approx(second["total"])
    assert 0 <= first["seconds"] <= second["seconds"] <= round(loop.seconds, 3)
    assert read_lines(tmp_path / "metrics.jsonl") == loop.history
    assert phase.kept == 1, "a checkpoint at the end alone: it was not time for one before"


def test_the_seed_decides_what_is_drawn() -> None:
    found = []
    for name, seed in (("search", 0), ("search", 0), ("search", 1), ("train", 0)):
        torch.manual_seed(len(found))  # whatever was drawn before
        phase = Sum()
        Loop(name, 1, 2, Runtime(CPU, seed=seed))(phase)
        found.append(phase.total)
    assert found[0] == found[1] and len(set(found)) == 3


@pytest.mark.parametrize("stop_after", [(0, 0), (0, 2), (1, 1)])
def test_a_stopped_phase_goes_on_where_it_was(tmp_path: Path, stop_after: tuple[int, int]) -> None:
    """In an epoch, at its end, and in the last one."""
    whole = Sum()
    plain = Loop("search", 2, 3, Runtime(CPU))
    plain(whole)
    stop, lines = Stop(), Lines()
    runtime = Runtime(CPU, run=Run(tmp_path), stop=stop, progress=lines)
    part = Sum(stop, stop_after)
    with pytest.raises(Interrupted, match="search: stopped in epoch"):
        Loop("search", 2, 3, runtime)(part)
    stop.requested = False
    rest, loop = Sum(stop), Loop("search", 2, 3, replace(runtime, run=Run(tmp_path)))
    loop(rest)
    assert part.steps + rest.steps == whole.steps
    assert rest.total == whole.total
    assert untimed(loop.history) == untimed(plain.history)
    assert read_lines(tmp_path / "metrics.jsonl") == loop.history
    epoch, at = divmod(len(part.steps), 3)
    assert lines.said == [f"search: continues at epoch {epoch + 1}, step {at + 1}"]


def test_lines_after_the_checkpoint_are_dropped(tmp_path: Path) -> None:
    """A run that was killed has done more than its checkpoint knows."""
    stop = Stop()
    with pytest.raises(Interrupted):
        Loop("search", 2, 3, Runtime(CPU, run=Run(tmp_path), stop=stop))(Sum(stop, (0, 1)))
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"phase": "search", "epoch": 0, "one": 7.0}) + "\n")
    Loop("search", 2, 3, Runtime(CPU, run=Run(tmp_path)))(Sum())
    lines = read_lines(tmp_path / "metrics.jsonl")
    assert [(line["epoch"], line["one"]) for line in lines] == [(0, 1), (1, 1)]


def test_a_finished_phase_is_not_done_again(tmp_path: Path) -> None:
    Loop("search", 2, 3, Runtime(CPU, run=Run(tmp_path)))(Sum())
    again, loop = Sum(), Loop("search", 2, 3, Runtime(CPU, run=Run(tmp_path)))
    loop(again)
    assert again.steps == [] and again.total > 0
    assert len(loop.history) == 2 and loop.seconds > 0


def test_phases_of_a_run_are_kept_apart(tmp_path: Path) -> None:
    run = Run(tmp_path)
    for name in ("search", "search-2"):
        Loop(name, 1, 2, Runtime(CPU, run=run))(Sum())
    assert list(run.states()) == ["search", "search-2"]
    assert len(read_lines(tmp_path / "metrics.jsonl")) == 2


def test_checkpoints_as_often_as_the_run_says(tmp_path: Path) -> None:
    phase = Sum()
    Loop("search", 2, 3, Runtime(CPU, run=Run(tmp_path, checkpoint_seconds=0.0)))(phase)
    assert phase.kept == 6


def test_a_state_that_does_not_fit_is_named(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.save("search", {"epoch": 1, "step": 0, "sums": {}, "seconds": 0.0, "history": []})
    with pytest.raises(EdartsError, match=r"checkpoint\.pt: the search state does not fit"):
        Loop("search", 2, 3, Runtime(CPU, run=run))(Sum())


def test_the_line_of_progress() -> None:
    lines = Lines()
    Loop("search", 2, 2, Runtime(CPU, progress=lines), lambda line: f"all {line['total']:.1f}")(
        Sum()
    )
    assert len(lines.shown) == 4
    assert lines.shown[0].startswith("search 1/2  eta 0:0")
    assert "one 1.000" in lines.shown[0] and "all" not in lines.shown[0]
    assert "search 2/2" in lines.shown[3] and "all" in lines.shown[3]


def test_a_phase_may_end_before_its_last_epoch(tmp_path: Path) -> None:
    phase, loop = Sum(done_after=2), Loop("sum", 5, 3, Runtime(CPU, run=Run(tmp_path)))
    loop(phase)
    assert len(phase.steps) == 6 and [line["epoch"] for line in loop.history] == [0, 1]
    again, once_more = Sum(), Loop("sum", 5, 3, Runtime(CPU, run=Run(tmp_path)))
    once_more(again)
    assert again.steps == [] and again.total == phase.total


@dataclass
class Slow(Sum):
    """A phase whose steps take as long as `takes` says for their epoch, on a clock of its own."""

    takes: tuple[float, ...] = ()
    now: float = 0.0

    def step(self, epoch: int, at: int) -> Metrics:
        self.now += self.takes[epoch]
        return super().step(epoch, at)


@pytest.mark.parametrize(
    ("limit", "takes", "epochs"),
    [
        (None, 2.0, range(10)),
        (60.0, 2.0, range(10)),  # ten epochs of 6 seconds
        (59.0, 2.0, [*range(7), 8, 9]),  # after seven, 17 seconds are left: two fit
        (40.0, 2.0, [0, 1, 2, 3, 8, 9]),  # after four, 16 seconds
        (23.0, 2.0, [0, 8, 9]),
        (11.0, 2.0, [0]),
        (5.0, 2.0, [0]),
    ],
)
def test_epochs_that_do_not_fit_are_passed_over(
    limit: float | None, takes: float, epochs: Sequence[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of those that are left the last ones are done, of low rates; they take no longer."""
    phase = Slow(takes=(takes,) * 10)
    monkeypatch.setattr(loops.time, "monotonic", lambda: phase.now)
    loop = Loop("slow", 10, 3, Runtime(CPU), limit=limit)
    loop(phase)
    assert [line["epoch"] for line in loop.history] == [*epochs]
    if limit is not None and len(epochs) > 1:
        assert loop.seconds <= limit


def test_a_slow_beginning_spares_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the pace of the first epochs 4 of 10 would fit; the machine is faster afterwards."""
    phase = Slow(takes=(4.0, 4.0, *(1.0,) * 8))
    monkeypatch.setattr(loops.time, "monotonic", lambda: phase.now)
    loop = Loop("slow", 10, 3, Runtime(CPU), limit=60.0)
    loop(phase)
    assert len(loop.history) == 10 and loop.seconds == 48.0


def test_seconds_of_a_step() -> None:
    """The first, which is always slow, does not count."""
    phase = Sum()
    assert 0 <= seconds_of_step(phase, Runtime(CPU), steps=2) < 1
    assert phase.steps == [(0, 0)] * 3


def test_a_step_is_timed_with_few_images_on_a_cpu() -> None:
    config = TrainConfig.of("fast", batch_size=64)
    assert timed(config, CPU) == replace(config, batch_size=16)
    assert timed(config, torch.device("cuda")) == config
    small = replace(config, batch_size=8)
    assert timed(small, CPU) == small
