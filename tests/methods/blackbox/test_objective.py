"""Scores: trained, inherited, from a table; and what of it is refused."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from edarts import DartsSpace, Dataset, Genotype, Supernet
from edarts.data.batches import Transform
from edarts.methods.blackbox.objective import Inherited, read_table
from methods.blackbox.planted import planted
from support import fails, run

SMALL = ["--limit", "60", "--quiet", "--json"]
NETWORK = ["--epochs", "1", "--cells", "2", "--channels", "4"]
OPERATIONS = ["--operations", "skip_connect,max_pool_3x3,sep_conv_3x3", "--topology", "0"]
RANDOM = ["search", "digits", *SMALL, "--method", "random_search", *OPERATIONS]


def ledger(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def test_trained_and_continued(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "r"
    first = run(capsys, *RANDOM, *NETWORK, "--trials", "2", "--out", str(out))
    assert first["trials"] == {"scored": 2, "known": 0, "failed": 0}
    lines = ledger(out)
    assert [line["trial"] for line in lines] == [0, 1]
    assert first["score"] == max(line["score"] for line in lines)
    assert run(capsys, *RANDOM, *NETWORK, "--trials", "2", "--out", str(out)) == first
    more = run(capsys, *RANDOM, *NETWORK, "--trials", "3", "--out", str(out))
    assert more["trials"]["scored"] == 3 and ledger(out)[:2] == lines
    again = fails(capsys, 1, *RANDOM, *NETWORK, "--trials", "3", "--seed", "1", "--out", str(out))
    assert "seed: 0 in the run, 1 now" in again


def test_inherited(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    net = str(tmp_path / "net")
    shot = ["search", "digits", *SMALL, *NETWORK, *OPERATIONS, "--method", "darts"]
    run(capsys, *shot, "--batch-size", "16", "--out", net)
    judged = [*RANDOM, "--trials", "4", "--score", f"supernet:{net}"]
    first = run(capsys, *judged, "--out", str(tmp_path / "a"))
    assert 0 <= first["score"] <= 1
    assert run(capsys, *judged, "--out", str(tmp_path / "b"))["score"] == first["score"]
    settings = tmp_path / "net" / "config.yaml"
    lines = settings.read_text(encoding="utf-8").splitlines(keepends=True)
    fewer = [line for line in lines if not line.startswith("channel_fraction")]
    assert len(fewer) == len(lines) - 1
    settings.write_text("".join(fewer), encoding="utf-8")  # of a version that had not the option
    (tmp_path / "net" / "digests.json").unlink()
    assert run(capsys, *judged, "--out", str(tmp_path / "d"))["score"] == first["score"]
    line = fails(capsys, 2, *judged, "--limit", "50", "--out", str(tmp_path / "c"))
    assert "limit is 60 there, 50 now" in line
    line = fails(capsys, 2, *judged, "--epochs", "3")
    assert line.endswith("--epochs trains networks: it needs --score train")


def test_an_inherited_score_is_a_function_of_the_genotype() -> None:
    """The score depends on the genotype, and not on the seed or on what was scored before."""
    torch.manual_seed(0)
    space = DartsSpace.parse("skip_connect,sep_conv_3x3", "0")
    pixels = torch.randint(256, (48, 8, 8, 1), dtype=torch.uint8)
    data = Dataset(pixels, torch.arange(48) % 3, ("0", "1", "2"), "noise")
    net = Supernet(space, cells=3, channels=4, classes=3, image=data.shape)
    judge = Inherited(net, space, data, Transform.of(data), 16, "cpu")
    scores = {judge(space.sample(random.Random(i)), 0) for i in range(6)}
    assert len(scores) > 1  # it depends on the genotype
    genotype = space.sample(random.Random(0))
    assert judge(genotype, 0) == judge(genotype, 1)


def table(path: Path, entries: list[Any]) -> str:
    path.write_text(json.dumps(entries), encoding="utf-8")
    return str(path)


def test_table_finds_its_best(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    space = DartsSpace.parse("skip_connect,sep_conv_3x3", "01 01")
    some = [space.sample(random.Random(i)) for i in range(3000)]
    distinct = sorted({g.digest(): g for g in some}.values(), key=str)
    assert len(set(some)) == space.size() == 256
    assert len(distinct) == 100  # the two nodes of a cell may change places: 10 x 10
    rows = [
        {"genotype": g.to_dict(), "accuracy": planted(g) - i / 1000} for i, g in enumerate(distinct)
    ]
    file = table(tmp_path / "t.json", rows)
    argv = ["search", "digits", *SMALL, "--operations", "skip_connect,sep_conv_3x3"]
    argv += ["--topology", "01 01", "--method", "random_search", "--trials", "60"]
    out = tmp_path / "r"
    found = run(capsys, *argv, "--score", f"table:{file}", "--out", str(out))
    lines = ledger(out)
    assert found["score"] == max(line["score"] for line in lines)
    seen = {Genotype.from_dict(line["genotype"]).digest() for line in lines}
    assert found["trials"] == {"scored": len(seen), "known": 60 - len(seen), "failed": 0}


def test_tables_are_checked(tmp_path: Path) -> None:
    genotype = DartsSpace().sample(random.Random(0)).to_dict()
    row = {"genotype": genotype, "accuracy": 0.5}
    for entries, words in (
        ([], "expected a list"),
        ([{"accuracy": 1}], "entry 0"),
        ([{"genotype": genotype, "accuracy": "x"}], "must be a number"),
        ([row, row | {"accuracy": 0.6}], "entry 1: the same genotype"),
        ([row | {"genotype": {"normal": []}}], "entry 0"),
    ):
        with pytest.raises(Exception, match=words):
            read_table(Path(table(tmp_path / "t.json", entries)))
    assert (
        read_table(Path(table(tmp_path / "t.json", [row])))(Genotype.from_dict(genotype), 0) == 0.5
    )
