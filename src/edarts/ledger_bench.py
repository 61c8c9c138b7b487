"""`edarts bench ledger`: that spaces and ledgers of the published sizes are no burden."""

import random
import statistics
import time
from collections.abc import Callable
from typing import Any

import optuna
from optuna.trial import create_trial

from edarts.encoding import CellEncoding, distributions
from edarts.progress import Progress
from edarts.samplers import nasnet_rl, random_search, regularized_evolution
from edarts.space import Space

GENOTYPES = 100_000
TRIALS = 20_000  # AmoebaNet's and NASNet's


def bench_ledger(rounds: int, progress: Progress) -> dict[str, Any]:
    """{`rows`: [{`what`, `seconds`}]}: of all `GENOTYPES`, and the median of `rounds` asks.

    An ask is the proposal of all decisions of a new trial by a sampler that has read the ledger
    once; the ledger is in memory, since a database's time is that of the database.
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
    study = optuna.create_study(direction="maximize")
    known = distributions(encoding)
    progress.say(f"bench: a ledger of {TRIALS:,} trials")
    study.add_trials(
        [create_trial(params=c, distributions=known, value=draw.random()) for c in encoded[:TRIALS]]
    )
    for sampler in (
        random_search.Sampler(encoding),
        regularized_evolution.Sampler(encoding),
        nasnet_rl.Sampler(encoding),
    ):
        study.sampler = sampler
        name = type(sampler).__module__.rpartition(".")[2]
        times = []
        for _ in range(rounds + 1):
            start = time.perf_counter()
            trial = study.ask(known)
            times.append(time.perf_counter() - start)
            study.tell(trial, 0.5)
        what = f"ask, {TRIALS:,} trials, {name}"
        rows.append({"what": what, "seconds": round(statistics.median(times[1:]), 4)})
        rows.append({"what": f"first {what}", "seconds": round(times[0], 4)})
    return {"rows": rows}
