"""Ray: the same results as without it; killed workers, machines and drivers lose nothing."""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edarts.runs.pool import pool
from edarts.space.base import Architecture
from edarts.testing import blackbox as testing
from edarts.testing.problems import PlantedScore
from processes import Forked
from support import run

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.processes

# A machine that answers no more is given up after 2 seconds, in place of Ray's 15.
HEALTH = {"health_check_period_ms": 500, "health_check_failure_threshold": 4}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A cluster of one machine with one processor; Ray takes seconds to start."""
    from ray.cluster_utils import Cluster

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers do not find tests
    head = {"num_cpus": 1, "_system_config": HEALTH}
    made = Cluster(initialize_head=True, head_node_args=head)
    yield made
    made.shutdown()


def test_one_worker_gives_what_no_ray_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")  # is not followed unless it is asked for
    config = testing.tiny_ledger_config("regularized_evolution")
    _, plain = testing.run_ledger(config, PlantedScore())
    with pool(PlantedScore(), 1, "local") as workers:
        _, by_ray = testing.run_ledger(config, PlantedScore(), pool=workers)
    assert by_ray == plain


class DiesOnce:
    """Its process is killed in the middle of the third trial, once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, architecture: Architecture, seed: int) -> float:
        begun = len(list(self.folder.glob("begun-*")))
        (self.folder / f"begun-{begun}").touch()
        if begun == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return PlantedScore()(architecture, seed)


def test_a_killed_worker_loses_nothing(tmp_path: Path, cluster: Any) -> None:
    config = testing.tiny_ledger_config("regularized_evolution", trials=6)
    _, plain = testing.run_ledger(config, PlantedScore())
    with pool(DiesOnce(tmp_path), 1, cluster.address) as workers:
        found, trials = testing.run_ledger(config, PlantedScore(), pool=workers)
    assert trials == plain and found.trials.failed == 0
    assert len(list(tmp_path.glob("begun-*"))) == found.trials.scored + 1


class Stuck:
    """A trial on the machine called `victim` (a file with its id) goes on until that is gone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, architecture: Architecture, seed: int) -> float:
        if ray.get_runtime_context().get_node_id() == (self.folder / "victim").read_text():
            (self.folder / "stuck").touch()
            time.sleep(300)
        return PlantedScore()(architecture, seed)


def test_a_machine_that_leaves_the_cluster_loses_nothing(tmp_path: Path, cluster: Any) -> None:
    victim = cluster.add_node(num_cpus=1)
    (tmp_path / "victim").write_text(victim.node_id)
    left: list[float] = []

    def leave() -> None:
        until = time.monotonic() + 120
        while not (tmp_path / "stuck").exists() and time.monotonic() < until:
            time.sleep(0.1)
        cluster.remove_node(victim, allow_graceful=False)
        left.append(time.monotonic())

    thread = threading.Thread(target=leave)
    thread.start()
    config = testing.tiny_ledger_config("random_search", trials=8)
    try:
        with pool(Stuck(tmp_path), 2, cluster.address) as workers:
            found, trials = testing.run_ledger(config, Stuck(tmp_path), pool=workers)
    finally:
        thread.join()
    assert left and (tmp_path / "stuck").exists()
    assert found.trials.failed == 0 and len(trials) == 8
    # What random search proposes hangs on no score, so the trials are those of one worker.
    _, plain = testing.run_ledger(config, PlantedScore())
    assert trials == plain


def test_a_killed_driver_s_search_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    words = [
        *("search", "digits", "--method", "random_search", "--trials", "6", "--workers", "2"),
        *("--limit", "80", "--epochs", "1", "--cells", "2", "--channels", "4"),
        *("--operations", "SS1", "--out", str(out)),
    ]
    process = Forked(["-m", "edarts", *words], tmp_path)

    def lines() -> list[dict[str, object]]:
        path = out / "metrics.jsonl"
        return [json.loads(s) for s in path.read_text().splitlines()] if path.exists() else []

    while len(lines()) < 2:
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait()
    before = {line["trial"]: line for line in lines()}
    assert len(before) < 6, "too late to show anything"
    trials = run(capsys, *words, "--json")["trials"]
    after = {line["trial"]: line for line in lines()}
    assert sorted(after) == list(range(6)) and len(lines()) == 6
    assert {number: after[number] for number in before} == before
    assert trials["failed"] == 0 and trials["scored"] + trials["known"] == 6
