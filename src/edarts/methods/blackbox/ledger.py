"""The ledger of a search is an Optuna study: what samplers read of it, and how it is opened."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, cast

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study, StudyDirection
from optuna.trial import BaseTrial, FrozenTrial, TrialState
from sqlalchemy import event

from edarts.errors import EdartsError, one_line
from edarts.space.base import Architecture, SearchSpace


DIGEST = "digest"  # what a trial's user attributes call its architecture's


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


def means(study: Study, done: Sequence[FrozenTrial]) -> dict[int, float]:
    """Number of each finished trial -> the mean goodness of its architecture, over all of them."""
    scores: dict[str, list[float]] = defaultdict(list)
    alike = {t.number: t.user_attrs.get(DIGEST) or str(sorted(t.params.items())) for t in done}
    for trial in done:
        scores[alike[trial.number]].append(goodness(study, trial))
    found = {key: sum(values) / len(values) for key, values in scores.items()}
    return {number: found[key] for number, key in alike.items()}


def distributions(space: SearchSpace) -> dict[str, BaseDistribution]:
    """The decisions of a space as Optuna knows them."""
    return {name: CategoricalDistribution(options) for name, options in space.decisions().items()}


def suggest(space: SearchSpace, trial: BaseTrial) -> Architecture:
    """What the sampler of a trial's study proposes: any sampler of Optuna's or ours.

    Raises UsageError if the decisions stand for no architecture.
    """
    decisions: dict[str, int | str] = {}
    for name, options in space.decisions().items():
        decisions[name] = cast(int | str, trial.suggest_categorical(name, options))
    return space.decode(decisions)


def open_study(url: str, name: str, sampler: BaseSampler, *, alone: bool = False) -> Study:
    """The study `name` at a database's URL, made if it is not there; it maximises.

    `alone`: the database is a run's own, so that the one study in it is that run's, whatever its
    name: other versions name it otherwise. Raises EdartsError that names the URL if there is no
    such database, or if it is said to be alone and holds several others.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        storage = optuna.storages.RDBStorage(url)
        if storage.engine.dialect.name == "sqlite":
            event.listen(storage.engine, "connect", _write_ahead)
            storage.engine.dispose()  # the connections there are were made without it
        known = optuna.get_all_study_names(storage) if alone else []
        return optuna.create_study(
            storage=storage,
            study_name=_own(url, name, known),
            sampler=sampler,
            direction="maximize",
            load_if_exists=True,
        )
    except EdartsError:
        raise
    except Exception as error:  # SQLAlchemy, its drivers and Optuna each raise their own
        reason = one_line(error)[:200]
        raise EdartsError(f"--storage {url}: cannot be opened: {reason}") from None


def _own(url: str, name: str, known: list[str]) -> str:
    """Which study of its database is a run's: that with the name, else the only one."""
    if name in known or not known:
        return name
    if len(known) > 1:
        raise EdartsError(
            f"{url}: holds {len(known)} studies ({', '.join(sorted(known))}), none of which is this"
            f" run's, {name}; give another --out"
        )
    return known[0]


def _write_ahead(connection: Any, record: object) -> None:
    """A killed process loses nothing, and no decision of a trial waits for the disk."""
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
