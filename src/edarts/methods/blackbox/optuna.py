"""Any sampler of Optuna's as a method: `optuna:NAME`, such as optuna:TPESampler."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, cast

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseGASampler, BaseSampler, RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from edarts.config import OPTUNA, UNSET, Between
from edarts.errors import UsageError, one_line, unknown
from edarts.methods.blackbox.base import BlackBox, LedgerOptions, Wanted
from edarts.runs.seeds import derive
from edarts.space.base import SearchSpace


@dataclass(frozen=True)
class Options(LedgerOptions):
    """What can be chosen of the method."""

    trials: Annotated[int, Between(1)] = UNSET
    """Architectures proposed in all; more than before continue a search. If not given, 100; of a
    genetic sampler ten times its population, which is 50."""


class OptunaSampler(BlackBox):
    """Optuna's sampler `name`, seeded anew for every trial by its number: so it can be resumed.

    Raises UsageError if there is none, if it needs more than its name, or if it cannot learn
    categorical decisions.
    """

    Options: ClassVar[type] = Options
    PLANTED: ClassVar[Mapping[str, Any] | None] = None
    DEFAULTS: ClassVar[Mapping[str, Any]] = {"operations": "all", "topology": "all"}

    @classmethod
    def of(cls, method: str, space: SearchSpace, seed: int, options: Any) -> BaseSampler:
        return cls(method, seed)

    @classmethod
    def wanted(cls, method: str, options: Any, space: SearchSpace) -> Wanted:
        inner = cls(method).inner
        population = inner.population_size if isinstance(inner, BaseGASampler) else None
        if population is None:
            return Wanted()
        why = f"its first {population} are drawn at random"
        return Wanted(10 * population, population + 1, why)

    def __init__(self, name: str, seed: int = 0) -> None:
        kind = getattr(optuna.samplers, name.removeprefix(OPTUNA), None)
        if not (isinstance(kind, type) and issubclass(kind, BaseSampler)):
            known = [OPTUNA + k for k in optuna.samplers.__all__ if k.endswith("Sampler")]
            raise unknown("method", name, known)
        self.kind = cast(Callable[..., BaseSampler], kind)
        self.seed = seed
        try:
            self.inner = self._made(seed)
        except (TypeError, ImportError) as error:
            raise UsageError(
                f"{name} cannot be made by its name alone: {one_line(error)}"
            ) from None
        if kind is not RandomSampler and self._draws_categories():
            raise UsageError(
                f"{name} cannot learn categorical decisions, which all of a space's are: it would"
                f" be random search under another name; give {OPTUNA}TPESampler, or random_search"
            )

    def _made(self, seed: int) -> BaseSampler:
        with warnings.catch_warnings():  # of these three methods nothing is asked but their results
            warnings.simplefilter("ignore", ExperimentalWarning)
            return self.kind(seed=seed)

    def _draws_categories(self) -> bool:
        """Whether it leaves categorical decisions to RandomSampler.

        Seen from outside: once there are results it models none of them together, and one by one
        it draws exactly what RandomSampler draws from the same seed.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        options = CategoricalDistribution(tuple(range(100)))
        study, empty = (optuna.create_study(sampler=RandomSampler(0)) for _ in range(2))
        study.tell(study.ask({"decision": options}), 0.0)
        study.tell(study.ask({"decision": options}), 0.0)
        trial = study.get_trials(deepcopy=False)[-1]
        if self._made(0).infer_relative_search_space(study, trial):
            return False
        empty.ask()
        trial = empty.get_trials(deepcopy=False)[0]
        one, other = (
            [sampler.sample_independent(empty, trial, f"{n}", options) for n in range(5)]
            for sampler in (self._made(0), RandomSampler(0))
        )
        return one == other

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self.inner = self._made(derive(self.seed, trial.number) % 2**32)
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
