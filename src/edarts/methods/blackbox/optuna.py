"""Any sampler of Optuna's as a method: `optuna:NAME`, such as optuna:TPESampler."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, cast

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from edarts.config import OPTUNA
from edarts.errors import UsageError, one_line, unknown
from edarts.methods.blackbox.base import BlackBox
from edarts.runs.seeds import derive
from edarts.space.base import SearchSpace


class OptunaSampler(BlackBox):
    """Optuna's sampler `name`, seeded anew for every trial by its number: so it can be resumed."""

    PLANTED: ClassVar[Mapping[str, Any] | None] = None
    DEFAULTS: ClassVar[Mapping[str, Any]] = {"operations": "all", "topology": "all"}

    @classmethod
    def of(cls, method: str, space: SearchSpace, seed: int, options: Any) -> BaseSampler:
        return cls(method, seed)

    def __init__(self, name: str, seed: int = 0) -> None:
        kind = getattr(optuna.samplers, name.removeprefix(OPTUNA), None)
        if not (isinstance(kind, type) and issubclass(kind, BaseSampler)):
            known = [OPTUNA + k for k in optuna.samplers.__all__ if k.endswith("Sampler")]
            raise unknown("method", name, known)
        self.kind = cast(Callable[..., BaseSampler], kind)
        self.seed = seed
        try:
            self.inner = self.kind(seed=seed)
        except (TypeError, ImportError) as error:
            raise UsageError(
                f"{name} cannot be made by its name alone: {one_line(error)}"
            ) from None

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self.inner = self.kind(seed=derive(self.seed, trial.number) % 2**32)
        self.inner.before_trial(study, trial)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return self.inner.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self.inner.sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        return self.inner.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        self.inner.after_trial(study, trial, state, values)


PLUGIN = OptunaSampler
