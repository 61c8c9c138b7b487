"""Studies: plans, the ledger, kill and repeat, failures, and what summaries say of known rows."""

import csv
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edarts import api as verbs
from edarts.cli.main import main
from edarts.config import DataConfig, SearchConfig, TrainConfig
from edarts.errors import EdartsError, Interrupted, UsageError
from edarts.runtime import Session
from edarts.space.darts import Space
from edarts.space.genotype import Edge, Genotype
from edarts.studies import base as studies
from edarts.studies.base import Recipe, Row
from edarts.studies.compare import Compare
from edarts.studies.depth import Depth
from edarts.studies.driver import read_ledger, study
from edarts.studies.operations import Operations
from edarts.studies.skips import SLIDES, Skips
from edarts.studies.topology import Topology, features, ranking

DATA = DataConfig("digits", limit=60)
TRAIN = TrainConfig(cells=2, channels=4, epochs=1, batch_size=16, valid_fraction=0.4)
SEARCH = SearchConfig(method="darts", cells=2, channels=4, epochs=1, batch_size=16)
RECIPE = Recipe(SearchConfig(method="darts"), TRAIN)
SMALL = [
    *("--limit", "60", "--train.cells", "2", "--train.channels", "4", "--train.epochs", "1"),
    *("--quiet", "--json"),
]


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The run folders that are trained, in order."""
    names: list[str] = []
    real = verbs.train_genotype

    def spy(genotype: Any, data: Any, config: Any, session: Session) -> dict[str, Any]:
        names.append(Path(str(session.out)).name)
        return real(genotype, data, config, session)

    monkeypatch.setattr(verbs, "train_genotype", spy)
    return names


@pytest.fixture(scope="module")
def _done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("done") / "study"
    topology(out)
    return out


@pytest.fixture
def done(_done: Path, tmp_path: Path) -> Path:
    """A finished study of three topologies, of one's own."""
    return shutil.copytree(_done, tmp_path / "done")


def topology(out: Path, **options: Any) -> dict[str, Any]:
    return study("topology", DATA, RECIPE, Session(out=out), topologies="0,1,7", **options)


def test_killed_and_repeated_does_nothing_twice(
    tmp_path: Path, trained: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = verbs.evaluate_run
    calls = 0

    def killed(*args: Any, **options: Any) -> dict[str, Any]:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise Interrupted("stopped")
        return real(*args, **options)

    monkeypatch.setattr(verbs, "evaluate_run", killed)
    with pytest.raises(Interrupted):
        topology(tmp_path)
    assert list(read_ledger(tmp_path)) == ["topology-000-seed-0"]
    result = topology(tmp_path)
    assert trained == [f"topology-00{i}-seed-0" for i in (0, 1, 1, 7)]
    trained.clear()
    again = topology(tmp_path)
    assert not trained
    assert again == result
    assert result["plan"] == {"runs": 3, "finished": 3, "seconds_left": 0.0}
    for row in result["rows"]:
        # an ordinary run folder, whose own evaluation gives the same
        assert (tmp_path / row["run"] / "config.yaml").exists()
        assert real(tmp_path / row["run"])["test_accuracy"] == row["test_accuracy"]
    with (tmp_path / "rows.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["topology"]) for row in rows] == [0, 1, 7]
    assert Genotype.from_dict(result["rows"][2]["genotype"]).edges("normal") == tuple(
        sorted(
            (Edge("sep_conv_3x3", *pair) for pair in Space.topologies()[7]),
            key=lambda edge: (edge.node, edge.source),
        )
    )


def test_a_torn_line_of_the_ledger_is_done_again(done: Path, trained: list[str]) -> None:
    ledger = done / "ledger.jsonl"
    ledger.write_bytes(ledger.read_bytes()[:-20])
    topology(done)
    assert trained == ["topology-007-seed-0"]
    assert len(read_ledger(done)) == 3


def test_failures_are_listed_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = verbs.train_genotype

    def fails(genotype: Any, data: Any, config: Any, session: Session) -> dict[str, Any]:
        if Path(str(session.out)).name.startswith("topology-001"):
            raise EdartsError("the loss became NaN or infinite")
        return real(genotype, data, config, session)

    with monkeypatch.context() as patch:
        patch.setattr(verbs, "train_genotype", fails)
        result = topology(tmp_path)
    (failed,) = result["failed"]
    assert (failed["name"], failed["reason"]) == (
        "topology-001-seed-0",
        "the loss became NaN or infinite",
    )
    assert len(result["rows"]) == 3
    assert any(t["title"] == "Runs that failed" for t in result["tables"])
    assert "became NaN or infinite" in (tmp_path / "report.html").read_text(encoding="utf-8")
    result = topology(tmp_path)
    assert not result["failed"]
    assert {row["status"] for row in result["rows"]} == {"done"}


def test_dry_run_does_the_first_run_alone(tmp_path: Path, trained: list[str]) -> None:
    result = topology(tmp_path, dry_run=True)
    assert trained == ["topology-000-seed-0"]
    (row,) = result["rows"]
    plan = result["plan"]
    assert (plan["runs"], plan["finished"]) == (3, 1)
    assert plan["seconds_left"] == pytest.approx(2 * row["seconds"], abs=0.2)
    topology(tmp_path, dry_run=True)
    assert len(trained) == 1


def test_other_options_are_refused_in_the_same_folder(done: Path) -> None:
    with pytest.raises(EdartsError, match="operation"):
        topology(done, operation="dil_conv_3x3")


def test_the_test_split_chooses_nothing() -> None:
    rows = [
        fake(f"{i}", topology=i, valid=valid, test=test)
        for i, valid, test in ((0, 0.7, 0.9), (1, 0.8, 0.5), (2, 0.75, 0.99))
    ]
    assert ranking(rows) == [1, 2, 0]


def fake(name: str, seed: int = 0, valid: float = 0.5, test: float = 0.5, **columns: Any) -> Row:
    cell = [("sep_conv_3x3", 0, 2), ("skip_connect", 1, 2)]
    return {
        "name": name,
        "seed": seed,
        "status": "done",
        "valid_accuracy": valid,
        "valid_images": 100,
        "test_accuracy": test,
        "test_images": 1000,
        "parameters": 1000,
        "flops": 10_000,
        "search_seconds": 10.0,
        "train_seconds": 5.0,
        "seconds": 15.0,
        "images_seen": 600,
        "search_peak_mib": 100.0,
        "normal_skips": 1,
        "reduce_skips": 1,
        "genotype": {"normal": cell, "reduce": cell},
        **columns,
    }


def named(rows: list[Row]) -> dict[str, Row]:
    return {row["name"]: row for row in rows}


def test_features_by_hand() -> None:
    wide = Space.topologies()[0]  # every node reads 0 and 1
    assert features(wide) == {"depth": 2, "width": 4.0, "readers": 4}
    chain = ((0, 2), (1, 2), (1, 3), (2, 3), (2, 4), (3, 4), (3, 5), (4, 5))
    assert features(chain) == {"depth": 5, "width": 1.5, "readers": 2}


def test_topology_finds_what_was_planted() -> None:
    """Accuracy that falls with depth, alike for two seeds."""
    question = Topology(replace(RECIPE, seeds=2, train=replace(TRAIN, epochs=3)))
    jobs = question.jobs({})
    assert len(jobs) == 360
    assert len({job.name for job in jobs}) == 360
    rows = named(
        [
            fake(job.name, job.seed, valid=0.9 - 0.05 * job.factors["depth"] + 0.001 * job.seed,
                 **job.factors)
            for job in jobs
        ]
    )  # fmt: skip
    summary = question.summary(rows)
    tables = {table.title: table for table in summary.tables}
    assert tables["Ranking by held-out training images"].rows[0][1] == 0
    shared = {row[0]: row[2] for row in summary.tables[1].rows}
    assert shared["depth"].value == pytest.approx(-1)
    assert any("Good topologies have less depth" in text for text in summary.sentences)
    assert any("differ by more than seeds do" in text for text in summary.sentences)
    agreement = {row[0]: row[2].value for row in tables["Agreement of rankings"].rows}
    assert agreement["seed 0, seed 1"] == pytest.approx(1)


def test_halving_trains_the_best_third_on(tmp_path: Path) -> None:
    question = Topology(
        replace(RECIPE, train=replace(TRAIN, epochs=9)), topologies="0-8", halving=True
    )
    assert question.rungs() == [1, 3, 9]
    rows: dict[str, Row] = {}
    for expected in (9, 12, 13):
        jobs = question.jobs(rows)
        assert len(jobs) == expected
        for job in jobs:
            # topology 4 is the best, 3 and 5 come next
            valid = 1 - abs(job.factors["topology"] - 4) / 10
            rows.setdefault(job.name, fake(job.name, valid=valid, **job.factors))
    assert {r["topology"] for r in rows.values() if r["epochs"] == 3} == {3, 4, 5}
    assert [r["topology"] for r in rows.values() if r["epochs"] == 9] == [4]
    assert [job.test for job in question.jobs(rows)] == [False] * 12 + [True]
    assert any("Successive halving: 1 topologies" in s for s in question.summary(rows).sentences)
    result = study(
        "topology", DATA, replace(RECIPE, train=replace(TRAIN, epochs=3)), Session(out=tmp_path),
        topologies="0-2", halving=True,
    )  # fmt: skip
    tested = ["test_accuracy" in row for row in result["rows"]]
    assert tested == [False] * 3 + [True]


def test_rankings_of_two_data_sets_are_compared(done: Path, tmp_path: Path) -> None:
    other = shutil.copytree(done, tmp_path / "other")
    result = topology(done, beside=str(other))
    (table,) = [t for t in result["tables"] if t["title"] == "Agreement of rankings"]
    assert table["rows"][-1][0] == f"this study, {other}"
    # the page drawn again from the files says the same
    assert main(["report", str(done), "--quiet"]) == 0
    assert f"{other}</td>" in (done / "report.html").read_text(encoding="utf-8")


def test_depth_varies_the_supernet_alone() -> None:
    question = Depth(replace(RECIPE, seeds=3), cells="8,5")
    jobs = question.jobs({})
    assert [(job.search.cells, job.seed) for job in jobs if job.search] == [
        (cells, seed) for seed in range(3) for cells in (5, 8)
    ]
    rows = named(
        [
            fake(job.name, job.seed, test=0.8 + 0.01 * job.seed + (0.05 + 0.001 * job.seed)
                 * (job.factors["search_cells"] == 8), **job.factors)
            for job in jobs
        ]
    )  # fmt: skip
    (sentence, _) = question.summary(rows).sentences
    assert sentence.startswith("8 cells minus 5 cells: +5.10 points")
    assert "better" in sentence
    with pytest.raises(UsageError, match=r"leave out --search\.cells"):
        Depth(Recipe(SEARCH, TRAIN))


def test_operations_sees_a_planted_effect() -> None:
    """Each separable 3x3 edge adds a point, each dilated 5x5 one takes one."""
    question = Operations(replace(RECIPE, seeds=3))
    assert question.names() == [f"SS{n}" for n in range(1, 9)]
    rows = {}
    gains = {"sep_conv_3x3": 0.01, "dil_conv_5x5": -0.01}
    for place, job in enumerate(question.jobs({})):
        space = Space.parse(job.factors["subset"])
        operations = space.operations
        pick = [operations[(place + i * i) % len(operations)] for i in range(8)]
        cell = [(op, j, 2 + i // 2) for i, (op, j) in enumerate(zip(pick, [0, 1] * 4, strict=True))]
        gain = sum(2 * gains.get(name, 0.0) for name in pick) + 1e-4 * (place % 3)
        rows[job.name] = fake(
            job.name, job.seed, test=0.6 + gain, genotype={"normal": cell, "reduce": cell},
            **job.factors,
        )  # fmt: skip
    summary = question.summary(rows)
    effects = {row[0]: row[1] for row in summary.tables[3].rows}
    assert effects["sep_conv_3x3"].value == pytest.approx(0.01, abs=1e-3)
    assert effects["dil_conv_5x5"].value == pytest.approx(-0.01, abs=1e-3)
    assert abs(effects["max_pool_3x3"].value) < 1e-3
    chosen = {row[0]: row[1] / row[2] for row in summary.tables[1].rows}
    assert sum(row[1] for row in summary.tables[1].rows) == 24 * 16
    assert all(0 <= share <= 1 for share in chosen.values())
    with pytest.raises(UsageError, match="SS9"):
        Operations(RECIPE, subsets="SS9")


def test_skips_has_the_slides_four_rows() -> None:
    question = Skips(RECIPE, subset=0.25)
    jobs = question.jobs({})
    assert len(jobs) == 16
    searches = {str(job.factors["row"]): job.search for job in jobs}
    assert list(searches) == list(SLIDES)
    settings = [(s.data_fraction, s.arch_update) for s in searches.values() if s is not None]
    assert settings == [(1.0, "step"), (0.25, "step"), (1.0, "epoch"), (0.25, "epoch")]
    given = Recipe(SearchConfig(method="darts", arch_lr=0.02), TRAIN)
    rates = {job.factors["row"]: job.search.arch_lr for job in Skips(given).jobs({}) if job.search}
    assert list(rates.values()) == [0.02, 0.02, None, None]
    rows = named(
        [
            fake(job.name, job.seed, **job.factors,
                 normal_skips=4 - job.seed % 2 - 2 * (job.factors["row"] == "+ both"),
                 search_seconds=10.0 if job.factors["row"] == "DARTS" else 2.0)
            for job in jobs
        ]
    )  # fmt: skip
    by_row = {row[0]: row for row in question.summary(rows).tables[0].rows}
    assert by_row["DARTS"][2] == 14
    assert by_row["+ both"][2] == 6
    assert by_row["+ both"][9] == pytest.approx(5.0)


def test_compare_gives_random_cells_the_cost_of_the_search() -> None:
    question = Compare(
        replace(RECIPE, seeds=2), methods="edarts,darts", zoo="darts.v2,densenet_bc.l100_k12"
    )
    jobs = question.jobs({})
    assert [job.name for job in jobs if job.seed == 0] == [
        f"{name}-seed-0" for name in ("edarts", "darts", "darts.v2", "densenet_bc.l100_k12")
    ]
    rows = {
        job.name: fake(job.name, job.seed, test=0.8, search_seconds=14.0, **job.factors)
        for job in jobs
    }
    more = [job for job in question.jobs(rows) if job.name not in rows]
    assert len(more) == 2 * 2 * 4  # methods, seeds, 1 + round(14 / 5)
    space = Space.parse("sep_conv_3x3,dil_conv_3x3,skip_connect,max_pool_3x3", "1")
    mine = [job for job in more if job.genotype in space]
    assert len(mine) == 8
    for place, job in enumerate(more):
        # the best on held-out images is not the best on the test split
        n = job.factors["draw"]
        rows[job.name] = fake(
            job.name, job.seed, valid=0.5 + n / 10, test=0.7 - n / 100 + place / 1e4, **job.factors
        )
    assert question.jobs(rows) == [*jobs, *more]
    for group in question.baselines(rows).values():
        assert [row["draw"] for row in group] == [3, 3]
        assert [row["cells_drawn"] for row in group] == [4, 4]
    summary = question.summary(rows)
    measured = {row[0]: row for row in summary.tables[0].rows}
    assert measured["random cells (edarts)"][2].value == pytest.approx(1 - 0.67, abs=0.01)
    assert [row[:2] for row in summary.tables[1].rows[:2]] == [
        (m, f"random cells ({m}'s space and cost)") for m in ("edarts", "darts")
    ]
    published = {row[0]: row[1] for row in summary.tables[2].rows}
    assert published == {
        "edarts": 2.53,
        "darts": 3.0,
        "darts.v2": 2.76,
        "densenet_bc.l100_k12": published["densenet_bc.l100_k12"],
    }


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["study", "topology", "--cells", "5"], "takes no --cells"),
        (["study", "topology", "--topologies", "180"], "indices such as"),
        (["study", "topology", "--search.epochs", "3"], "searches nothing"),
        (["study", "topology", "--operation", "sep_conv"], "sep_conv_3x3"),
        (["study", "topology", "--train.valid-fraction", "0"], "valid-fraction"),
        (["study", "depth", "--cells", "5,x"], "give depths"),
        (["study", "depth", "--search.method", "dart"], "darts"),
        (["study", "skips", "--search.arch-update", "epoch"], "varies it"),
        (["study", "skips", "--subset", "1.5"], "between 0 and 1"),
        (["study", "operations", "--search.attention", "none"], "varies them"),
        (["study", "nothing"], "kind"),
        (["study", "skips", "--seeds", "0"], "at least 1"),
        (["compare", "--methods", "dart"], "darts"),
        (["compare", "--zoo", "darts.v3"], "darts.v2"),
        (["compare", "--search.zero-one", "1"], "none of the methods"),
        (["report", "nowhere"], "nowhere"),
    ],
)
def test_wrong_options_are_one_line(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = [] if argv[0] == "report" else ["--out", str(tmp_path / "study")]
    assert main([*argv, *out]) in (1, 2)
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert message in lines[0]
    assert not (tmp_path / "study").exists()


def test_command_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = ["--out", str(tmp_path / "study"), *SMALL]
    search = ["--search.cells", "2", "--search.channels", "4", "--search.epochs", "1"]
    assert main(["study", "depth", *out, "--cells", "2", "--seeds", "1", *search[2:]]) == 0
    result = json.loads(capsys.readouterr().out)
    assert {row["search_cells"] for row in result["rows"]} == {2}
    assert result["run"] == str(tmp_path / "study")
    out[1] = str(tmp_path / "compare")
    options = ["--methods", "edarts", "--zoo", "darts.v1", "--seeds", "1", "--random-cells", "1"]
    assert main(["compare", *out, *options, *search]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["kind"] for row in rows] == ["method", "zoo", "random"]
    assert all(row["search_peak_mib"] > 100 for row in rows if row["kind"] == "method")
    assert (tmp_path / "compare" / "error.png").read_bytes()[:4] == b"\x89PNG"


def test_each_study_has_its_name() -> None:
    assert studies.names() == ["compare", "depth", "operations", "skips", "topology"]
    for name in studies.names():
        assert studies.load(name).__name__.lower() == name
