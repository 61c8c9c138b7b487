"""Ray: the same results as without it, and a killed worker's trial is done again."""

import os
import signal
import sys
from pathlib import Path

import pytest

from edarts import Genotype, parallel, testing

ray = pytest.importorskip("ray")


def test_one_worker_gives_what_no_ray_gives() -> None:
    config = testing.tiny_ledger_config("regularized_evolution")
    _, plain = testing.run_ledger(config, testing.PlantedScore())
    with parallel.pool(testing.PlantedScore(), 1, "local") as pool:
        _, by_ray = testing.run_ledger(config, testing.PlantedScore(), pool=pool)
    assert by_ray == plain


class DiesOnce:
    """Its process is killed in the middle of the third trial, once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, genotype: Genotype, seed: int) -> float:
        begun = len(list(self.folder.glob("begun-*")))
        (self.folder / f"begun-{begun}").touch()
        if begun == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return testing.PlantedScore()(genotype, seed)


def test_a_killed_worker_loses_nothing(tmp_path: Path) -> None:
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers do not find tests
    config = testing.tiny_ledger_config("regularized_evolution", trials=6)
    _, plain = testing.run_ledger(config, testing.PlantedScore())
    with parallel.pool(DiesOnce(tmp_path), 1, "local") as pool:
        found, trials = testing.run_ledger(config, testing.PlantedScore(), pool=pool)
    assert trials == plain and found.trials["failed"] == 0
    assert len(list(tmp_path.glob("begun-*"))) == found.trials["scored"] + 1
