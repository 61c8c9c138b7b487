"""Studies through Ray's workers: the same rows, and nothing is lost by a kill."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from edarts.config import DataConfig, TrainConfig
from edarts.runs.pool import Outcome
from edarts.runtime import Session
from edarts.studies.base import Job, Recipe
from edarts.studies.driver import StudyReport, work_off
from edarts.studies.ledger import read_ledger
from edarts.studies.plan import Schedule
from edarts.studies.row import Row
from studies.fakes import study
from studies.stepped import Stepped

DATA = DataConfig("digits", limit=60)
TRAIN = TrainConfig(cells=2, channels=4, epochs=3, batch_size=16, valid_fraction=0.4)
MEASURED = ("seconds", "train_seconds", "train_peak_mib")
LONG = [
    *("study", "topology", "digits", "--limit", "60", "--topologies", "0,1,7", "--quiet"),
    *("--train.cells", "2", "--train.channels", "4", "--train.epochs", "40"),
    *("--train.batch-size", "16", "--checkpoint-seconds", "0.2", "--workers", "2"),
]


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As many threads here as a worker has."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def topology(out: Path, workers: int) -> StudyReport:
    session = Session(out=out, workers=workers)
    return study("topology", DATA, Recipe(train=TRAIN), session, topologies="0-3", halving=True)


def plain(path: Path) -> list[dict[str, str]]:
    """rows.csv without what a clock and the memory of a process say."""
    with path.open(encoding="utf-8") as file:
        return [{k: v for k, v in r.items() if k not in MEASURED} for r in csv.DictReader(file)]


@pytest.mark.processes
def test_rows_do_not_depend_on_the_workers(tmp_path: Path, one_thread: None) -> None:
    pytest.importorskip("ray")
    one = topology(tmp_path / "one", 1)
    two = topology(tmp_path / "two", 2)
    rows = plain(tmp_path / "two" / "rows.csv")
    assert rows == plain(tmp_path / "one" / "rows.csv")
    assert len(rows) == 4 + 2 and {row["status"] for row in rows} == {"done"}
    assert two.sentences == one.sentences
    assert two.plan == one.plan


class Scripted:
    """A pool of `workers` whose runs end in an order of its own: the last begun first."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.running: list[tuple[int, Job]] = []
        self.most, self.begun = 0, 0

    def submit(self, job: Job) -> int:
        self.begun += 1
        self.running.append((self.begun, job))
        self.most = max(self.most, len(self.running))
        return self.begun

    def ready(self, seconds: float) -> bool:
        return True

    def wait(self) -> tuple[int, Outcome]:
        ticket, job = self.running.pop()
        if job.name == "c":
            return ticket, Outcome(float("nan"), "the worker was lost", 0.0)
        return ticket, Outcome(Row(job.name, seconds=4.0), None, 4.0)

    def stop(self, seconds: float) -> None:
        """No run goes on between two calls."""


@pytest.mark.parametrize("workers", [1, 2, 8])
def test_only_known_runs_are_handed_out_and_each_once(workers: int, tmp_path: Path) -> None:
    rows: dict[str, Row] = {}
    schedule = Schedule(Stepped(), rows, 60, 10, workers)
    pool = Scripted(workers)
    order = []
    for row in work_off(schedule, pool, tmp_path):
        rows[row.name] = row
        order.append(row.name)
    assert sorted(order[:3]) == ["a", "b", "c"] and sorted(order[3:]) == ["d", "e"]
    assert pool.begun == 5 and pool.most == min(workers, 3)
    assert rows["c"] == Row("c", status="failed", reason="the worker was lost")


def begin(out: Path) -> "subprocess.Popen[str]":
    """The command, once two of its runs have a checkpoint."""
    command = [sys.executable, "-m", "edarts", *LONG, "--out", str(out)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 240
    while len(list(out.glob("runs/*/checkpoint.pt"))) < 2:
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.1)
    return process


def repeat(out: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "edarts", *LONG, "--json", "--out", str(out)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def resumed(out: Path) -> bool:
    """Whether each run has each of its epochs once."""
    lines = [
        [json.loads(line)["epoch"] for line in path.read_text(encoding="utf-8").splitlines()]
        for path in out.glob("runs/*/metrics.jsonl")
    ]
    return len(lines) == 3 and all(epochs == list(range(40)) for epochs in lines)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_stopped_or_killed_driver_goes_on(tmp_path: Path, number: int) -> None:
    pytest.importorskip("ray")
    out = tmp_path / "study"
    process = begin(out)
    process.send_signal(number)
    _, text = process.communicate(timeout=120)
    if number == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 130
        assert "study: stopped after 0 of 3 runs; to continue: edarts study topology" in text
    assert not read_ledger(out)
    result = repeat(out)
    assert not result["failed"] and len(result["rows"]) == 3
    assert resumed(out)


@pytest.mark.slow
def test_a_killed_worker_s_run_is_done_again(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    out = tmp_path / "study"
    process = begin(out)
    os.kill(holder(next(out.glob("runs/*/.lock"))), signal.SIGKILL)
    process.communicate(timeout=500)
    assert process.returncode == 0
    rows = read_ledger(out)
    assert len(rows) == 3 and {row.status for row in rows.values()} == {"done"}
    assert resumed(out)


def holder(lock: Path) -> int:
    """The process that has the file open."""
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if link.resolve() == lock.resolve():
                return int(link.parts[2])
        except OSError:
            continue
    raise AssertionError(f"{lock} is not held")
