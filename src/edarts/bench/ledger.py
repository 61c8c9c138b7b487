"""`edarts bench ledger`: that spaces and ledgers of the published sizes are no burden."""

import json
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from tempfile import TemporaryDirectory
from typing import Any, cast

import optuna
import torch
from optuna.storages._rdb import models
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy import insert

from edarts.bench.steps import machine
from edarts.config import SearchConfig, given
from edarts.methods.blackbox import (
    hierarchical_evolution,
    nasnet_rl,
    pnas,
    random_search,
    regularized_evolution,
)
from edarts.methods.blackbox.driver import DIGEST, GENOTYPE, SCORED, black_box
from edarts.methods.blackbox.ledger import LedgerSampler, open_study
from edarts.runs.progress import Progress
from edarts.space.darts import Space
from edarts.space.encoding import CellEncoding, Choices, Encoding, distributions
from edarts.space.genotype import Genotype

GENOTYPES = 100_000
TRIALS = 20_000  # AmoebaNet's and NASNet's


def bench_ledger(rounds: int, progress: Progress) -> dict[str, Any]:
    """{`machine`, `rows`: [{`what`, `seconds`}]}.

    Rows are of all `GENOTYPES`; asks of each sampler; a driver's trials.

    An ask is the proposal of all decisions of a new trial, `rounds` of them after the first, which
    reads the ledger. Ledgers hold random genotypes with random scores, in memory and in SQLite. A
    driver's trial is all but the score: ask, look up, tell.
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
    groups: list[tuple[Encoding, list[type[LedgerSampler]]]] = [
        (encoding, [random_search.PLUGIN, regularized_evolution.PLUGIN, nasnet_rl.PLUGIN]),
        (blocks, [pnas.PLUGIN]),
        (motifs, [hierarchical_evolution.PLUGIN]),
    ]
    with TemporaryDirectory() as folder:
        for kind, group in groups:
            progress.say(f"bench: a ledger of {TRIALS:,} trials")
            trials = _trials(kind, draw)
            for sampler in group:
                name = sampler.__module__.rpartition(".")[2]
                progress.say(f"bench: {name}")
                study = optuna.create_study(direction="maximize", sampler=sampler(kind))
                study.add_trials(trials)
                rows += _asks(study, kind, rounds, f"{name}, in memory")
                url = f"sqlite:///{folder}/{name}.db"
                _store(open_study(url, "bench", sampler(kind)), trials)
                # Opened again, as by a search that goes on.
                study = open_study(url, "bench", sampler(kind))
                rows += _asks(study, kind, rounds, f"{name}, SQLite")
                if sampler is regularized_evolution.PLUGIN:
                    rows.append(_driver(study, kind, rounds))
    return {"machine": machine(torch.device("cpu")), "rows": rows}


def _trials(encoding: Encoding, draw: random.Random) -> list[FrozenTrial]:
    """As of a search that has tried `TRIALS` genotypes, one after the other."""
    known, start = distributions(encoding), datetime.now() - timedelta(seconds=TRIALS)
    trials = []
    for number, choices in enumerate(_genotypes(encoding, draw)):
        genotype = encoding.decode(choices)
        trial = create_trial(
            params=dict(choices),
            distributions=known,
            value=draw.random(),
            user_attrs={
                DIGEST: genotype.digest(),
                GENOTYPE: genotype.to_json(),
                SCORED: True,
            },
        )
        trial.datetime_start = start + timedelta(seconds=number)
        trial.datetime_complete = trial.datetime_start + timedelta(milliseconds=999)
        trials.append(trial)
    return trials


def _genotypes(encoding: Encoding, draw: random.Random) -> list[Choices]:
    """Drawn from the encoding; for `Blocks` level by level, each with as many as pnas tries."""
    if not isinstance(encoding, pnas.Blocks):
        return [encoding.sample(draw) for _ in range(TRIALS)]
    level, cells = list(encoding.widened(())), []
    for _ in range(1, encoding.blocks):
        cells += level
        wider = [cell for parent in level for cell in encoding.widened(parent)]
        level = draw.sample(wider, pnas.DEFAULTS["beam"])
    cells += draw.sample(wider, TRIALS - len(cells))
    return [encoding.choices(cell) for cell in cells]


def _store(study: Study, trials: list[FrozenTrial]) -> None:
    """`study.add_trials` in bulk: row by row, as Optuna writes them, takes most of an hour."""
    engine = cast(Any, study._storage)._backend.engine
    finite = models.TrialValueModel.TrialValueType.FINITE
    kinds = {
        name: optuna.distributions.distribution_to_json(kind)
        for name, kind in trials[0].distributions.items()
    }
    utc = datetime.now().astimezone().utcoffset() or timedelta()
    with engine.begin() as connection:
        connection.execute(
            insert(models.TrialModel.__table__),
            [
                {
                    "trial_id": number + 1,
                    "number": number,
                    "study_id": study._study_id,
                    "state": TrialState.COMPLETE,
                    "datetime_start": cast(datetime, trial.datetime_start) - utc,
                    "datetime_complete": cast(datetime, trial.datetime_complete) - utc,
                }
                for number, trial in enumerate(trials)
            ],
        )
        connection.execute(
            insert(models.TrialParamModel.__table__),
            [
                {
                    "trial_id": number + 1,
                    "param_name": name,
                    "param_value": trial.distributions[name].to_internal_repr(value),
                    "distribution_json": kinds[name],
                }
                for number, trial in enumerate(trials)
                for name, value in trial.params.items()
            ],
        )
        connection.execute(
            insert(models.TrialValueModel.__table__),
            [
                {
                    "trial_id": number + 1,
                    "objective": 0,
                    "value": trial.value,
                    "value_type": finite,
                }
                for number, trial in enumerate(trials)
            ],
        )
        connection.execute(
            insert(models.TrialUserAttributeModel.__table__),
            [
                {"trial_id": number + 1, "key": key, "value_json": json.dumps(value)}
                for number, trial in enumerate(trials)
                for key, value in trial.user_attrs.items()
            ],
        )


def _asks(study: Study, encoding: Encoding, rounds: int, what: str) -> list[dict[str, Any]]:
    """The first ask, which reads the ledger, and the median and longest of `rounds` after it."""
    known = distributions(encoding)
    times = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        trial = study.ask(known)
        times.append(time.perf_counter() - start)
        genotype = encoding.decode(trial.params)
        trial.set_user_attr(DIGEST, genotype.digest())
        trial.set_user_attr(GENOTYPE, genotype.to_json())
        trial.set_user_attr(SCORED, True)
        study.tell(trial, 0.5)
    found = {"": statistics.median(times[1:]), "longest ": max(times[1:]), "first ": times[0]}
    return [
        {"what": f"{which}ask, {what}", "seconds": round(taken, 4)}
        for which, taken in found.items()
    ]


def _driver(study: Study, encoding: Encoding, rounds: int) -> dict[str, Any]:
    """Seconds of a trial of `edarts search` whose score costs nothing, a mean over `rounds`."""

    def score(genotype: Genotype, seed: int) -> float:
        return 0.5

    config = SearchConfig(
        "regularized_evolution", trials=len(study.get_trials(deepcopy=False)), repeats=1
    )
    times = []
    for more in (0, rounds):  # what a search does before its first trial and after its last
        config = replace(config, trials=given(config.trials) + more)
        start = time.perf_counter()
        black_box(study, encoding, score, config, progress=Progress(quiet=True))
        times.append(time.perf_counter() - start)
    return {
        "what": "driver, one trial, SQLite",
        "seconds": round((times[1] - times[0]) / rounds, 4),
    }
