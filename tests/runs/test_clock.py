"""The seconds of a run: counted over processes, kept with every checkpoint."""

from pathlib import Path
from time import monotonic, sleep

from edarts.runs.clock import Clock, begun, command
from edarts.runs.folder import Run


class Time:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_seconds_and_what_is_left() -> None:
    time = Time()
    clock = Clock(60.0, time)
    time.now += 25
    assert (clock.seconds, clock.left) == (25, 35)
    assert Clock(None, time).left == float("inf")
    assert Clock(60.0, time, started=105.0).seconds == 20


def test_a_continued_run_counts_the_seconds_of_before(tmp_path: Path) -> None:
    time = Time()
    run = Run(tmp_path)
    run.count(Clock(60.0, time))
    time.now += 40
    run.save("search", {"epoch": 1})
    time.now += 500  # after the last checkpoint it was killed, and is continued later
    again, clock = Run(tmp_path), Clock(60.0, time)
    again.count(clock)
    assert clock.seconds == 40
    time.now += 10
    assert (clock.seconds, clock.left) == (50, 10)
    again.save("train", {"epoch": 0})
    assert set(again.states()) == {"search", "train", "clock"}
    last = Clock(60.0, time)
    Run(tmp_path).count(last)
    assert last.seconds == 50


def test_what_a_part_knows_is_not_counted_twice() -> None:
    time = Time()
    clock = Clock(60.0, time)
    time.now += 5
    clock.at_least(3)
    assert clock.seconds == 5
    clock.at_least(30)
    assert clock.seconds == 30


def test_a_verb_began_with_its_command() -> None:
    """Loading libraries counts on the command line, and nothing of before in a notebook."""
    with command():
        sleep(0.05)
        assert monotonic() - begun() > 0.04
    assert monotonic() - begun() < 0.04
