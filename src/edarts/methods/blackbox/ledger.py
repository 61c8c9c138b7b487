"""The ledger of a search is an Optuna study: what samplers read of it, and how it is opened."""

import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.exceptions import OptunaError
from optuna.samplers import BaseSampler
from optuna.study import Study, StudyDirection
from optuna.trial import BaseTrial, FrozenTrial, TrialState
from sqlalchemy import event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from edarts.errors import EdartsError, masked, one_line
from edarts.space.base import Architecture, SearchSpace

OPENING = 30.0  # seconds in which other processes may be making the same database


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


@contextmanager
def ledger_errors(url: str, *, alone: bool = False) -> Iterator[None]:
    """What goes wrong with the database at `url` in the block becomes an EdartsError, one line.

    `alone`: the database is a run's own file, which nobody has named. No password is told.
    """
    try:
        yield
    except (OptunaError, SQLAlchemyError, sqlite3.Error) as error:
        raise EdartsError(_explained(error, url, alone)) from None


def _explained(error: Exception, url: str, alone: bool) -> str:
    """What is wrong with the ledger, and what to do."""
    reason = _reason(error)
    where = str(make_url(url).database) if alone else f"--storage {masked(url)}"
    if "disk is full" in reason:
        return f"{where}: no space left on the disk; free some and repeat the command, it resumes"
    if not alone:
        return f"{where}: cannot be used: {reason}"
    return (
        f"{where}: the ledger cannot be used: {reason}; if it is damaged, put back a copy of it, or"
        " give another --out to begin anew"
    )


def _reason(error: BaseException) -> str:
    """The first error of a chain, on one line: Optuna wraps SQLAlchemy's, and that its driver's."""
    while (inner := getattr(error, "orig", None) or error.__cause__) is not None:
        error = inner
    return masked(one_line(error)[:200])


def open_study(url: str, name: str, sampler: BaseSampler, *, alone: bool = False) -> Study:
    """The study `name` at a database's URL, made if it is not there; it maximises.

    `alone`: the database is a run's own, so that the one study in it is that run's, whatever its
    name: other versions name it otherwise. Raises EdartsError that names the database if there is
    none, or if it is said to be alone and holds several others.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    patience = time.monotonic() + OPENING
    while True:
        try:
            return _open(url, name, sampler, alone)
        except EdartsError:
            raise
        except Exception as error:  # SQLAlchemy, its drivers and Optuna each raise their own
            if time.monotonic() > patience or not _is_race(error):
                raise EdartsError(_explained(error, url, alone)) from None
        time.sleep(random.uniform(0.05, 0.5))


def _open(url: str, name: str, sampler: BaseSampler, alone: bool) -> Study:
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


def _is_race(error: Exception) -> bool:
    """Whether another process is making the tables of the same database now."""
    texts = ("already exists", "is locked", "deadlock")
    return isinstance(error, IntegrityError) or any(text in _reason(error) for text in texts)


def _own(url: str, name: str, known: list[str]) -> str:
    """Which study of its database is a run's: that with the name, else the only one."""
    if name in known or not known:
        return name
    if len(known) > 1:
        raise EdartsError(
            f"{masked(url)}: holds {len(known)} studies ({', '.join(sorted(known))}), none of which"
            f" is this run's, {name}; give another --out"
        )
    return known[0]


def _write_ahead(connection: Any, record: object) -> None:
    """A killed process loses nothing, and no decision of a trial waits for the disk."""
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
