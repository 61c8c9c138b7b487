"""Every black-box method passes the shipped contract."""

from collections.abc import Callable
from typing import Any

import pytest
from optuna.study import Study
from optuna.trial import FrozenTrial

from edarts import registry
from edarts.methods.blackbox.ledger import history
from edarts.methods.blackbox.random_search import RandomSearch
from edarts.methods.blackbox.regularized_evolution import RegularizedEvolution
from edarts.testing import blackbox as testing

Check = Callable[..., None]

METHODS = [
    *(name for name in registry.names("samplers") if name != "optuna"),
    "optuna:TPESampler",
]


def planted(method: str) -> Any:
    """What a sampler needs to reach the planted best; None for one that does not learn."""
    return registry.get("samplers", method.partition(":")[0]).PLANTED


CASES = [
    pytest.param(
        method,
        check,
        id=f"{method}-{check.__name__}",
        marks=[pytest.mark.slow]
        if check is testing.check_ledger_planted and method != "regularized_evolution"
        else [],
    )
    for method in METHODS
    for check in testing.LEDGER_CHECKS
    if check is not testing.check_ledger_planted or planted(method) is not None
]


@pytest.mark.parametrize(("method", "check"), CASES)
def test_ledger_contract(method: str, check: Check) -> None:
    check(method, **(planted(method) if check is testing.check_ledger_planted else {}))


# -- samplers that are wrong, handed in as objects, are found out ----------------------------------


class Upwards(RegularizedEvolution):
    """Takes the highest score for the best, whichever way its study goes."""

    name = "upwards"

    def propose(self, study: Study, trial: FrozenTrial, draw: Any) -> dict[str, int | str]:
        alive = history(study)[-self.options.population :]
        if trial.number < self.options.population:
            return self.space.sample_decisions(draw)
        best = max(draw.choices(alive, k=self.options.tournament), key=lambda t: t.value)
        return self.space.mutate_decisions(best.params, draw)


class Stuck(RandomSearch):
    """Proposes the same in every trial."""

    name = "stuck"

    def propose(self, study: Study, trial: FrozenTrial, draw: Any) -> dict[str, int | str]:
        draw.seed(self.seed)
        return self.space.sample_decisions(draw)


class Unable(RandomSearch):
    """Proposes what is none of a decision's options."""

    name = "unable"

    def propose(self, study: Study, trial: FrozenTrial, draw: Any) -> dict[str, int | str]:
        return dict.fromkeys(self.space.decisions(), "sep_conv_9x9")


@pytest.mark.parametrize(
    ("method", "check", "options", "reason"),
    [
        (Upwards, testing.check_ledger_plain, {}, "depends on the direction"),
        (Stuck, testing.check_ledger_plain, {}, "proposes the same again"),
        (Unable, testing.check_ledger_plain, {}, "sep_conv_9x9"),
        (Stuck, testing.check_ledger_planted, {"seeds": 3, "draws": 2000}, "0 of 3"),
    ],
)
def test_a_wrong_sampler_fails(
    method: type[RandomSearch], check: Check, options: dict[str, Any], reason: str
) -> None:
    with pytest.raises((AssertionError, ValueError), match=reason):
        check(method, **options)
