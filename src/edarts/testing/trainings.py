"""Contract tests of recipes and studies: what trains networks, and what has many trained.

Each check takes the plug-in itself, uses plain asserts, and needs no test framework.
"""

import pickle
import tempfile
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edarts.config import TrainConfig
from edarts.errors import Interrupted
from edarts.reporting.model import Summary
from edarts.runs.folder import Run
from edarts.runs.stop import Stop
from edarts.runtime import Runtime
from edarts.space import zoo
from edarts.studies.base import Job, Recipe, fixed_options, free_options, read_options
from edarts.studies.row import Row
from edarts.testing.problems import SEED, tiny_data
from edarts.testing.searches import StopAfter
from edarts.training import fit
from edarts.training.device import open_device
from edarts.training.recipe import OF_CELLS

Check = Callable[[Any], None]

# -- recipes -------------------------------------------------------------------------------------


def _tiny(recipe: Any, **changes: Any) -> TrainConfig:
    """Two epochs of small batches for a small network, all else as the recipe has it."""
    small = {"cells": 2, "channels": 4, "epochs": 2, "batch_size": 8, **changes}
    return fit.resolve_config(TrainConfig.of(recipe, **small), 48)


def _train(
    config: TrainConfig, run: Run | None = None, stop: Stop | None = None
) -> tuple[nn.Module, list[dict[str, Any]]]:
    data = tiny_data()
    network = fit.build(zoo.get("darts.v2").architecture, config, data, SEED)
    fitted = fit.fit(
        network, data, config, Runtime(open_device("cpu"), SEED, run, stop=stop or Stop())
    )
    return network, fitted.history


def check_resolves(recipe: Any) -> None:
    """Nothing stays open, for few images or many, for networks of cells and for whole ones."""
    for images in (10, 50_000):
        for whole in (False, True):
            found = fit.resolve_config(TrainConfig.of(recipe), images, whole=whole)
            names = {f.name for f in fields(found)} - (set(OF_CELLS) if whole else set())
            left = [name for name in names if getattr(found, name) is None]
            assert not left, f"{', '.join(sorted(left))} is left open"
            again = TrainConfig.from_settings(found.to_settings())
            assert again.to_settings() == found.to_settings(), "config.yaml does not keep it"


def check_learns(recipe: Any) -> None:
    """The loss of the second epoch is below that of the first, on images of a few grey levels."""
    first, second = (line["loss"] for line in _train(_tiny(recipe))[1])
    assert second < first, f"the loss goes from {first:.3f} to {second:.3f}"


def check_resume(recipe: Any) -> None:
    """Stopped in the middle of an epoch and continued, a training ends bit-identically."""
    config = _tiny(recipe)
    whole, _ = _train(config)
    with tempfile.TemporaryDirectory() as folder:
        try:
            _train(config, Run(Path(folder)), StopAfter(3))
            raise AssertionError("it did not stop")
        except Interrupted:
            pass
        continued, _ = _train(config, Run(Path(folder)))
    for name, value in continued.state_dict().items():
        assert torch.equal(value, whole.state_dict()[name]), f"resuming changed {name}"


RECIPES: tuple[Check, ...] = (check_resolves, check_learns, check_resume)


# -- studies -------------------------------------------------------------------------------------


def _asked(study: Any) -> Any:
    train = fit.resolve_config(TrainConfig(valid_fraction=0.2), 1000)
    return study(Recipe(train=train), study.Options())


def check_jobs(study: Any) -> None:
    """The first jobs are known without a row, have names and factors of their own, and can be sent.

    Every run is told from the others by its name, and by its seed and factors.
    """
    assert study.SEEDS >= 1, "SEEDS is below 1"
    jobs: list[Job] = _asked(study).jobs({})
    assert jobs, "it has no jobs"
    assert jobs == _asked(study).jobs({}), "asked again, it has other jobs"
    names = [job.name for job in jobs]
    assert len(set(names)) == len(names), "two jobs have the same name"
    measured = {f.name for f in fields(Row)}
    for job in jobs:
        assert job.search is not None or job.genotype is not None, f"{job.name} trains nothing"
        clash = measured & set(job.factors)
        assert not clash, f"{', '.join(clash)} of {job.name} is a measurement of every run"
        assert pickle.loads(pickle.dumps(job)) == job, f"{job.name} cannot be sent to a worker"


def check_kept_options(study: Any) -> None:
    """Its options are read back from its folder as they were."""
    options = study.Options()
    assert read_options(study, {**fixed_options(options), **free_options(options)}) == options
    assert _asked(study).options == options, "`options` is not what was chosen"


def check_summary(study: Any) -> None:
    """It says something without a row, with some, and with one for every job."""
    asked = _asked(study)
    rows: dict[str, Row] = {}
    _says(asked.summary(rows), "no run")
    jobs = asked.jobs(rows)
    for number, job in enumerate(jobs):
        rows[job.name] = _row(job, number)
        if number in (0, len(jobs) - 1):
            _says(asked.summary(rows), f"{number + 1} runs")
    more = asked.jobs(rows)
    assert [job for job in jobs if job not in more] == [], "a job is gone once its row is there"


def _says(summary: Summary, when: str) -> None:
    assert isinstance(summary, Summary), f"{when}: no Summary"
    assert summary.title, f"{when}: no title"
    assert summary.sentences or summary.tables, f"{when}: neither a sentence nor a table"
    for table in summary.tables:
        for row in table.rows:
            assert len(row) == len(table.columns), f"{when}: a row of '{table.title}' is too long"
        table.to_dict()


def _row(job: Job, number: int) -> Row:
    """As a run would have measured it, the accuracies a little apart."""
    accuracy = 0.5 + number % 7 / 100
    design = zoo.get("darts.v2").architecture
    searched = {"search_seconds": 1.0, "images_seen": 100, "search_peak_mib": 1.0}
    tested = {"test_accuracy": accuracy, "test_low": accuracy, "test_high": accuracy}
    return Row(
        job.name,
        job.factors,
        job.seed,
        train_seconds=1.0,
        train_peak_mib=1.0,
        valid_accuracy=accuracy,
        valid_images=100,
        parameters=1000,
        flops=1000,
        normal_skips=2,
        reduce_skips=2,
        genotype=design,
        run=f"runs/{job.name}",
        seconds=2.0,
        **(searched if job.search is not None else {}),  # type: ignore[arg-type]
        **(tested | {"test_images": 100} if job.test else {}),  # type: ignore[arg-type]
    )


STUDIES: tuple[Check, ...] = (check_jobs, check_kept_options, check_summary)
