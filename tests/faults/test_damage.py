"""Damaged files are refused by name, and what the error says to do helps."""

import json
import os
import random
import re
from pathlib import Path

import pytest
from safetensors.torch import load_file, save

from edarts.cli.main import main
from edarts.errors import EdartsError, UsageError
from edarts.nn.kernels import cache, compiled
from edarts.runs.folder import Run, read_metrics, reading
from edarts.studies.ledger import LEDGER, append, read_ledger
from edarts.studies.row import Row
from faults.mutations import mutated
from faults.runs import TRAIN, artefacts
from support import fails

READERS = {  # a file that is loaded again -> a verb that does
    "checkpoint.pt": "again",
    "config.yaml": "evaluate",
    "genotype.json": "train",
    "model.json": "evaluate",
    "model.safetensors": "evaluate",
    "calibration.safetensors": "evaluate",
    "predictions.npz": "report",
    "pictures-train.json": "report",
}


def flip(path: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


@pytest.mark.parametrize("name", READERS)
def test_a_flipped_bit_is_refused_by_name(
    name: str, trained: Path, again: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    words = {
        "again": again,
        "evaluate": ["evaluate", str(trained)],
        "train": ["train", str(trained), "digits"],
        "report": ["report", str(trained), str(trained)],
    }[READERS[name]]
    whole, rng = (trained / name).read_bytes(), random.Random(name)
    for _ in range(5):
        flip(trained / name, rng)
        assert f"{name}: damaged" in fails(capsys, 1, *words)
        (trained / name).write_bytes(whole)


@pytest.mark.parametrize("digests", [True, False])
@pytest.mark.parametrize("cut", ["model.safetensors", "model.json", "calibration.safetensors"])
def test_the_command_that_made_it_mends_a_model(
    cut: str, digests: bool, trained: Path, again: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = artefacts(trained)
    whole = (trained / cut).read_bytes()
    (trained / cut).write_bytes(whole[: len(whole) // 2])
    if not digests:  # as older versions left it
        (trained / "digests.json").unlink()
    assert "damaged" in fails(capsys, 1, "evaluate", str(trained))
    assert main(again) == 0
    assert artefacts(trained) == before
    assert main(["evaluate", str(trained), "--quiet"]) == 0


@pytest.mark.pictures
@pytest.mark.parametrize("name", ["checkpoint.pt", "genotype.json", "data.npz"])
def test_what_is_deleted_is_made_again(
    name: str, trained: Path, again: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = artefacts(trained)
    flip(trained / name, random.Random(0))
    if name != "data.npz":
        line = fails(capsys, 1, *again)
        assert f"{name}: damaged" in line and "delete it and repeat the run's command" in line
    (trained / name).unlink()
    assert main(again) == 0
    assert artefacts(trained) == before


def test_a_change_that_is_meant(
    trained: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    config = trained / "config.yaml"
    config.write_text(config.read_text() + "flip: false\n")
    line = fails(capsys, 1, "evaluate", str(trained))
    assert "config.yaml: damaged" in line and "delete digests.json" in line
    (trained / "digests.json").write_text("[")
    assert "digests.json: damaged" in fails(capsys, 1, "evaluate", str(trained))
    (trained / "digests.json").unlink()
    assert main(["evaluate", str(trained), "--quiet"]) == 0


def test_a_value_of_the_wrong_type_is_named(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (trained / "digests.json").unlink()
    config = trained / "config.yaml"
    text = config.read_text()
    for line, message in {
        "limit: abc": "limit must be a whole number, got 'abc'",
        "skip_bad: 3": "skip_bad must be true or false, got 3",
        "data: 5": "data is 5",
        "test_fraction: [1]": "test_fraction must be a number, got [1]",
        "seed: 2020-01-01": "seed is datetime.date",
    }.items():
        key = line.split(":")[0]
        config.write_text(re.sub(rf"^{key}: .*$", line, text, flags=re.MULTILINE))
        code = 2 if "must be" in message else 1
        assert message in (told := fails(capsys, code, "evaluate", str(trained)))
        assert str(trained) in told
    with pytest.raises(UsageError, match=r"^v: a bad value"), reading("v"):  # which is in it
        raise UsageError("a bad value")


def test_a_damaged_row_of_a_study(tmp_path: Path) -> None:
    for seed in range(3):
        append(tmp_path, Row(f"run-{seed}", {"cells": 2}, seed, valid_accuracy=0.5, run="runs/a"))
    ledger = tmp_path / LEDGER
    lines = ledger.read_text().splitlines(keepends=True)
    ledger.write_text(lines[0] + lines[1].replace("0.5", "0.9") + lines[2])
    with pytest.raises(EdartsError, match=r"ledger.jsonl: damaged: line 2.*delete the line"):
        read_ledger(tmp_path)
    ledger.write_text(lines[0] + lines[2])
    assert list(read_ledger(tmp_path)) == ["run-0", "run-2"]
    ledger.write_text('{"name": "old", "seed": 0, "status": "done"}\n')  # of an older version
    assert list(read_ledger(tmp_path)) == ["old"]


def test_a_line_of_metrics_that_is_none(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    metrics = trained / "metrics.jsonl"
    for odd in ("[1]", "{}", '{"phase": 3, "epoch": 0}', '{"phase": "train", "epoch": "x"}'):
        text = metrics.read_text()
        metrics.write_text(f"{text}{odd}\n")
        line = fails(capsys, 1, "report", str(trained))
        assert "metrics.jsonl: damaged: line 3" in line and "delete the line" in line
        metrics.write_text(text)
    assert main(["report", str(trained)]) == 0
    assert len(read_metrics(trained)) == 2


ODDS = "config.yaml environment.json metrics.jsonl model.json genotype.json pictures-train.json"


@pytest.mark.parametrize("name", ODDS.split())
def test_odd_contents_end_in_one_line(
    name: str, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As older runs, whose files have no digests; a part of what `make test-faults` tries."""
    (trained / "digests.json").unlink()
    whole, rng = (trained / name).read_bytes(), random.Random(name)
    for _ in range(12):
        (trained / name).write_bytes(content := mutated(whole, name, rng))
        evaluates = name in ("model.json", "config.yaml") and rng.random() < 0.3
        code = main(["evaluate" if evaluates else "report", str(trained)])
        told = capsys.readouterr().err
        assert code in (0, 1, 2), content
        assert "(a bug" not in told and "Traceback" not in told, (told, content)
        assert code == 0 or len(told.splitlines()) == 1, (told, content)
        (trained / "digests.json").unlink(missing_ok=True)


def test_a_lock_that_is_a_link(
    trained: Path, again: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    other.write_text("kept")
    (trained / ".lock").unlink(missing_ok=True)
    (trained / ".lock").symlink_to(other)
    assert ".lock: a link" in fails(capsys, 1, *again)
    assert other.read_text() == "kept"


def test_own_unfinished_files_never_block(
    tmp_path: Path, original: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = tmp_path / "begun"
    begun.mkdir()
    for name in (".lock", "environment.json.new", "config.yaml.new", "digests.json.new"):
        (begun / name).write_text("{")
    for name in ("environment.json", "digests.json"):
        (begun / name).write_bytes((original / name).read_bytes())
    assert main([*TRAIN, "--out", str(begun)]) == 0
    other = tmp_path / "other"
    other.mkdir()
    (other / "environment.json").write_text('{"name": "conda"}')  # somebody else's
    assert "holds other files (environment.json)" in fails(capsys, 1, *TRAIN, "--out", str(other))


@pytest.mark.parametrize("argv", [["--cells", "1000000"], ["--channels", "1000000"]])
def test_sizes_beyond_reason(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    words = [word for word in TRAIN if word not in ("--cells", "--channels", "1", "4")]
    line = fails(capsys, 2, *words, *argv)
    assert "must be between 1 and 1000" in line or "at least" in line


def test_json_of_brackets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("g.json", "c.yaml"):
        (tmp_path / name).write_bytes(b"[" * 100_000)
    assert "g.json: damaged" in fails(capsys, 1, "train", str(tmp_path / "g.json"), "digests")
    assert "c.yaml: cannot be read" in fails(
        capsys, 1, "train", "darts.v1", "--config", str(tmp_path / "c.yaml")
    )


# -- compiled loops ------------------------------------------------------------------------------


def test_a_damaged_cache_of_loops_is_compiled_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numba = pytest.importorskip("numba")
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "cache"))
    source = tmp_path / "mine.py"
    source.write_text("import numba\n@numba.njit(cache=True)\ndef twice(x): return 2 * x\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    told: list[str] = []

    def twice() -> object:
        import importlib
        import sys

        sys.modules.pop("mine", None)
        module = importlib.import_module("mine")
        cache.guard([module], told.append)
        assert module.twice(3) == 6
        return module.twice

    assert not twice().stats.cache_hits
    assert twice().stats.cache_hits and not told
    (file,) = (tmp_path / "cache").rglob("*.loop")
    whole = file.read_bytes()
    for content in (whole[: len(whole) // 2], b"", whole[:-1] + b"\0"):
        file.write_bytes(content)
        cache._told.clear()
        assert not twice().stats.cache_hits
        assert "damaged; deleted, and compiled again" in told.pop()
        assert twice().stats.cache_hits
    # a folder that others may write to is not used, but one of this user's own
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own"))
    file.parent.chmod(0o777)
    assert not twice().stats.cache_hits
    assert list((tmp_path / "own").rglob("*.loop"))
    (tmp_path / "own" / "edarts" / "loops").chmod(0o770)
    assert not twice().stats.cache_hits
    assert compiled.load_loops().moments._cache._cache_file.__class__ is cache.Checked


def test_a_change_of_one_module_compiles_all_that_call_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numba = pytest.importorskip("numba")
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "outside.py").write_text(
        "import numba\nfrom inside import one\n"
        "@numba.njit(cache=True)\ndef two(): return one() + 1\n"
    )

    def two(one: int) -> tuple[int, bool]:
        import importlib
        import sys

        (tmp_path / "inside.py").write_text(
            f"import numba\n@numba.njit(cache=True)\ndef one(): return {one}\n"
        )
        for name in ("inside", "outside"):
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        modules = [importlib.import_module(name) for name in ("inside", "outside")]
        cache.guard(modules)
        return modules[1].two(), bool(modules[1].two.stats.cache_hits)

    assert two(1) == (2, False)
    assert two(1) == (2, True)
    assert two(10) == (11, False)


def test_a_folder_that_cannot_be_written(
    trained: Path,
    again: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An evaluation is told all the same; a training says why it does not go on."""
    real = os.open

    def refused(path: object, flags: int, *rest: int, **named: int) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR) and str(path).startswith(str(trained)):
            raise PermissionError(13, "Permission denied")
        return real(path, flags, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", refused)
    assert "cannot be written: Permission denied" in fails(capsys, 1, *again)
    assert main(["evaluate", str(trained)]) == 0
    assert json.loads((trained / "model.json").read_text())
    assert Run(trained).states()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("mean", ["x"]), ("std", [float("nan")]), ("mean", []), ("image", [1, 8.0, 8])),
        *(("classes", [{}] * 10), ("white", "x"), ("parameters", "x")),
        *(("calibration", {"farthest": {}}), ("calibration", {"images": 30.5})),
    ],
)
def test_a_model_that_tells_odd_values(
    key: str, value: object, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (trained / "digests.json").unlink()
    path = trained / "model.json"
    model = json.loads(path.read_text())
    path.write_text(json.dumps(model | {key: model[key] | value if type(value) is dict else value}))
    assert "damaged model" in fails(capsys, 1, "evaluate", str(trained))


def test_a_model_whose_answers_are_no_numbers(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (trained / "digests.json").unlink()
    weights = trained / "model.safetensors"
    tensors = load_file(weights)
    name = next(name for name, tensor in tensors.items() if tensor.is_floating_point())
    tensors[name].fill_(float("nan"))
    weights.write_bytes(save(tensors))
    for words in (["evaluate"], ["export"]):
        assert "answers are no numbers" in fails(capsys, 1, *words, str(trained))
