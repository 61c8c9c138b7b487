"""The ledger of a search is an Optuna study: what samplers read of it, and how it is opened."""

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, cast

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import event

from edarts.errors import EdartsError, UsageError, one_line, unknown
from edarts.methods.blackbox.registry_ import OPTUNA
from edarts.seeds import derive
from edarts.space.encoding import Encoding, distributions


def history(study: Study) -> list[FrozenTrial]:
    """The trials with a score, in the order in which they were finished."""
    return by_end(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))


def by_end(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    """In the order in which they were finished."""
    return sorted(trials, key=lambda trial: (trial.datetime_complete, trial.number))


def goodness(study: Study, trial: FrozenTrial) -> float:
    """A finished trial's score; its negative where the study minimises."""
    assert trial.value is not None
    return trial.value if study.direction == StudyDirection.MAXIMIZE else -trial.value


class LedgerSampler(BaseSampler, ABC):
    """A sampler whose proposal is a function of the ledger, the trial's number and the seed.

    It proposes all decisions of `encoding` together. What it keeps in memory only saves it from
    computing the same again.
    """

    def __init__(self, encoding: Encoding, seed: int = 0) -> None:
        self.encoding, self.seed = encoding, seed
        self._distributions = distributions(encoding)

    @abstractmethod
    def propose(
        self, study: Study, trial: FrozenTrial, draw: random.Random
    ) -> dict[str, int | str]:
        """Choices for `trial`; `draw` is seeded by its number."""

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return dict(self._distributions)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self.propose(study, trial, random.Random(derive(self.seed, trial.number)))

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Refused: such a parameter is none of the encoding's. Raises UsageError."""
        known = self._distributions.get(param_name)
        if isinstance(known, CategoricalDistribution):
            raise UsageError(f"{param_name}: its options are {', '.join(map(str, known.choices))}")
        raise unknown("parameter of the sampler", param_name, self._distributions)


class Reseeded(BaseSampler):
    """Optuna's sampler `name`, seeded anew for every trial by its number: so it can be resumed."""

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


def open_study(url: str, name: str, sampler: BaseSampler) -> Study:
    """The study `name` at a database's URL, made if it is not there; it maximises.

    Raises EdartsError that names the URL if there is no such database.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        storage = optuna.storages.RDBStorage(url)
        if storage.engine.dialect.name == "sqlite":
            event.listen(storage.engine, "connect", _write_ahead)
            storage.engine.dispose()  # the connections there are were made without it
        return optuna.create_study(
            storage=storage,
            study_name=name,
            sampler=sampler,
            direction="maximize",
            load_if_exists=True,
        )
    except Exception as error:  # SQLAlchemy, its drivers and Optuna each raise their own
        reason = one_line(error)[:200]
        raise EdartsError(f"--storage {url}: cannot be opened: {reason}") from None


def _write_ahead(connection: Any, record: object) -> None:
    """A killed process loses nothing, and no decision of a trial waits for the disk."""
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
