"""Ledgers of many finished trials, made at once: what `edarts bench ledger` asks samplers on."""

import json
import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from optuna.distributions import distribution_to_json
from optuna.trial import FrozenTrial, create_trial
from sqlalchemy import MetaData, create_engine, insert, select

from edarts.methods.blackbox.driver import DIGEST, GENOTYPE, SCORED
from edarts.methods.blackbox.ledger import distributions
from edarts.methods.blackbox.pnas import PNAS
from edarts.space.base import Architecture, Decisions, SearchSpace
from edarts.space.blocks import BlockSpace


def attributes(found: Architecture) -> dict[str, Any]:
    """What the driver of black-box searches notes of a trial that it has scored."""
    return {DIGEST: found.digest(), GENOTYPE: found.to_json(), SCORED: True}


def trials(
    space: SearchSpace, draw: random.Random, count: int, beam: int | None = None
) -> list[FrozenTrial]:
    """As of a search that has tried `count` random architectures, one after the other.

    `beam`: cells of each level of a `BlockSpace`; None: as many as pnas tries.
    """
    known, start = distributions(space), datetime.now() - timedelta(seconds=count)
    beam = PNAS.Options().beam if beam is None else beam
    found = []
    for number, decisions in enumerate(_decisions(space, draw, count, beam)):
        trial = create_trial(
            params=dict(decisions),
            distributions=known,
            value=draw.random(),
            user_attrs=attributes(space.decode(decisions)),
        )
        trial.datetime_start = start + timedelta(seconds=number)
        trial.datetime_complete = trial.datetime_start + timedelta(milliseconds=999)
        found.append(trial)
    return found


def _decisions(
    space: SearchSpace, draw: random.Random, count: int, beam: int
) -> Sequence[Decisions]:
    """Drawn from the space; of a `BlockSpace` level by level."""
    if not isinstance(space, BlockSpace):
        return [space.sample_decisions(draw) for _ in range(count)]
    level, cells = list(space.widened(())), []
    for _ in range(1, space.blocks):
        cells += level
        wider = [cell for parent in level for cell in space.widened(parent)]
        level = draw.sample(wider, beam)
    cells += draw.sample(wider, count - len(cells))
    return [space.decisions_of(cell) for cell in cells]


def store(url: str, finished: Sequence[FrozenTrial]) -> None:
    """Write trials to the database at `url`, which holds one Optuna study and no trial.

    The same as `study.add_trials`, which writes row by row and takes most of an hour for 20,000.
    """
    engine, schema = create_engine(url), MetaData()
    schema.reflect(bind=engine)
    with engine.begin() as connection:
        (study_id,) = connection.execute(select(schema.tables["studies"].c.study_id)).one()
        for table, rows in _rows(finished, study_id).items():
            connection.execute(insert(schema.tables[table]), rows)
    engine.dispose()


def _rows(finished: Sequence[FrozenTrial], study_id: int) -> Mapping[str, list[dict[str, Any]]]:
    """Rows of each table, as Optuna writes them. Identifiers of trials begin at 1."""
    kinds = {name: distribution_to_json(k) for name, k in finished[0].distributions.items()}
    numbered = list(enumerate(finished, start=1))
    return {
        "trials": [
            {
                "trial_id": identifier,
                "number": identifier - 1,
                "study_id": study_id,
                "state": trial.state.name,
                "datetime_start": _utc(trial.datetime_start),
                "datetime_complete": _utc(trial.datetime_complete),
            }
            for identifier, trial in numbered
        ],
        "trial_params": [
            {
                "trial_id": identifier,
                "param_name": name,
                "param_value": trial.distributions[name].to_internal_repr(value),
                "distribution_json": kinds[name],
            }
            for identifier, trial in numbered
            for name, value in trial.params.items()
        ],
        "trial_values": [
            {
                "trial_id": identifier,
                "objective": 0,
                "value": trial.value,
                "value_type": "FINITE",
            }
            for identifier, trial in numbered
        ],
        "trial_user_attributes": [
            {"trial_id": identifier, "key": key, "value_json": json.dumps(value)}
            for identifier, trial in numbered
            for key, value in trial.user_attrs.items()
        ],
    }


def _utc(moment: datetime | None) -> datetime | None:
    """Optuna keeps local times in UTC."""
    return None if moment is None else moment.astimezone(UTC).replace(tzinfo=None)
