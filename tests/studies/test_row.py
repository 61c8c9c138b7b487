"""Rows: the ledgers of before can be read, and are written back to the letter."""

import csv
import io
import json
import re
from pathlib import Path

import pytest

from edarts.nn.whole import Whole
from edarts.space import zoo
from edarts.space.genotype import Genotype
from edarts.studies.ledger import LEDGER, append, read_ledger, to_csv
from edarts.studies.row import Row
from studies.fakes import fake, named

RECORDED = sorted((Path(__file__).parents[2] / "results").glob(f"*/{LEDGER}"))


def test_there_are_recorded_ledgers() -> None:
    assert len(RECORDED) >= 8


@pytest.mark.parametrize("ledger", RECORDED, ids=lambda path: path.parent.name)
def test_a_recorded_ledger_is_read_and_written_to_the_letter(ledger: Path, tmp_path: Path) -> None:
    rows = read_ledger(ledger.parent)
    lines = ledger.read_text(encoding="utf-8").splitlines()
    last = {json.loads(line)["name"]: line for line in lines}
    for row in rows.values():
        append(tmp_path, row)
        assert row.status == "done" and row.folder == ledger.parent
    written = (tmp_path / LEDGER).read_text(encoding="utf-8").splitlines()
    assert [re.sub(r', "sha256": "[0-9a-f]{64}"', "", line) for line in written] == [*last.values()]
    assert read_ledger(tmp_path) == rows


def test_a_recorded_row_is_typed() -> None:
    (compare,) = [path for path in RECORDED if path.parent.name == "compare-cifar10"]
    row = read_ledger(compare.parent)["edarts-seed-0"]
    assert row.factors == {"kind": "method", "architecture": "edarts"}
    assert (row.search_seconds, row.images_seen, row.parameters) == (14.86, 2000, 71234)
    assert isinstance(row.genotype, Genotype)
    assert row.genotype.count("normal", "skip_connect") == row.normal_skips == 2
    assert row.skips == 2


def test_a_failed_row_and_a_whole_network() -> None:
    failed = Row("a", {"topology": 3}, 1, "failed", "no disk")
    assert list(failed.to_dict().items()) == [
        ("name", "a"),
        ("topology", 3),
        ("seed", 1),
        ("status", "failed"),
        ("reason", "no disk"),
    ]
    assert Row.from_dict(failed.to_dict()) == failed
    network = zoo.get("densenet_bc.l100_k12").architecture
    assert isinstance(network, Whole)
    row = Row("b", genotype=network, train_seconds=1.0)
    assert row.skips is None
    again = Row.from_dict(json.loads(json.dumps(row.to_dict())))
    assert again == row and again.genotype == network


def test_a_peak_that_the_system_does_not_tell_is_null_beside_its_phase_alone() -> None:
    trained = Row("a", train_seconds=1.0).to_dict()
    assert trained["train_peak_mib"] is None
    assert "search_peak_mib" not in trained
    searched = Row("a", search_seconds=1.0, search_peak_mib=5.5).to_dict()
    assert searched["search_peak_mib"] == 5.5
    assert "train_peak_mib" not in searched


def test_values_by_name() -> None:
    row = fake("a", topology=7, test=0.25)
    assert (row.get("topology"), row.get("test_accuracy"), row.get("skips")) == (7, 0.25, 2)
    assert row.get("draw") is None
    assert Row.UNITS["test_low"] == "share" and "parameters" not in Row.UNITS
    assert set(Row.UNITS) <= set(vars(row))


def test_csv_has_every_column_and_short_cells() -> None:
    rows = named([fake("a", topology=1), Row("b", {"draw": 2}, 1, "failed", "x, y")])
    first, second = csv.DictReader(io.StringIO(to_csv(rows)))
    assert first["genotype"] == str(rows["a"].genotype)
    assert (first["topology"], first["draw"]) == ("1", "")
    assert (second["reason"], second["draw"], second["genotype"]) == ("x, y", "2", "")
