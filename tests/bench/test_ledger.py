"""`edarts bench ledger`: ledgers made in bulk are those that Optuna would have written."""

import random
from pathlib import Path

import optuna
import pytest

from edarts.bench import ledger
from edarts.bench.trials import attributes, store, trials
from edarts.methods.blackbox import regularized_evolution
from edarts.methods.blackbox.ledger import open_study
from edarts.runs.progress import Progress
from edarts.space.blocks import BlockSpace
from edarts.space.darts import DartsSpace

EVOLUTION = regularized_evolution.PLUGIN
FIELDS = ("number", "state", "params", "distributions", "values", "user_attrs")


def test_stored_as_optuna_does(tmp_path: Path) -> None:
    space = DartsSpace()
    made = trials(space, random.Random(0), 5)
    plain = optuna.create_study(
        storage=f"sqlite:///{tmp_path}/plain.db", study_name="x", direction="maximize"
    )
    plain.add_trials(made)
    bulk = f"sqlite:///{tmp_path}/bulk.db"
    open_study(bulk, "x", EVOLUTION(space))
    store(bulk, made)
    found = open_study(bulk, "x", EVOLUTION(space)).get_trials()
    for ours, theirs in zip(found, plain.get_trials(), strict=True):
        for field in (*FIELDS, "datetime_start", "datetime_complete"):
            assert getattr(ours, field) == getattr(theirs, field), field
    assert found[0].user_attrs == attributes(space.decode(found[0].params))


def test_blocks_grow_level_by_level() -> None:
    blocks = BlockSpace(("skip_connect", "sep_conv_3x3"), blocks=3)
    made = trials(blocks, random.Random(0), 20, beam=2)
    assert [trial.params["blocks"] for trial in made] == [1] * 10 + [2] * 2 + [3] * 8


def test_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "GENOTYPES", 10)
    monkeypatch.setattr(ledger, "TRIALS", 20)
    # The levels of pnas need thousands of trials.
    monkeypatch.setattr(ledger, "BlockSpace", lambda operations: DartsSpace())
    monkeypatch.setattr(ledger.registry, "get", lambda group, name: EVOLUTION)
    report = ledger.bench_ledger(2, Progress())
    names = [row.what for row in report.rows]
    assert names[:2] == ["sample 10 genotypes", "mutate 10 genotypes"]
    assert "first ask, pnas, SQLite" in names
    assert names.count("driver, one trial, SQLite") == 1
    assert len(names) == 5 + 5 * 6 + 1
    assert all(row.seconds >= 0 for row in report.rows)
