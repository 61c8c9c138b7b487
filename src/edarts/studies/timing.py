"""How long the runs of a study will take, by a few timed steps of each kind of run."""

import random
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace

from edarts.config import SearchConfig, is_black_box
from edarts.data import Opened
from edarts.data.dataset import Dataset
from edarts.methods.oneshot import driver as oneshot
from edarts.runtime import Runtime
from edarts.space import named
from edarts.space.base import Architecture
from edarts.studies import searches
from edarts.studies.base import Job
from edarts.training import fit
from edarts.training.loop import seconds_of_step, timed

MOST = 12.0  # seconds after which no further kind is timed


def kind(job: Job) -> str:
    """What runs have in common that take as long for equal costs: how they search."""
    return job.search.method if job.search is not None else "training"


def seconds(
    jobs: Iterable[Job], costs: Mapping[str, float], data: Opened, runtime: Runtime
) -> dict[str, float]:
    """Name of each job -> the seconds that it will take, about.

    Of each kind the cheapest run is timed by a few steps; the others take as much longer as their
    `costs` are higher. What there was no time for is taken for as slow as the rest.
    """
    jobs = sorted(jobs, key=lambda job: costs[job.name])
    rates: dict[str, float] = {}
    images, start = data.sketch(), time.monotonic()
    for job in jobs:
        if kind(job) not in rates and (not rates or time.monotonic() - start < MOST):
            rates[kind(job)] = _seconds_of(job, images, runtime) / costs[job.name]
    usual = sum(rates.values()) / len(rates) if rates else 0.0
    return {job.name: rates.get(kind(job), usual) * costs[job.name] for job in jobs}


def _seconds_of(job: Job, data: Dataset, runtime: Runtime) -> float:
    """Of a search, by steps of its first supernet, and of a training, by steps of a network."""
    found = job.genotype
    if isinstance(found, str):
        found = named.architecture(found)
    total = 0.0
    if job.search is not None:
        found = searches.draws(job.search).sample(random.Random(0))
        if is_black_box(job.search.method):
            trained = 1 + searches.trials(job.search)
            return trained * _seconds_of_training(found, job, data, runtime)
        total = _seconds_of_search(job.search, data, runtime)
    assert found is not None
    return total + _seconds_of_training(found, job, data, runtime)


def _seconds_of_search(config: SearchConfig, data: Dataset, runtime: Runtime) -> float:
    config, space, _ = oneshot.resolve_config(config, len(data), len(data.classes))
    return oneshot.seconds_of_search(data, timed(config, runtime.device), space, runtime)


def _seconds_of_training(design: Architecture, job: Job, data: Dataset, runtime: Runtime) -> float:
    config = fit.resolve_config(
        job.train, len(data), whole=not design.sized, whitens=design.whitens
    )
    config = timed(config, runtime.device)
    network = fit.build(design, config, data, runtime.seed)
    runtime = replace(runtime, run=None, compile=False)
    training = fit.Training(network, data, config, runtime)
    return seconds_of_step(training, runtime) * training.loader.steps * config.epochs
