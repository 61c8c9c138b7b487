"""A score that trains nothing, and a search by it."""

from typing import Any

import optuna
import torch

from edarts import Architecture, SearchConfig
from edarts.methods.blackbox.driver import black_box, make_sampler, resolve_config
from edarts.methods.blackbox.ledger import open_study
from edarts.runtime import Runtime

PLANTED = "sep_conv_3x3"


def planted(found: Architecture, seed: int = 0) -> float:
    """The share of operations that are `PLANTED`."""
    names = [name for group in found.operations().values() for name in group]
    return names.count(PLANTED) / len(names)


def evolution(trials: int) -> SearchConfig:
    """Regularized evolution of three operations on a fixed topology."""
    return SearchConfig.of(
        "regularized_evolution",
        space="darts",
        topology="0",
        operations=f"skip_connect,{PLANTED},max_pool_3x3",
        population=20,
        tournament=5,
        trials=trials,
    )


def search(
    config: SearchConfig, *, seed: int = 0, storage: str | None = None
) -> list[tuple[dict[str, Any], float | None]]:
    """(decisions, score) of every trial of the ledger, in memory or at a URL."""
    config, space = resolve_config(config)
    sampler = make_sampler(space, config, seed)
    study = (
        optuna.create_study(sampler=sampler, direction="maximize")
        if storage is None
        else open_study(storage, "test", sampler)
    )
    black_box(study, space, planted, config, Runtime(torch.device("cpu"), seed))
    return [(trial.params, trial.value) for trial in study.get_trials(deepcopy=False)]
