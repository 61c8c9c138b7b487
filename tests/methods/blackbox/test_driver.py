"""What a search refuses, and that the ledger of a run is continued or refused, never begun anew."""

import contextlib
import json
import random
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import yaml

from edarts import DartsSpace, SearchConfig, UsageError
from methods.blackbox.planted import planted
from support import fails, run

SPACE = DartsSpace.parse("skip_connect,sep_conv_3x3", "01 01")
SEARCH = ["search", "digits", "--limit", "60", "--method", "random_search", "--topology", "01 01"]
SEARCH += ["--operations", ",".join(SPACE.operations), "--device", "cpu", "--json", "--quiet"]


@pytest.fixture
def argv(tmp_path: Path) -> list[str]:
    """A search by the scores of a table, which has all 256 genotypes of the space."""
    drawn = {SPACE.sample(random.Random(i)) for i in range(3000)}
    assert len(drawn) == SPACE.size() == 256
    rows = [{"genotype": g.to_dict(), "accuracy": planted(g)} for g in drawn]
    (tmp_path / "table.json").write_text(json.dumps(rows), encoding="utf-8")
    return [*SEARCH, "--score", f"table:{tmp_path}/table.json"]


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(text) for text in (out / "metrics.jsonl").read_text().splitlines()]


def rename(out: Path, name: str) -> None:
    """Call the studies of a run's ledger as an expression of SQL says."""
    with contextlib.closing(sqlite3.connect(out / "ledger.db")) as ledger, ledger:
        ledger.execute(f"UPDATE studies SET study_name = {name}")


def age(out: Path) -> None:
    """Make a run folder what version 0.1 would have left."""
    config = yaml.safe_load((out / "config.yaml").read_text())
    assert config.pop("space") == "darts"
    others = ("order", "label_column", "partial", "attention", "clip", "population", "arch_lr")
    unset = dict.fromkeys(others)  # it wrote every option, those of other methods too
    (out / "config.yaml").write_text(yaml.safe_dump(unset | config, sort_keys=False))
    old = [{"epoch" if k == "trial" else k: v for k, v in text.items()} for text in lines(out)]
    (out / "metrics.jsonl").write_text("".join(json.dumps(text) + "\n" for text in old))
    rename(out, "'random_search-b2be3f14'")


def test_a_run_of_version_0_1_is_continued(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, argv: list[str]
) -> None:
    whole, old = tmp_path / "whole", tmp_path / "old"
    run(capsys, *argv, "--trials", "6", "--out", str(old))
    age(old)
    more = run(capsys, *argv, "--trials", "9", "--out", str(old))
    assert more["study"] == "random_search-b2be3f14"
    assert sum(more["trials"].values()) == 9
    run(capsys, *argv, "--trials", "9", "--out", str(whole))
    parts = ("trial", "state", "score", "scored", "genotype")
    continued, straight = ([[x[k] for k in parts] for x in lines(out)] for out in (old, whole))
    assert continued == straight


def test_another_ledger_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, argv: list[str]
) -> None:
    out, shared = tmp_path / "r", f"sqlite:///{tmp_path}/shared.db"
    argv = [*argv, "--trials", "3", "--out", str(out)]
    run(capsys, *argv, "--storage", shared)
    before = lines(out)
    for other in ([], ["--storage", f"sqlite:///{tmp_path}/other.db"]):
        error = fails(capsys, 1, *argv, *other)
        assert "its trials are not in the ledger that is given now" in error
        assert "give the --storage that it was begun with" in error
        assert lines(out) == before
    assert run(capsys, *argv, "--storage", shared)["trials"]["failed"] == 0


def test_of_several_studies_none_is_taken_for_the_run_s(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, argv: list[str]
) -> None:
    out = tmp_path / "r"
    mine = f"sqlite:///{out}/ledger.db"
    name = run(capsys, *argv, "--trials", "2", "--out", str(out))["study"]
    others = ["--trials", "2", "--storage", mine, "--out", str(tmp_path / "others")]
    assert run(capsys, *argv, "--split-seed", "1", *others)["study"] != name
    again = run(capsys, *argv, "--trials", "3", "--out", str(out))
    assert again["study"] == name and len(lines(out)) == 3
    rename(out, "'old-' || study_id")
    error = fails(capsys, 1, *argv, "--trials", "4", "--out", str(out))
    assert f"holds 2 studies (old-1, old-2), none of which is this run's, {name}" in error


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--method", "darts", "--workers", "2"], "one-shot method cannot use --workers"),
        (["--method", "random_search", "--score", "tabel"], "unknown score 'tabel'"),
        (["--method", "random_search", "--score", "table"], "takes a JSON file after it"),
        (["--method", "optuna:TPESamplr"], "did you mean optuna:TPESampler"),
        (["--method", "optuna:GridSampler"], "cannot be made by its name alone"),
        (["--method", "random_serch"], "did you mean random_search"),
        (["--method", "random_search", "--trials", "0"], "trials must be at least 1"),
    ],
)
def test_refusals(capsys: pytest.CaptureFixture[str], options: list[str], words: str) -> None:
    assert words in fails(capsys, 2, "search", "digits", "--limit", "60", *options)


@pytest.mark.parametrize(
    ("method", "options", "words"),
    [
        ("random_search", {"order": 2}, "random_search takes no --order .methods that do: darts"),
        ("pnas", {"topology": "0"}, "pnas takes no --topology: its cells grow by blocks"),
        ("darts", {"trials": 3}, "darts takes no --trials .samplers that do"),
    ],
)
def test_options_of_others(method: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        SearchConfig.of(method, **options)


def test_a_database_that_is_not_there(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    line = fails(
        capsys,
        1,
        *SEARCH,
        "--epochs",
        "1",
        "--storage",
        "postgresql+psycopg://nobody@127.0.0.1:1/x",
        "--out",
        str(tmp_path / "r"),
    )
    assert "--storage postgresql" in line
