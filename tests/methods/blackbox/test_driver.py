"""What a search refuses, and that the ledger of a run is continued or refused, never begun anew."""

import contextlib
import json
import random
import sqlite3
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
import yaml

from edarts import DartsSpace, SearchConfig, UsageError, registry
from edarts.cli.main import main
from edarts.methods.blackbox.driver import black_box, resolve_config
from edarts.methods.blackbox.ledger import open_study
from edarts.methods.blackbox.optuna import OptunaSampler
from edarts.runtime import Runtime
from edarts.testing.blackbox import run_ledger
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
    (out / "digests.json").unlink()  # it knew none
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
        (["--method", "optuna:CmaEsSampler"], "cannot learn categorical decisions"),
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


# -- defaults --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "trials", "least", "rule"),
    [
        ("random_search", 100, 1, "(default: 100)"),
        ("regularized_evolution", 200, 21, "If not given, ten times the population."),
        ("hierarchical_evolution", 400, 41, "If not given, ten times the population."),
        ("pnas", 136 + 4 * 16, 136 + 3 * 16 + 1, "(136 with eight operations) and `beam` at each"),
        ("nasnet_rl", 400, 21, "400: twenty batches of 20"),
        ("optuna:TPESampler", 100, 1, "If not given, 100; of a genetic sampler ten times"),
        ("optuna:NSGAIISampler", 500, 51, "If not given, 100; of a genetic sampler ten times"),
    ],
)
def test_each_method_has_trials_enough_to_act(
    capsys: pytest.CaptureFixture[str], method: str, trials: int, least: int, rule: str
) -> None:
    config, space = resolve_config(SearchConfig.of(method))
    wanted = config.plugins()[0].wanted(method, config.options, space)
    assert (config.options.trials, wanted.usual, wanted.least) == (trials, trials, least)
    assert wanted.warning(method, least) is None
    if least > 1:
        words = f"{method}: {least - 1} trials are too few: "
        assert str(wanted.warning(method, least - 1)).startswith(words)
    with contextlib.suppress(SystemExit):
        main(["search", "--method", method, "--help"])
    assert rule in " ".join(capsys.readouterr().out.split())


def test_trials_follow_the_population_and_the_beam() -> None:
    evolution = SearchConfig.of("regularized_evolution", population=7)
    assert resolve_config(evolution)[0].options.trials == 70
    small = SearchConfig.of("pnas", beam=3, operations="skip_connect,sep_conv_3x3")
    assert resolve_config(small)[0].options.trials == 10 + 4 * 3


def test_too_few_trials_are_said_first(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, argv: list[str]
) -> None:
    argv = [*argv, "--method", "regularized_evolution", "--space", "darts", "--trials", "4"]
    assert main([*argv, "--out", str(tmp_path / "r")]) == 0
    said = [x for x in capsys.readouterr().err.splitlines() if not x.startswith("data: ")]
    assert said[0] == (
        "regularized_evolution: 4 trials are too few: its first 20 are drawn at random; give"
        " --trials 21 or more (usual here: 200), or a smaller --population"
    )


def test_only_noisy_scores_are_computed_again() -> None:
    """By default each proposal is trained, as in the papers; a table says the same each time."""
    for score, repeats in (("train", 0), ("table:x.json", 1), ("supernet:run", 1)):
        config = SearchConfig.of("regularized_evolution", score=score)
        assert resolve_config(config)[0].options.repeats == repeats
    computed = {}
    for repeats in (0, 1, 2):
        config = SearchConfig.of(
            "random_search",
            operations="skip_connect,sep_conv_3x3",
            topology="01 01",
            trials=60,
            repeats=repeats,
        )
        found, _ = run_ledger(config, lambda *_: 0.5)
        assert found.trials.scored + found.trials.known == 60
        computed[repeats] = found.trials.scored
    assert computed[0] == 60 > computed[2] > computed[1] > 1


def test_a_run_of_earlier_defaults_goes_on_as_it_was(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, argv: list[str]
) -> None:
    """Begun with the defaults of version 0.1, which the same command no longer gives today."""
    evolution = [*argv, "--method", "regularized_evolution", "--space", "darts"]
    was = ["--population", "100", "--tournament", "25", "--repeats", "1"]
    out = tmp_path / "r"
    run(capsys, *evolution, *was, "--trials", "100", "--out", str(out))
    before = (out / "config.yaml").read_text()
    again = run(capsys, *evolution, "--out", str(out))
    assert sum(again["trials"].values()) == 100
    assert (out / "config.yaml").read_text() == before
    run(capsys, *evolution, "--trials", "103", "--out", str(out))
    whole = tmp_path / "whole"
    run(capsys, *evolution, *was, "--trials", "103", "--out", str(whole))
    parts = ("trial", "score", "genotype")
    continued, straight = ([[x[k] for k in parts] for x in lines(o)] for o in (out, whole))
    assert continued == straight
    new = tmp_path / "new"  # a run of today has today's
    run(capsys, *evolution, "--trials", "3", "--out", str(new))
    assert yaml.safe_load((new / "config.yaml").read_text())["population"] == 20


# -- samplers of Optuna's --------------------------------------------------------------------------


def test_samplers_that_leave_categories_to_chance_are_refused() -> None:
    """All of Optuna's that can be made by their name: which of them do is found by asking them."""
    works, refused = set(), set()
    for name in optuna.samplers.__all__:
        if name.endswith("Sampler"):
            try:
                OptunaSampler(f"optuna:{name}")
                works.add(name)
            except UsageError as error:
                if "categorical" in str(error):
                    refused.add(name)
    assert refused == {"CmaEsSampler"}
    assert {"TPESampler", "RandomSampler", "NSGAIISampler", "BruteForceSampler"} <= works


def test_what_paper_says_is_an_option_of_the_method() -> None:
    for name, sampler in registry.members("samplers"):
        SearchConfig.of("optuna:TPESampler" if name == "optuna" else name, **sampler.PAPER)
    evolution = registry.get("samplers", "regularized_evolution").PAPER
    assert (evolution["trials"], evolution["population"], evolution["tournament"]) == (
        20_000,
        100,
        25,
    )


def test_the_preset_of_the_paper() -> None:
    """It fills in what is not given, options of the training too; others have no paper."""
    config, _ = resolve_config(SearchConfig.of("pnas", preset="paper", beam=7))
    assert (config.options.trials, config.options.beam) == (1160, 7)
    assert (config.cells, config.channels, config.epochs, config.lr) == (6, 24, 20, 0.01)
    with pytest.raises(UsageError, match="random_search takes no --preset: no paper ran it"):
        resolve_config(SearchConfig.of("random_search", preset="paper"))


def test_trials_of_a_ledger_share_their_choices(tmp_path: Path) -> None:
    """So that the memory of a driver hardly grows: 22 kinds of 8 names were copied for each."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    space = DartsSpace()
    sampler = registry.get("samplers", "random_search")(space)
    for trials in (20, 40):  # the first are read from the database by the second driver
        study = open_study(url, "study", sampler)
        config = SearchConfig.of("random_search", trials=trials, repeats=1).with_options({})
        black_box(study, space, lambda g, seed: planted(g), config, Runtime(torch.device("cpu")))
    kept, fresh = (s.get_trials(deepcopy=False) for s in (study, open_study(url, "study", sampler)))
    assert len(kept) == 40
    first = kept[0]
    for trial, again in zip(kept, fresh, strict=True):
        assert trial.params == again.params and trial.distributions == again.distributions
        assert all(kind is first.distributions[n] for n, kind in trial.distributions.items())
        assert all(name is own for name, own in zip(trial.params, first.params, strict=True))
