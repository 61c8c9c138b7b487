"""Contract tests of black-box methods: each check takes a METHOD, by name or itself.

`optuna:NAME` is a method too. `changes` are options of the search. The checks know a space by its
decisions and its architectures by their operations, use plain asserts, and need no test framework.
"""

import random
import tempfile
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal

import optuna
import torch
from optuna import Study
from optuna.samplers import BaseSampler
from scipy.stats import binomtest

from edarts.config import SearchConfig, option_names
from edarts.methods.blackbox import driver
from edarts.methods.blackbox.ledger import open_study, suggest
from edarts.runs.pool import Pool
from edarts.runtime import Runtime
from edarts.space.base import Architecture
from edarts.testing.problems import PLANTED, SEED, PlantedScore, planted_first
from edarts.testing.searches import named

Score = Callable[[Architecture, int], float]
"""(architecture, seed) -> score, higher is better."""
Trials = list[tuple[dict[str, Any], float | None]]
"""The decisions and the score of every trial, in the order in which they were asked for."""


def tiny_ledger_config(method: Any, **changes: Any) -> SearchConfig:
    """A black-box search of 40 trials over three operations, on a fixed topology if it has any."""
    config = SearchConfig.of(method, **{k: v for k, v in changes.items() if k == "space"})
    owner, space = config.plugins()
    base: dict[str, Any] = {
        "trials": 40,
        "topology": "0",
        "population": 20,
        "tournament": 5,
        "beam": 10,
        "controller_lr": 0.02,
        **named(space, ("skip_connect", PLANTED, "max_pool_3x3")),
    }
    names = option_names(owner) | option_names(space)
    return SearchConfig.of(method, **({k: v for k, v in base.items() if k in names} | changes))


def run_ledger(
    config: SearchConfig,
    score: Score,
    *,
    seed: int = SEED,
    storage: str | None = None,
    pool: Pool | None = None,
) -> tuple[driver.BlackBoxResult, Trials]:
    """What a search found, and every trial of its ledger, in memory or at the URL `storage`.

    Scores are computed where the pool is, if one is given.
    """
    config, space = driver.resolve_config(config)
    sampler = driver.make_sampler(space, config, seed)
    study = (
        _in_memory(sampler, "maximize") if storage is None else open_study(storage, "test", sampler)
    )
    runtime = Runtime(torch.device("cpu"), seed)
    found = driver.black_box(study, space, score, config, runtime, pool=pool)
    return found, [(trial.params, trial.value) for trial in study.get_trials(deepcopy=False)]


def _in_memory(sampler: BaseSampler, direction: Literal["maximize", "minimize"]) -> Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(sampler=sampler, direction=direction)


@lru_cache(maxsize=8)
def asked(method: Any, **changes: Any) -> Trials:
    """The trials that several checks compare theirs with: asked for once in a process."""
    return run_ledger(tiny_ledger_config(method, **changes), PlantedScore())[1]


def check_ledger_seeds(method: Any, **changes: Any) -> None:
    """The same seed gives the same trials; another seed others."""
    config = tiny_ledger_config(method, **changes)
    first = asked(method, **changes)
    assert first == run_ledger(config, PlantedScore())[1], f"{method}: another result"
    assert first != run_ledger(config, PlantedScore(), seed=1)[1], f"{method}: seed without effect"
    assert len(first) == driver.resolve_config(config)[0].options.trials


class _Killed(BaseException):
    """As a kill would: nothing gets to clean up."""


def check_ledger_resume(method: Any, **changes: Any) -> None:
    """Killed in the middle of a trial and continued from the file: the same trials."""
    config = tiny_ledger_config(method, **changes)
    whole = asked(method, **changes)
    left = 25

    def score(architecture: Architecture, seed: int) -> float:
        nonlocal left
        left -= 1
        if left == 0:
            raise _Killed
        return PlantedScore()(architecture, seed)

    with tempfile.TemporaryDirectory() as folder:
        storage = f"sqlite:///{folder}/ledger.db"
        try:
            run_ledger(config, score, storage=storage)
            raise AssertionError(f"{method}: was not killed")
        except _Killed:
            pass
        _, continued = run_ledger(config, PlantedScore(), storage=storage)
    assert whole == continued, f"{method}: killed and continued, it went on otherwise"


def check_ledger_failures(method: Any, **changes: Any) -> None:
    """Errors and NaN are recorded, tried once more, and never win."""
    ways: tuple[Literal["raise", "nan"], ...] = ("raise", "nan")
    for fails in ways:
        config = tiny_ledger_config(method, **({"trials": 30} | changes))
        found, trials = run_ledger(config, PlantedScore(fails=fails))
        right = planted_first(found.architecture)
        assert right % 2 == 1, f"{method}: an architecture that failed won"
        failed = [str(decisions) for decisions, value in trials if value is None]
        assert failed and found.trials.failed == len(failed)
        assert all(failed.count(text) % 2 == 0 for text in failed), f"{method}: not retried"


def check_ledger_planted(
    method: Any,
    trials: int = 300,
    seeds: int = 6,
    draws: int = 20_000,
    edges: int = 0,
    **changes: Any,
) -> None:
    """The planted best is found in far fewer trials than random search would need.

    `edges`: see `PlantedScore`; where cells can be small, a few lucky edges must not do. For each
    of the seeds: is the best reached within `trials`? How likely that is by random draws is counted
    on `draws` of them. The binomial test must reject, at 0.001, that the method reaches it no more
    often.
    """
    config = tiny_ledger_config(method, trials=trials, **changes)
    _, space = driver.resolve_config(config)
    draw = random.Random(SEED)
    score = PlantedScore(edges)
    drawn = [score(space.decode(space.sample_decisions(draw)), 0) for _ in range(draws)]
    chance = 1 - (1 - (sum(s == 1 for s in drawn) + 1) / len(drawn)) ** trials
    hits = sum(run_ledger(config, score, seed=seed)[0].score == 1 for seed in range(seeds))
    p = binomtest(hits, seeds, chance, alternative="greater").pvalue
    assert p < 0.001, f"{method}: {hits} of {seeds}, by chance {chance:.2g} each: p = {p:.2g}"


def check_ledger_plain(method: Any, **changes: Any) -> None:
    """The sampler works in a plain Optuna study, and minimises as well as it maximises.

    Every proposal stands for an architecture, and they vary. A study that minimises the negated
    score asks for exactly the trials of one that maximises the score, so a sampler that does not
    look which way its study goes is found out as soon as it learns from a score.
    """
    up, down = _plain(method, "maximize", changes), _plain(method, "minimize", changes)
    for number, (one, other) in enumerate(zip(up, down, strict=True)):
        assert one == other, f"{method}: trial {number} depends on the direction of the study"
    assert len({str(decisions) for decisions in up}) > 10, f"{method}: proposes the same again"


def _plain(
    method: Any, direction: Literal["maximize", "minimize"], changes: dict[str, Any]
) -> list[dict[str, Any]]:
    """The decisions of 40 trials of a study in this direction, the score negated to minimise."""
    config, space = driver.resolve_config(tiny_ledger_config(method, **changes))
    study = _in_memory(driver.make_sampler(space, config, SEED), direction)
    sign = 1 if direction == "maximize" else -1
    # An exception, such as that of decisions that stand for nothing, ends the study.
    study.optimize(lambda trial: sign * PlantedScore()(suggest(space, trial), 0), n_trials=40)
    return [trial.params for trial in study.get_trials(deepcopy=False)]


LEDGER_CHECKS: tuple[Callable[..., None], ...] = (
    check_ledger_seeds,
    check_ledger_resume,
    check_ledger_failures,
    check_ledger_planted,
    check_ledger_plain,
)
