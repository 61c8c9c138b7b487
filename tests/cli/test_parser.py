"""Words and files become options: spelling, switches, --config, and errors in one line."""

from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import yaml

from edarts.cli.main import parse
from edarts.cli.parser import Given
from edarts.cli.verbs import VERBS
from edarts.config import SearchConfig, TrainConfig
from edarts.methods.blackbox.driver import resolve_config as resolve_black_box
from edarts.methods.oneshot.resolve import resolve_config
from edarts.space import zoo
from support import fails, run

RESULTS = Path(__file__).parents[2] / "results"
SMALL = ["--cells", "2", "--channels", "4", "--limit", "60", "--quiet", "--json"]


def parts(*argv: str) -> dict[str, Any]:
    """What a command hands to the function of the library, by the names of its arguments."""
    name, values = parse(argv)
    with mock.patch(f"edarts.api.{name}") as function:
        VERBS[name].run(name, values)
    found: dict[str, Any] = function.call_args.kwargs
    return found


def test_given_knows_what_was_typed_and_what_the_file_holds(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("method: darts\nepochs: 3\ndata: photos\ntrain:\n  recipe: full\n  lr: null\n")
    given = Given(
        ["digits", "--epochs", "1", "--epochs=2", "--arch-lr", "1", "--config", str(file)]
    )
    assert given.get("epochs") == "2"
    assert given.get("arch_lr") == "1"
    assert given.get("method", "edarts") == "darts"
    assert given.get("train.recipe") == "darts"
    assert given.get("space", "enas") == "enas"
    assert "train.lr" not in given.settings
    assert {"digits", "photos"} <= set(given.plain)
    assert Given([]).get("method") == ""
    assert Given(["--help"]).get("method", "edarts") == ""


@pytest.mark.parametrize(
    ("argv", "data", "skip_bad", "flip"),
    [
        (["digits"], "digits", False, None),
        (["--skip-bad", "digits"], "digits", True, None),
        (["digits", "--skip-bad"], "digits", True, None),
        (["--skip-bad", "true", "digits", "--flip", "false"], "digits", True, False),
        (["--skip-bad=false", "digits", "--flip"], "digits", False, True),
        (["--skip_bad", "--flip", "null", "digits"], "digits", True, None),
        (["--skip-bad", "--", "digits"], "digits", True, None),
        (["--flip", "--flip", "false"], "digits", False, False),
    ],
)
def test_switches(argv: list[str], data: str, skip_bad: bool, flip: bool | None) -> None:
    found = parts("search", *argv)["data"]
    assert (found.data, found.skip_bad, found.flip) == (data, skip_bad, flip)


def test_options_are_of_their_config_and_find_shares_its_epochs() -> None:
    found = parts(
        *("find", "digits", "--method", "pc_darts", "--epochs", "3", "--space", "darts"),
        *("--topology", "1", "--train.batch_size", "8", "--limit", "50"),
    )
    assert found["search_config"] == SearchConfig.of(
        "pc_darts", epochs=3, space="darts", topology="1"
    )
    assert found["train_config"] == TrainConfig(epochs=3, batch_size=8)
    assert found["data"].limit == 50
    found = parts("find", "--epochs", "3", "--train.epochs", "5")
    assert found["search_config"].epochs == 3
    assert found["train_config"].epochs == 5
    assert parts("find")["train_config"] == TrainConfig()
    assert parts("train", "--recipe", "darts", "--epochs", "5")["train_config"].epochs == 5


@pytest.mark.parametrize(
    ("argv", "option", "value", "message"),
    [
        (["study", "skips", "--subset", "0"], "subset", 0, "subset must lie between 0 and 1"),
        (["compare", "--random-cells", "0"], "random_cells", 0, "random_cells must be at least 1"),
        (["study", "depth", "--seeds", "0"], "seeds", 0, "seeds must be at least 1, got 0"),
        (["bench", "step", "--rounds", "0"], "rounds", 0, "rounds must be at least 1, got 0"),
        (["study", "topology", "--halving", "false"], "halving", False, None),
        (["study", "topology", "--halving"], "halving", True, None),
        (["study", "topology", "--dry-run", "false"], "dry_run", False, None),
    ],
)
def test_zero_and_false_are_given_too(
    capsys: pytest.CaptureFixture[str],
    argv: list[str],
    option: str,
    value: Any,
    message: str | None,
) -> None:
    _, values = parse(argv)
    assert values["own"][option] == value
    assert isinstance(values["own"][option], bool) == isinstance(value, bool)
    if message is not None:
        assert message in fails(capsys, 2, *argv)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["search", "--limit", "0"], "limit must be at least 2, got 0"),
        (["search", "--epochs", "0"], "epochs must be at least 1, got 0"),
        (["search", "--workers", "0"], "workers must be at least 1, got 0"),
        (
            ["train", "darts.v1", "--valid-fraction", "1"],
            "valid_fraction must be between 0",
        ),
        (["search", "--lr", "fast"], "--lr: expected a number, got fast"),
        (["search", "--skip-bad=maybe"], "--skip-bad: expected true or false, got maybe"),
        (["search", "--arch-update", "now"], "--arch-update: expected step or epoch or joint, got"),
        (["search", "--epochs"], "--epochs: expected one argument"),
        (["search", "digits", "cats"], "unrecognized arguments: cats"),
        (["predict", "runs/x"], "images"),
        (["bench"], "group"),
    ],
)
def test_values_are_refused_in_one_line(
    capsys: pytest.CaptureFixture[str], argv: list[str], message: str
) -> None:
    assert message in fails(capsys, 2, *argv)


def test_a_file_gives_options_and_those_beside_it_win(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(
        "data: digits\nmethod: fair_darts\nthreshold: 0.5\nepochs: 4\nskip-bad: true\nflip: null\n"
        "lr: 0.00001\ntopology: '1'\n"
    )
    found = parts("search", "--config", str(file), "--epochs", "2", "--skip-bad", "false")
    assert found["search_config"] == SearchConfig.of(
        "fair_darts", threshold=0.5, epochs=2, lr=1e-5, topology="1"
    )
    assert not found["data"].skip_bad
    assert parts("search", "photos", "--config", str(file))["data"].data == "photos"
    for code, text, message in [
        (2, "epochs: many", "--epochs: expected a whole number, got many"),
        (2, "threshold: 0.5", "c.yaml: edarts search takes no threshold here (methods that do: f"),
        (2, "epoch: 3", "c.yaml: unknown option 'epoch'; did you mean epochs"),
        (1, "- 3", "c.yaml: expected 'option: value' lines"),
    ]:
        file.write_text(text)
        assert message in fails(capsys, code, "search", "--config", str(file))


@pytest.mark.parametrize(
    "file", sorted(RESULTS.glob("**/*config.yaml")), ids=lambda file: str(file.relative_to(RESULTS))
)
def test_files_of_version_01_are_read(file: Path) -> None:
    """With the values that they have, under the names of today."""
    old = yaml.safe_load(file.read_text())
    verb = {"compare": "compare", None: "train" if "genotype" in old else "search"}.get(
        old.get("study"), "study"
    )
    found = parts(verb, "--config", str(file))
    assert found["data"].data == old["data"]
    assert found["data"].limit == old["limit"]
    assert found.get("seeds") == old.get("seeds")
    if verb == "train":
        assert found["architecture"] == old["genotype"]
        assert found["train_config"].epochs == old["epochs"]
        return
    search, was = found["search_config"], old.get("search", old)
    now = search.given()
    renamed = {"partial", "order", "arch_update", "topology"}
    for name in now.keys() & was.keys() - renamed:
        assert now[name] == was[name], name
    if verb == "search":
        black_box = "trials" in was and was["trials"] is not None
        resolved = resolve_black_box(search) if black_box else resolve_config(search, 1000, 10)
        settings = resolved[0].to_settings()
        assert settings["channel_fraction" if not black_box else "lr"] == (
            1 / (was.get("partial") or 1) if not black_box else was["lr"]
        )
        for name in ("epochs", "lr", "batch_size", "arch_lr", "operations"):
            assert settings.get(name) == was[name], name
    else:
        assert found["train_config"].valid_fraction == old["train"]["valid_fraction"]


def test_a_run_is_repeated_by_its_own_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """find, search, train and study: the file that a run has written finds the same run again."""
    search = ["--operations", "skip_connect,sep_conv_3x3", "--epochs", "1", "--batch-size", "16"]
    trained = ["--train.cells", "2", "--train.channels", "4", "--train.epochs", "1"]
    for verb, argv in {
        "find": ["digits", *SMALL, *search, *trained[:4], "--skip-bad"],
        "search": ["digits", *SMALL, *search, "--method", "fair_darts", "--threshold", "0.5"],
        "train": ["darts.v1", "digits", *SMALL, "--epochs", "1", "--valid-fraction", "0.2"],
        "study": ["depth", "digits", "--limit", "60", *trained, "--cells", "2", "--seeds", "1",
                  "--search.channels", "4", "--search.epochs", "1", "--quiet", "--json"],
    }.items():  # fmt: skip
        out = tmp_path / verb
        first = run(capsys, verb, *argv, "--out", str(out))
        # A folder whose run has other settings would be refused; this one is finished.
        file = ["--config", str(out / "config.yaml")]
        assert run(capsys, verb, *file, "--out", str(out), "--quiet", "--json") == first


def test_zoo_names_need_no_architecture() -> None:
    """They are offered by the shell, so listing them builds no network."""
    zoo.get.cache_clear()
    assert "proxyless.cifar10" in zoo.names()
    assert zoo.get.cache_info().currsize == 0
