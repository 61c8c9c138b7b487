"""The driver of the studies: plans, the ledger, kill and repeat, failures, the verbs' part."""

import csv
import json
import pickle
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from numba.core.dispatcher import Dispatcher

from edarts import api, registry
from edarts.cli.main import main
from edarts.config import SearchConfig
from edarts.data import decoding, open_data, opened
from edarts.errors import EdartsError, Interrupted, UsageError
from edarts.runtime import Session
from edarts.space.darts import DartsSpace
from edarts.space.genotype import Edge, Genotype
from edarts.studies import driver
from edarts.studies.base import FREE, Recipe
from edarts.studies.compare import CompareOptions, CompareStudy
from edarts.studies.driver import StudyReport
from edarts.studies.ledger import read_ledger
from edarts.studies.operations import OperationsOptions
from edarts.studies.plan import Plan
from edarts.studies.topology import TopologyOptions
from studies.fakes import CELLS, DATA, RECIPE, TRAIN, recording, study
from studies.stepped import Stepped

SMALL = [
    *("--limit", "60", "--train.cells", "2", "--train.channels", "4", "--train.epochs", "1"),
    *("--quiet", "--json"),
]


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The run folders that are trained, in order."""
    names: list[str] = []
    real = api.train

    def spy(genotype: Any, data: Any, config: Any, session: Any) -> dict[str, Any]:
        names.append(Path(str(session.out)).name)
        return real(genotype, data, config, session)

    monkeypatch.setattr(api, "train", spy)
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


def topology(out: Path, **options: Any) -> StudyReport:
    return study("topology", DATA, RECIPE, Session(out=out), topologies="0,1,7", **options)


def test_killed_and_repeated_does_nothing_twice(
    tmp_path: Path, trained: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = api.evaluate
    calls = 0

    def killed(*args: Any, **options: Any) -> dict[str, Any]:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise Interrupted("stopped")
        return real(*args, **options)

    monkeypatch.setattr(api, "evaluate", killed)
    with pytest.raises(Interrupted):
        topology(tmp_path)
    assert list(read_ledger(tmp_path)) == ["topology-000-seed-0"]
    result = topology(tmp_path)
    assert trained == [f"topology-00{i}-seed-0" for i in (0, 1, 1, 7)]
    trained.clear()
    again = topology(tmp_path)
    assert not trained
    assert again == result
    assert again.to_dict() == result.to_dict()
    assert result.plan == Plan(3, 3, 0.0)
    for row in result.rows:
        # an ordinary run folder, whose own evaluation gives the same
        assert row.run is not None
        assert (tmp_path / row.run / "config.yaml").exists()
        assert real(tmp_path / row.run).test_accuracy == row.test_accuracy
    with (tmp_path / "rows.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["topology"]) for row in rows] == [0, 1, 7]
    last = result.rows[2].genotype
    assert isinstance(last, Genotype)
    assert last.edges("normal") == tuple(
        sorted(
            (Edge("sep_conv_3x3", *pair) for pair in DartsSpace.topologies()[7]),
            key=lambda edge: (edge.node, edge.source),
        )
    )


def test_the_report_as_json(done: Path) -> None:
    report = topology(done)
    result = json.loads(json.dumps(report.to_dict()))
    assert list(result) == ["rows", "failed", "sentences", "tables", "run", "plan"]
    lines = (done / "ledger.jsonl").read_text(encoding="utf-8").splitlines()
    written = [json.loads(line) for line in lines]
    assert all(row.pop("sha256") for row in written)
    assert result["rows"] == written
    assert result["plan"] == {"runs": 3, "finished": 3, "seconds_left": 0.0}
    assert result["run"] == str(done)
    for table in result["tables"]:
        assert list(table) == ["title", "columns", "units", "rows", "note"]
        assert len(table["units"]) == len(table["columns"])
    kept = json.loads((done / "study.json").read_text(encoding="utf-8"))
    assert kept == {key: result[key] for key in ("failed", "sentences", "tables")}


def test_a_torn_line_of_the_ledger_is_done_again(done: Path, trained: list[str]) -> None:
    ledger = done / "ledger.jsonl"
    ledger.write_bytes(ledger.read_bytes()[:-20])
    topology(done)
    assert trained == ["topology-007-seed-0"]
    assert len(read_ledger(done)) == 3


def test_failures_are_listed_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = api.train

    def fails(genotype: Any, data: Any, config: Any, session: Any) -> dict[str, Any]:
        if Path(str(session.out)).name.startswith("topology-001"):
            raise EdartsError(f"{session.out}/checkpoint.pt: no space left")
        return real(genotype, data, config, session)

    with monkeypatch.context() as patch:
        patch.setattr(api, "train", fails)
        result = topology(tmp_path)
    (failed,) = result.failed
    assert (failed.name, failed.reason) == (
        "topology-001-seed-0",
        "runs/topology-001-seed-0/checkpoint.pt: no space left",
    )
    assert len(result.rows) == 3
    assert any(table.title == "Runs that failed" for table in result.tables)
    assert "no space left" in (tmp_path / "report.html").read_text(encoding="utf-8")
    result = topology(tmp_path)
    assert not result.failed
    assert {row.status for row in result.rows} == {"done"}


def test_a_dry_run_times_steps_and_trains_nothing(tmp_path: Path, trained: list[str]) -> None:
    result = topology(tmp_path, dry_run=True)
    assert trained == [] and result.rows == ()
    assert (result.plan.runs, result.plan.finished) == (3, 0)
    assert result.plan.seconds_left is not None and result.plan.seconds_left > 0
    whole = topology(tmp_path)
    assert len(trained) == 3 and whole.plan.seconds_left == 0
    again = topology(tmp_path, dry_run=True)
    assert len(trained) == 3 and again.plan == whole.plan


def test_other_options_are_refused_in_the_same_folder(done: Path) -> None:
    with pytest.raises(EdartsError, match="operation"):
        topology(done, operation="dil_conv_3x3")


def test_rankings_of_two_data_sets_are_compared(done: Path, tmp_path: Path) -> None:
    other = shutil.copytree(done, tmp_path / "other")
    result = topology(done, beside=str(other))
    (table,) = [t for t in result.tables if t.title == "Agreement of rankings"]
    assert table.rows[-1][0] == f"this study, {other}"
    # an option that changes no run stands beside the answer, so another time it may differ
    assert "beside" not in (done / "config.yaml").read_text(encoding="utf-8")
    assert json.loads((done / "study.json").read_text(encoding="utf-8"))["beside"] == str(other)
    # the page drawn again from the files says the same
    assert main(["report", str(done), "--quiet"]) == 0
    assert f"{other.name}</td>" in (done / "report.html").read_text(encoding="utf-8")


def test_halving_trains_on_what_it_kept(tmp_path: Path) -> None:
    verbs, calls = recording()
    result = driver.study(
        "topology",
        open_data(DATA),
        replace(RECIPE, train=replace(TRAIN, epochs=3)),
        Session(out=tmp_path),
        verbs=verbs,
        options=TopologyOptions(topologies="0-2", halving=True),
    )
    assert [row.test_accuracy is not None for row in result.rows] == [False] * 3 + [True]
    assert [call.verb for call in calls] == ["train"] * 4 + ["evaluate"]


# -- the verbs' part -----------------------------------------------------------------------------


def small(out: Path, verbs: Any, **session: Any) -> StudyReport:
    """Two methods and a published cell, each with one random cell, over two seeds."""
    return driver.study(
        "compare",
        open_data(DATA),
        replace(RECIPE, seeds=2),
        Session(out=out, **session),
        verbs=verbs,
        options=CompareOptions("edarts,random_search", "darts.v1", random_cells=1),
    )


def test_all_runs_share_data_that_are_decoded_once(tmp_path: Path) -> None:
    verbs, calls = recording()
    report = small(tmp_path, verbs)
    assert not report.failed and len(report.rows) == 2 * 5
    assert len({id(call.data) for call in calls}) == 1
    decoded = {(call.verb == "evaluate", call.decoded) for call in calls}
    assert len(decoded) == 2  # a training and a test split


def test_the_verbs_open_and_decode_the_data_of_a_study_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what is compiled for the first run the others do."""
    monkeypatch.setattr(opened, "_last", None)
    counted = {"opened": 0, "decoded": 0, "compiled": 0}

    def count(owner: Any, name: str, what: str) -> None:
        real = getattr(owner, name)

        def spy(*arguments: Any, **options: Any) -> Any:
            counted[what] += 1
            return real(*arguments, **options)

        monkeypatch.setattr(owner, name, spy)

    count(opened, "open_catalogue", "opened")
    count(decoding, "decode", "decoded")
    count(Dispatcher, "compile", "compiled")
    compiled = list[int]()
    trained = api.train

    def train(*arguments: Any) -> Any:
        report = trained(*arguments)
        compiled.append(counted["compiled"])
        return report

    monkeypatch.setattr(api, "train", train)
    report = topology(tmp_path)
    assert len(report.rows) == 3 and not report.failed
    assert counted["opened"] == 1
    assert counted["decoded"] == 2  # a training and a test split
    assert compiled[0] == compiled[1] == compiled[2]


def test_opened_data_pickle_by_their_config() -> None:
    opened = open_data(DATA)
    opened.split("train")
    sent = pickle.dumps(opened)
    assert len(sent) < 1000
    assert pickle.loads(sent) is opened  # in one process


def test_each_run_has_its_seed_and_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    verbs, calls = recording()
    report = small(Path("a") / "study", verbs, device="cpu", checkpoint_seconds=3.0)
    assert report.run == Path("a") / "study"
    searched, first = calls[0], calls[1]
    assert (searched.verb, first.verb, calls[2].verb) == ("search", "train", "evaluate")
    runs = tmp_path.resolve() / "a" / "study" / "runs"
    assert searched.session.out == runs / "edarts-seed-0-search"
    assert first.session.out == runs / "edarts-seed-0"
    assert first.what == CELLS  # what the search found
    assert calls[2].what == runs / "edarts-seed-0"
    making = [call.session for call in calls if call.verb != "evaluate"]
    assert {session.seed for session in making} == {0, 1}
    assert {(session.device, session.checkpoint_seconds) for session in making} == {("cpu", 3.0)}
    # An evaluation refuses what it cannot use.
    evaluating = [call.session for call in calls if call.verb == "evaluate"]
    assert {replace(session, progress=None) for session in evaluating} == {Session(device="cpu")}
    assert {call.session.workers for call in calls} == {1}
    row = report.rows[0]
    assert (row.search_seconds, row.train_seconds, row.images_seen) == (2.0, 1.0, 100)
    assert (row.test_low, row.test_high, row.valid_images) == (0.4, 0.6, round(60 * 0.4))
    assert row.run == "runs/edarts-seed-0"
    assert Path.cwd() == tmp_path.resolve()


@pytest.mark.parametrize(
    ("session", "message"),
    [
        ({"seed": 3}, "seeds"),
        ({"storage": "sqlite:///a.db"}, "ledger"),
        ({"workers": 0}, "at least 1"),
    ],
)
def test_what_a_study_does_not_use_it_refuses(
    session: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        small(tmp_path / "study", recording()[0], **session)
    assert not (tmp_path / "study").exists()


def test_what_no_run_could_take_is_refused_before_the_first(tmp_path: Path) -> None:
    verbs, calls = recording()
    recipe = replace(RECIPE, search=SearchConfig("random_search", warm_up=0.5))
    with pytest.raises(UsageError, match="takes no --warm-up"):
        driver.study(
            "operations", open_data(DATA), recipe, Session(out=tmp_path / "study"), verbs=verbs
        )
    assert not calls and not (tmp_path / "study").exists()


@dataclass(frozen=True)
class Loud:
    """What can be chosen of `Shouted`."""

    word: str = "a"
    """A word of the runs."""
    remark: str | None = None
    """A word of the answer."""


def test_a_study_handed_in_as_a_class(tmp_path: Path) -> None:
    class Shouted(Stepped):
        Options = Loud

        def __init__(self, recipe: Recipe | None = None, options: Any = None) -> None:
            super().__init__(recipe, options or Loud())

    verbs, _ = recording()
    report = driver.study(
        Shouted, open_data(DATA), Recipe(train=TRAIN), Session(out=tmp_path), verbs=verbs,
        options=Loud("b"),
    )  # fmt: skip
    # jobs without an architecture fail by name, and the study goes on
    assert {row.reason for row in report.failed} == {
        f"TypeError: {name}: a job needs a search or an architecture" for name in "abcde"
    }
    assert "word: b" in (tmp_path / "config.yaml").read_text(encoding="utf-8")
    assert driver.write_report(tmp_path).exists()


# -- black-box methods ---------------------------------------------------------------------------

BLACK_BOX = SearchConfig.of(
    "regularized_evolution", trials=2, epochs=1, cells=1, channels=4, batch_size=16, population=2
)


def test_a_black_box_method_can_be_compared(tmp_path: Path) -> None:
    recipe = Recipe(replace(BLACK_BOX, method="darts"), TRAIN, seeds=1)
    options = {"methods": "regularized_evolution", "random_cells": 1}
    report = study("compare", DATA, recipe, Session(out=tmp_path), **options)
    assert not report.failed
    method, drawn = report.rows
    assert method.factors == {"kind": "method", "architecture": "regularized_evolution"}
    assert method.search_seconds is not None and method.images_seen is None
    assert isinstance(drawn.genotype, Genotype)
    assert (tmp_path / "runs" / "regularized_evolution-seed-0-search" / "ledger.db").exists()
    assert read_ledger(tmp_path) == {row.name: row for row in report.rows}


def test_a_black_box_method_can_choose_among_operations(tmp_path: Path) -> None:
    recipe = Recipe(BLACK_BOX, TRAIN, seeds=1)
    report = study("operations", DATA, recipe, Session(out=tmp_path), subsets="SS3")
    (row,) = report.rows
    assert row.status == "done"
    assert isinstance(row.genotype, Genotype)
    used = {edge.operation for edge in row.genotype.edges("normal")}
    assert used <= set(DartsSpace.parse("SS3").operations)


# -- command line --------------------------------------------------------------------------------


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
        (["study", "nothing"], "unknown study"),
        (["study", "depth", "--search.method", "regularized_evolution"], "black-box"),
        (["study", "skips", "--search.method", "random_search"], "black-box"),
        (["study", "skips", "--seeds", "0"], "at least 1"),
        (["compare", "--methods", "dart"], "darts"),
        (["compare", "--methods", "regularised_evolution"], "regularized_evolution"),
        (["compare", "--zoo", "darts.v3"], "darts.v2"),
        (["compare", "--search.zero-one", "1"], "methods that do: fair_darts"),
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


@pytest.mark.pictures
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
    names = registry.names("studies")
    assert names == ["compare", "depth", "operations", "skips", "topology"]
    for name in names:
        found = registry.get("studies", name)
        assert found.__name__.lower() == f"{name}study"
        assert found.SEEDS >= 1
        question = found(RECIPE)
        assert question.options == found.Options()
        assert question.summary({}).tables == []
    assert registry.get("studies", "compare") is CompareStudy
    with pytest.raises(UsageError, match="did you mean topology"):
        registry.get("studies", "topologies")


def test_options_that_change_no_run_are_marked() -> None:
    free = [
        (name, field.name)
        for name, kind in registry.members("studies")
        if isinstance(kind.Options, type)
        for field in getattr(kind.Options, "__dataclass_fields__", {}).values()
        if field.metadata == FREE
    ]
    assert free == [("topology", "beside")]
    assert OperationsOptions().subsets == "SS1..SS8"
