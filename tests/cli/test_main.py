"""The command line as it is used: verbs, JSON, one-line errors, kill and resume, leaks."""

import errno
import json
import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from edarts import data
from edarts.cli.main import main
from edarts.space import zoo
from processes import Forked
from support import fails, run, write_images

SMALL = ["--cells", "2", "--channels", "4", "--limit", "60", "--batch-size", "16", "--quiet"]
SEARCH = [*SMALL, "--operations", "skip_connect,sep_conv_3x3", "--epochs", "2", "--json"]
FIND = [*SEARCH, "--train.cells", "2", "--train.channels", "4", "--candidates", "found"]


@pytest.mark.pictures
def test_find_then_everything_that_follows(
    capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path
) -> None:
    out = str(tmp_path / "run")
    result = run(capsys, "find", str(folder), *FIND, "--out", out)
    low, high = result["test_accuracy_ci95"]
    assert 0 <= low <= result["test_accuracy"] <= high <= 1
    assert result["parameters"] > 0
    assert result["flops"] > 0
    assert set(result["seconds"]) == {"search", "train", "evaluate"}
    files = {path.name for path in Path(out).iterdir()}
    assert files >= {
        *("config.yaml", "environment.json", "metrics.jsonl", "checkpoint.pt", "genotype.json"),
        *("cell.svg", "cell.png", "model.safetensors", "model.json"),
    }
    lines = [json.loads(x) for x in (Path(out) / "metrics.jsonl").read_text().splitlines()]
    assert [(x["phase"], x["epoch"]) for x in lines] == [
        (phase, epoch) for phase in ("search", "train") for epoch in range(2)
    ]
    assert set(lines[0]) >= {"loss", "accuracy", "seconds", "entropy", "skips", "genotype"}
    # again: the same result, nothing is done twice
    assert run(capsys, "find", str(folder), *FIND, "--out", out) == result
    evaluated = run(capsys, "evaluate", out, "--json", "--quiet")
    assert evaluated["test_accuracy"] == result["test_accuracy"]
    image = str(folder / "ant" / "0.png")
    (row,) = run(capsys, "predict", out, image, "--json", "--quiet")
    assert row["file"] == image
    assert row["class"] in ("ant", "bee", "cat")
    assert 0 < row["probability"] <= 1
    # the search part of its config repeats the search
    again = run(
        capsys,
        "search",
        "--config",
        f"{out}/config.yaml",
        "--json",
        "--quiet",
        "--out",
        str(tmp_path / "again"),
    )
    assert again["genotype"] == result["genotype"]
    assert set(again["steps"]) == {"weight", "architecture"}
    assert set(again["skips"]) == {"normal", "reduce"}
    trained = run(
        capsys,
        "train",
        str(tmp_path / "again"),
        str(folder),
        *SMALL,
        "--epochs",
        "1",
        "--json",
        "--out",
        str(tmp_path / "trained"),
    )
    assert trained["genotype"] == result["genotype"]
    assert "no" in fails(capsys, 1, "find", str(folder), *FIND, "--out", out, "--seed", "1")


@pytest.mark.processes
@pytest.mark.parametrize("who", ["found,resnet,linear", "convnet,mobilenetv2"])
def test_find_lets_plain_networks_race(
    who: str, capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path
) -> None:
    """Every candidate is shown, in JSON and in words; continued, it tells the same.

    Whoever has won is predicted with in a new process.
    """
    out = str(tmp_path / "run")
    options = [*FIND[:-2], "--candidates", who, "--out", out]
    result = run(capsys, "find", str(folder), *options)
    names = [one["name"] for one in result["candidates"]]
    known = {"found": {"found-4", "found-8"}, "resnet": {"resnet8"}}
    assert set(names) == set().union(*(known.get(name, {name}) for name in who.split(",")))
    assert result["winner"] == names[0] and result["verdict"]
    assert set(result["candidates"][0]) == {
        *("name", "valid_accuracy", "ci95", "parameters", "flops", "seconds", "round")
    }
    searched = {"search"} if "found" in who else set()
    assert set(result["seconds"]) == {*searched, "race", "train", "evaluate"}
    assert (result["genotype"] is None) == (not names[0].startswith("found"))
    assert run(capsys, "find", str(folder), *options) == result
    assert main(["find", str(folder), *[w for w in options if w not in ("--quiet", "--json")]]) == 0
    shown = capsys.readouterr().out
    assert f"verdict           {result['verdict']}" in shown
    assert all(f"  {name} " in shown for name in names)
    page = (tmp_path / "run" / "report.html").read_text()
    assert "The race" in page and "Accuracy against size" in page
    image = str(folder / "ant" / "0.png")
    process = Forked(["-m", "edarts", "predict", out, image, "--json", "--quiet"], tmp_path)
    assert process.wait() == 0, process.err
    assert json.loads(process.out.splitlines()[-1])[0]["class"] in ("ant", "bee", "cat")
    again = ["--config", f"{out}/config.yaml", "--out", str(tmp_path / "search"), "--json"]
    assert run(capsys, "search", *again)["genotype"]  # takes the file of find


@pytest.mark.parametrize("options", [["--order", "2"], ["--arch-update", "epoch"]])
def test_darts_options(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, options: list[str]
) -> None:
    extra = [
        "--method",
        "darts",
        "--data-fraction",
        "0.5",
        "--topology",
        "3",
        "--attention",
        "skip_connect=1,sep_conv_3x3=2",
        *options,
    ]
    result = run(capsys, "search", "digits", *SEARCH, *extra, "--out", str(tmp_path / "r"))
    config = yaml.safe_load((tmp_path / "r" / "config.yaml").read_text())
    assert (config["method"], config["data_fraction"]) == ("darts", 0.5)
    assert len(result["genotype"]["normal"]) == 8


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("snas", ["--constraint", "aggressive"]),
        ("fair_darts", ["--threshold", "0.5"]),
        ("enas", ["--samples", "2", "--arch-steps", "1"]),
    ],
)
def test_cells_of_other_shapes_are_drawn_and_trained(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, method: str, options: list[str]
) -> None:
    out = str(tmp_path / "r")
    result = run(capsys, "search", "digits", *SEARCH, "--method", method, *options, "--out", out)
    assert set(result["passes"]) == {"forward", "backward"}
    assert (tmp_path / "r" / "cell.png").exists()
    options = [*SMALL, "--epochs", "1", "--json", "--out", str(tmp_path / "t")]
    trained = run(capsys, "train", out, "digits", *options)
    assert trained["genotype"] == result["genotype"]


def test_full_recipe_trains(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    result = run(
        capsys,
        "train",
        "darts.v2",
        "digits",
        *SMALL,
        "--recipe",
        "darts",
        "--epochs",
        "1",
        "--json",
        "--out",
        str(tmp_path / "r"),
    )
    config = yaml.safe_load((tmp_path / "r" / "config.yaml").read_text())
    assert (config["auxiliary"], config["drop_path"], config["cutout"]) == (0.4, 0.2, 0.5)
    assert result["parameters"] > 0
    names = torch.load(tmp_path / "r" / "checkpoint.pt", weights_only=True)["train"]["state"]
    assert any(name.startswith("auxiliary") for name in names["network"])


@pytest.mark.parametrize("name", ["pc_darts.cifar10", "nasnet_a.official", "densenet_bc.l100_k12"])
def test_a_zoo_name_is_a_genotype(
    capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path, name: str
) -> None:
    """Train, evaluate, predict, and train again from the run folder; cells and a whole network."""
    out, again = str(tmp_path / "run"), str(tmp_path / "again")
    small = [word for word in SMALL if word not in ("--cells", "2", "--channels", "4")]
    options = [*(small if "dense" in name else SMALL), "--epochs", "1"]
    trained = run(capsys, "train", name, str(folder), *options, "--json", "--out", out)
    design = zoo.get(name).architecture
    assert trained["genotype"] == design.to_dict()
    files = {path.name for path in Path(out).iterdir()}
    assert files >= {"genotype.json", "cell.svg", "cell.png", "model.safetensors", "model.json"}
    evaluated = run(capsys, "evaluate", out, "--json")
    assert evaluated["parameters"] == trained["parameters"] > 0
    expected = design.to_dict() if design.sized else None  # a whole network has no genotype
    assert evaluated["genotype"] == expected
    (row,) = run(capsys, "predict", out, str(folder / "ant" / "0.png"), "--json")
    assert row["class"] in ("ant", "bee", "cat")
    assert main(["train", out, str(folder), *options[:-3], "--epochs", "1", "--out", again]) == 0
    shown = capsys.readouterr().out
    assert ("network           DenseNet-BC, 100 layers" in shown) == ("dense" in name)
    assert run(capsys, "evaluate", again, "--json")["genotype"] == expected


def test_zoo(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    rows = run(capsys, "zoo", "list", "--json")
    assert [row["name"] for row in rows] == zoo.names()
    assert all(row.keys() >= {"name", "parameters", "published"} for row in rows)
    shown = run(capsys, "zoo", "show", "proxyless.cifar10", "--json")
    assert shown["parameters"] == 5_731_530
    assert len(shown["genotype"]["blocks"]) == 54
    drawn = run(capsys, "zoo", "draw", "enas.script", "--json", "--out", str(tmp_path / "new"))
    assert [Path(file).name for file in drawn["files"]] == ["enas.script.svg", "enas.script.png"]
    assert all(Path(file).exists() for file in drawn["files"])


def test_the_test_split_is_read_by_evaluate_alone(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Search and train work with a test split that cannot be read, and never ask for it."""
    root = tmp_path / "data"
    write_images(root / "train", {"a": 12, "b": 12})
    write_images(root / "test", {"a": 3, "b": 3})
    for file in (root / "test").rglob("*.png"):
        file.write_bytes(b"secret")
    asked: list[str] = []
    split = data.Opened.split

    def spy(opened: data.Opened, name: Any, *shape: Any) -> data.Dataset:
        asked.append(name)
        return split(opened, name, *shape)

    monkeypatch.setattr(data.Opened, "split", spy)
    out = [str(tmp_path / name) for name in ("searched", "trained")]
    run(capsys, "search", str(root), *SEARCH, "--out", out[0])
    run(capsys, "train", out[0], str(root), *SMALL, "--epochs", "1", "--json", "--out", out[1])
    assert set(asked) == {"train"}
    assert "not a readable image" in fails(capsys, 1, "evaluate", out[1], "--json")
    assert asked[-1] == "test"


def test_a_cut_off_test_split_is_not_decoded(
    capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path
) -> None:
    labels = np.repeat([0, 1, 2], 10)
    _, test = data.stratified_split(labels, 0.2, 0)
    files = sorted(folder.rglob("*.png"), key=lambda f: (f.parent.name, f.name))
    for index in test:
        files[index].write_bytes(b"secret")
    run(capsys, "search", str(folder), *SEARCH, "--out", str(tmp_path / "r"))


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (["serch"], 2, "unknown verb 'serch'; did you mean search"),
        (["search", "--epoch", "3"], 2, "unknown option '--epoch'; did you mean --epochs"),
        (["search", "--method", "dart"], 2, "unknown method 'dart'; did you mean darts"),
        (["search", "--operations", "sep_conv"], 2, "did you mean sep_conv_7x7 or sep_conv_5x5"),
        (["search", "--epochs", "many"], 2, "--epochs: expected a whole number, got many"),
        (["search", "--epochs", "0"], 2, "epochs must be at least 1, got 0"),
        (["search", "--method", "darts", "--order", "3"], 2, "--order: expected 1 or 2, got 3"),
        (["search", "--order", "2"], 2, "search takes no --order here (methods that do: darts)"),
        (["search", "--arch-update", "sometimes"], 2, "step or epoch or joint, got sometimes"),
        (["search", "--data-fraction", "2"], 2, "data_fraction must be between"),
        (["search", "--topology", "200"], 2, "topology '200': give 'all'"),
        (["search", "--attention", "skip_connect"], 2, "give NAME=SHARE"),
        (["search", "--arch-update", "step", "--arch-steps", "2"], 2, "arch_update=epoch"),
        (["search", "--device", "tpu"], 1, "device tpu is not here"),
        (["search", "/nowhere/at/all"], 1, "/nowhere/at/all: no such file or folder"),
        (["search", "--config", "/nowhere.yaml"], 1, "/nowhere.yaml: no such file"),
        (["train"], 2, "train needs an architecture"),
        (["train", "darts.v3"], 2, "did you mean darts.v2 or darts.v1"),
        (["train", "absent.json"], 1, "absent.json: no such file"),
        (["train", "pc_darts"], 2, "did you mean pc_darts.cifar10"),
        (["train", "proxyless.cifar10", "--cells", "3"], 2, "cells is for networks of cells"),
        (["train", "densenet_bc.l100_k12", "--drop-path", "0.2"], 2, "drop_path is for networks"),
        (["zoo", "lst"], 2, "unknown zoo action 'lst'; did you mean list"),
        (["zoo", "list", "darts.v1"], 2, "zoo list takes no name"),
        (["zoo", "show"], 2, "zoo show needs a name"),
        (["zoo", "show", "darts.v3"], 2, "unknown zoo name 'darts.v3'; did you mean darts.v2"),
        (["zoo", "show", "darts.v2", "--out", "x"], 2, "--out is for zoo draw"),
        (["zoo", "list", "--seed", "1"], 2, "unknown option '--seed'"),
        (["zoo", "draw", "darts.v2", "--out", "/dev/null"], 1, "/dev/null: cannot be written"),
        (["--versio"], 2, "unknown option '--versio'; did you mean --version"),
        (["--print-completion", "fish"], 2, "unknown shell 'fish'"),
        (["study"], 2, "study needs a kind: compare, depth, operations, skips, topology"),
        (["study", "depths"], 2, "unknown study 'depths'; did you mean depth"),
        (["evaluate", "/nowhere"], 1, "/nowhere: no such run folder"),
        (["predict", "/nowhere", "x.png"], 1, "/nowhere: no such run folder"),
    ],
)
def test_errors(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    argv: list[str],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in fails(capsys, code, *argv)


def test_errors_of_files(capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(capsys, "search", str(folder), *SEARCH, "--out", str(out))
    config = tmp_path / "c.yaml"
    config.write_text("epoch: 3\n")
    assert "c.yaml: unknown option 'epoch'; did you mean epochs" in fails(
        capsys, 2, "search", "--config", str(config)
    )
    assert "epochs: 2 in the run, 3 now" in fails(
        capsys, 1, "search", str(folder), *SEARCH, "--epochs", "3", "--out", str(out)
    )
    (out / "checkpoint.pt").write_bytes(b"damaged")
    assert "checkpoint.pt: damaged: not what was written there" in fails(
        capsys, 1, "search", str(folder), *SEARCH, "--out", str(out)
    )
    (out / "genotype.json").write_text("{}")
    assert "genotype.json: damaged: not what was" in fails(capsys, 1, "train", str(out), "--quiet")
    assert "no trained model" in fails(capsys, 1, "evaluate", str(out))
    (folder / "ant" / "0.png").write_bytes(b"x")
    assert re.search(
        r"0\.png: not a readable image.*--skip-bad",
        fails(
            capsys,
            1,
            "search",
            str(folder),
            "--test-fraction",
            "0.01",
            "--out",
            str(tmp_path / "s"),
        ),
    )


def test_nan_loss_stops_and_keeps_the_checkpoint(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    argv = ["train", "darts.v1", "digits", *SMALL, "--epochs", "30", "--checkpoint-seconds", "0"]
    line = fails(capsys, 1, *argv, "--lr", "1e30", "--clip", "1e30", "--out", str(tmp_path / "r"))
    assert re.search(r"train, epoch \d+, step \d+: the loss became NaN or infinite.*--lr", line)
    kept = torch.load(tmp_path / "r" / "checkpoint.pt", weights_only=True)["train"]
    assert (kept["epoch"], kept["step"]) >= (0, 1)


def final_state(folder: Path) -> Any:
    return torch.load(folder / "checkpoint.pt", weights_only=True)


def assert_equal(a: Any, b: Any) -> None:
    """Deep, bit for bit; seconds may differ."""
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            if key != "seconds":
                assert_equal(a[key], b[key])
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_equal(x, y)
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b)
    else:
        assert a == b


@pytest.mark.processes
def test_killed_in_the_middle_of_an_epoch_and_resumed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """kill -9 and Ctrl-C in search and in train; the end is bit-identical to a straight run."""
    argv = ["find", "digits", "--limit", "200", "--cells", "3", "--channels", "4", "--epochs", "3",
            "--batch-size", "16", "--train.cells", "3", "--train.channels", "4",
            "--train.batch-size", "16",
            "--candidates", "found",  # a race measures time: see tests/race
            "--checkpoint-seconds", "0", "--out"]  # fmt: skip
    assert main([*argv, str(tmp_path / "straight"), "--quiet"]) == 0
    broken = tmp_path / "broken"
    stops = 0
    for number, phase in (
        (signal.SIGKILL, "search"),
        (signal.SIGINT, "search"),
        (signal.SIGKILL, "train"),
    ):
        process, seen = Forked(["-m", "edarts", *argv, str(broken)], tmp_path), 0
        while process.poll() is None:
            time.sleep(0.02)
            try:
                written = (broken / "checkpoint.pt").stat().st_mtime_ns
                if written == seen:
                    continue
                state, seen = final_state(broken).get(phase), written
            except Exception:
                continue
            # in the middle of an epoch, and further than the last time
            if state is not None and state["step"] > 0 and state["epoch"] >= stops % 2:
                process.send_signal(number)
                break
        code = process.wait()
        stops += 1
        if number == signal.SIGINT:
            assert code == 130
            assert "to continue: edarts find digits" in process.err
        else:
            assert code == -signal.SIGKILL
    assert main([*argv, str(broken)]) == 0
    assert re.search(r"train: continues at epoch \d+, step \d+", capsys.readouterr().err)
    assert_equal(final_state(broken), final_state(tmp_path / "straight"))
    for name in ("genotype.json", "model.safetensors"):
        assert (broken / name).read_bytes() == (tmp_path / "straight" / name).read_bytes()
    epochs = [
        [json.loads(x)["epoch"] for x in (f / "metrics.jsonl").read_text().splitlines()]
        for f in (broken, tmp_path / "straight")
    ]
    assert epochs[0] == epochs[1]


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("empty", "no class folders"),
        ("one class", "only one class (a)"),
        ("few", "class 'b' has 2 images; the splits need 3 of each class"),
        ("range", "label -1 at index 0 is below 0"),
        ("nan", "NaN or infinite value in image 0"),
    ],
)
def test_errors_of_data(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, case: str, message: str
) -> None:
    source = tmp_path / "source"
    if case == "empty":
        source.mkdir()
    elif case == "one class":
        write_images(source, {"a": 9})
    elif case == "few":
        write_images(source, {"a": 9, "b": 2})
    else:
        source = tmp_path / "source.npz"
        images, labels = np.zeros((12, 8, 8), np.float32), np.arange(12) % 3
        if case == "range":
            labels -= 1
        else:
            images[0, 0, 0] = np.nan
        np.savez(source, images=images, labels=labels)
    assert message in fails(capsys, 1, "find", str(source), *FIND, "--out", str(tmp_path / "r"))
    assert not (tmp_path / "r").exists()


def test_bad_files_are_skipped_when_asked(
    capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path
) -> None:
    (folder / "ant" / "0.png").write_bytes(b"x")
    argv = ["search", str(folder), *SEARCH, "--skip-bad", "--out", str(tmp_path / "r")]
    assert run(capsys, *argv)["genotype"]


def test_no_space_left(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    argv = ["search", "digits", *SEARCH, "--out", str(tmp_path / "r")]
    monkeypatch.setattr(os, "fsync", full)
    assert "environment.json: no space left on the disk" in fails(capsys, 1, *argv)
    monkeypatch.undo()
    assert run(capsys, *argv)["genotype"]
