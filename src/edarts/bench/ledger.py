"""`edarts bench ledger`: that spaces and ledgers of the published sizes are no burden."""

import random
import statistics
import time
from collections.abc import Callable, Iterator
from tempfile import TemporaryDirectory
from typing import Any

import optuna
import torch
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from edarts import registry
from edarts.bench.measure import machine
from edarts.bench.report import LedgerReport, LedgerRow
from edarts.bench.trials import attributes, store, trials
from edarts.config import SearchConfig
from edarts.methods.blackbox.driver import black_box
from edarts.methods.blackbox.ledger import distributions, open_study
from edarts.methods.blackbox.pnas import PNAS
from edarts.runs.progress import Progress
from edarts.runtime import Runtime
from edarts.space.base import Architecture, SearchSpace
from edarts.space.blocks import BlockSpace
from edarts.space.darts import DartsSpace
from edarts.space.motifs import MotifSpace

GENOTYPES = 100_000
TRIALS = 20_000  # AmoebaNet's and NASNet's
BEAM = PNAS.PAPER["beam"]  # levels of its default beam hold fewer than so many trials
DRIVEN = "regularized_evolution"  # the sampler whose search is timed with its driver


def bench_ledger(rounds: int, progress: Progress) -> LedgerReport:
    """Seconds of work on `GENOTYPES`, of asks of each sampler, and of a driver's trial.

    An ask is the proposal of all decisions of a new trial, `rounds` of them after the first, which
    reads the ledger. Ledgers hold random genotypes with random scores, in memory and in SQLite. A
    driver's trial is all but the score: ask, look up, tell.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    cells, draw = DartsSpace(), random.Random(0)
    rows = list(_work(cells, draw, progress))
    operations = cells.eligible("normal")
    groups: list[tuple[SearchSpace, tuple[str, ...]]] = [
        (cells, ("random_search", DRIVEN, "nasnet_rl")),
        (BlockSpace(operations), ("pnas",)),
        (MotifSpace(operations), ("hierarchical_evolution",)),
    ]
    with TemporaryDirectory() as folder:
        for space, names in groups:
            progress.say(f"bench: a ledger of {TRIALS:,} trials")
            finished = trials(space, draw, TRIALS, BEAM)
            for name in names:
                progress.say(f"bench: {name}")
                made = _sampler(name, space)
                study = optuna.create_study(direction="maximize", sampler=made)
                study.add_trials(finished)
                rows += asks(study, space, rounds, f"{name}, in memory")
                url = f"sqlite:///{folder}/{name}.db"
                study = _reopened(url, _sampler(name, space), finished)
                rows += asks(study, space, rounds, f"{name}, SQLite")
                if name == DRIVEN:
                    rows.append(driver_trial(study, space, rounds))
    return LedgerReport(machine(torch.device("cpu")), tuple(rows))


def _sampler(name: str, space: SearchSpace) -> BaseSampler:
    """As by default, but for PNAS' beam."""
    kind = registry.get("samplers", name)
    made: BaseSampler = kind(space, 0, kind.Options(beam=BEAM) if kind is PNAS else None)
    return made


def _work(space: DartsSpace, draw: random.Random, progress: Progress) -> Iterator[LedgerRow]:
    """Sampling, changing and naming `GENOTYPES`."""
    count = f"{GENOTYPES:,} genotypes"
    made: dict[str, Any] = {}
    work: dict[str, Callable[[], Any]] = {
        "sample": lambda: [space.sample(draw) for _ in range(GENOTYPES)],
        "mutate": lambda: [space.mutate(g, draw) for g in made["sample"]],
        "encode": lambda: [space.encode(g) for g in made["sample"]],
        "decode": lambda: [space.decode(decisions) for decisions in made["encode"]],
        "digest": lambda: [g.digest() for g in made["sample"]],
    }
    for name, function in work.items():
        progress.say(f"bench: {name} {count}")
        start = time.perf_counter()
        made[name] = function()
        yield LedgerRow(f"{name} {count}", round(time.perf_counter() - start, 4))


def _reopened(url: str, sampler: BaseSampler, finished: list[FrozenTrial]) -> Study:
    """A study with these trials, opened again as by a search that goes on."""
    open_study(url, "bench", sampler)
    store(url, finished)
    return open_study(url, "bench", sampler)


def asks(study: Study, space: SearchSpace, rounds: int, what: str) -> list[LedgerRow]:
    """The first ask, which reads the ledger, and the median and longest of `rounds` after it."""
    known = distributions(space)
    times = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        trial = study.ask(known)
        times.append(time.perf_counter() - start)
        for key, value in attributes(space.decode(trial.params)).items():
            trial.set_user_attr(key, value)
        study.tell(trial, 0.5)
    found = {"": statistics.median(times[1:]), "longest ": max(times[1:]), "first ": times[0]}
    return [LedgerRow(f"{which}ask, {what}", round(taken, 4)) for which, taken in found.items()]


def driver_trial(study: Study, space: SearchSpace, rounds: int) -> LedgerRow:
    """Seconds of a trial of `edarts search` whose score costs nothing, a mean over `rounds`."""

    def score(found: Architecture, seed: int) -> float:
        return 0.5

    runtime, times = Runtime(torch.device("cpu")), []
    count = len(study.get_trials(deepcopy=False))
    for more in (0, rounds):  # what a search does before its first trial and after its last
        config = SearchConfig.of(DRIVEN, trials=count + more, repeats=1).with_options({})
        start = time.perf_counter()
        black_box(study, space, score, config, runtime)
        times.append(time.perf_counter() - start)
    return LedgerRow("driver, one trial, SQLite", round((times[1] - times[0]) / rounds, 4))
