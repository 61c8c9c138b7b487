"""`edarts bench ledger`: that spaces and ledgers of the published sizes are no burden."""

import random
import statistics
import time
from collections.abc import Callable
from tempfile import TemporaryDirectory
from typing import Any

import optuna
from optuna.study import Study
from optuna.trial import create_trial

from edarts.encoding import CellEncoding, Encoding, distributions
from edarts.ledger import LedgerSampler, open_study
from edarts.progress import Progress
from edarts.samplers import (
    hierarchical_evolution,
    nasnet_rl,
    pnas,
    random_search,
    regularized_evolution,
)
from edarts.space import Space

GENOTYPES = 100_000
TRIALS = 20_000  # AmoebaNet's and NASNet's


def bench_ledger(rounds: int, progress: Progress) -> dict[str, Any]:
    """{`rows`: [{`what`, `seconds`}]}: of all `GENOTYPES`, and the median of `rounds` asks.

    An ask is the proposal of all decisions of a new trial; the ledgers hold random genotypes.
    """
    rows: list[dict[str, Any]] = []

    def took(what: str, work: Callable[[], Any]) -> Any:
        progress.say(f"bench: {what}")
        start = time.perf_counter()
        result = work()
        rows.append({"what": what, "seconds": round(time.perf_counter() - start, 4)})
        return result

    space, draw = Space(), random.Random(0)
    encoding = CellEncoding(space)
    count = f"{GENOTYPES:,} genotypes"
    drawn = took(f"sample {count}", lambda: [space.sample(draw) for _ in range(GENOTYPES)])
    took(f"mutate {count}", lambda: [space.mutate(g, draw) for g in drawn])
    encoded = took(f"encode {count}", lambda: [encoding.encode(g) for g in drawn])
    took(f"decode {count}", lambda: [encoding.decode(c) for c in encoded])
    took(f"digest {count}", lambda: [g.digest() for g in drawn])

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    blocks, motifs = pnas.Blocks(space.searchable), hierarchical_evolution.Motifs(space.searchable)
    groups: list[tuple[Encoding, list[LedgerSampler]]] = [
        (
            encoding,
            [
                random_search.Sampler(encoding),
                regularized_evolution.Sampler(encoding),
                nasnet_rl.Sampler(encoding),
            ],
        ),
        (blocks, [pnas.Sampler(blocks)]),
        (motifs, [hierarchical_evolution.Sampler(motifs)]),
    ]
    for kind, group in groups:
        study = optuna.create_study(direction="maximize")
        _fill(study, kind, draw, progress)
        for sampler in group:
            rows += _asks(study, sampler, rounds, f"{TRIALS:,} trials")
    with TemporaryDirectory() as folder:
        sampler = regularized_evolution.Sampler(encoding)
        url = f"sqlite:///{folder}/ledger.db"
        _fill(open_study(url, "bench", sampler), encoding, draw, progress)
        # Opened again, as by a search that goes on.
        rows += _asks(open_study(url, "bench", sampler), sampler, rounds, f"{TRIALS:,} in SQLite")
    return {"rows": rows}


def _fill(study: Study, encoding: Encoding, draw: random.Random, progress: Progress) -> None:
    progress.say(f"bench: a ledger of {TRIALS:,} trials")
    known = distributions(encoding)
    study.add_trials(
        [
            create_trial(params=encoding.sample(draw), distributions=known, value=draw.random())
            for _ in range(TRIALS)
        ]
    )


def _asks(study: Study, sampler: LedgerSampler, rounds: int, ledger: str) -> list[dict[str, Any]]:
    """The first ask, which reads the ledger, and the median and longest of `rounds` after it."""
    study.sampler = sampler
    known = distributions(sampler.encoding)
    times = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        trial = study.ask(known)
        times.append(time.perf_counter() - start)
        study.tell(trial, 0.5)
    name = type(sampler).__module__.rpartition(".")[2]
    found = {"": statistics.median(times[1:]), "longest ": max(times[1:]), "first ": times[0]}
    return [
        {"what": f"{which}ask, {ledger}, {name}", "seconds": round(taken, 4)}
        for which, taken in found.items()
    ]
