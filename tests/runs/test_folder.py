"""The run folder: atomic, locked, refused when the config differs, named when damaged."""

import errno
import json
from pathlib import Path

import pytest
import torch

from edarts import EdartsError
from edarts.runs import folder as run
from edarts.runs.folder import Run, open_run

SETTINGS = {"epochs": 3, "data": "digits", "train": {"size": "full"}}


def test_same_settings_resume_and_others_are_refused(tmp_path: Path) -> None:
    with open_run(tmp_path / "r", SETTINGS) as opened:
        opened.save("search", {"x": torch.arange(3)})
    with open_run(tmp_path / "r", SETTINGS) as opened:
        assert torch.equal(opened.states()["search"]["x"], torch.arange(3))
    with (
        pytest.raises(EdartsError, match=r"epochs: 3 in the run, 4 now.*--out"),
        open_run(tmp_path / "r", SETTINGS | {"epochs": 4}),
    ):
        pass
    # an option that a later version has, not given, is no other config
    with open_run(tmp_path / "r", SETTINGS | {"new": None, "train": {"size": "full", "new": None}}):
        pass
    with (
        pytest.raises(EdartsError, match=r"train.size: full in the run, shallow now.*--out"),
        open_run(tmp_path / "r", SETTINGS | {"train": {"size": "shallow"}}),
    ):
        pass
    environment = json.loads((tmp_path / "r" / "environment.json").read_text())
    assert environment["versions"]["torch"] == torch.__version__
    if (Path(__file__).parents[2] / ".git").exists():  # a clone, or another working tree of one
        assert len(environment["revision"]) == 40


def test_a_second_process_is_kept_out(tmp_path: Path) -> None:
    with (
        open_run(tmp_path, SETTINGS),
        pytest.raises(EdartsError, match="another process"),
        open_run(tmp_path, SETTINGS),
    ):
        pass


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with (
        pytest.raises(EdartsError, match=r"thesis\.tex"),
        open_run(tmp_path, SETTINGS),
    ):
        pass


def test_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    for content in (b"", b"garbage", b"PK\x03\x04 cut off"):
        (tmp_path / "checkpoint.pt").write_bytes(content)
        with pytest.raises(EdartsError, match=r"checkpoint\.pt: damaged checkpoint"):
            Run(tmp_path).states()


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    torch.save({"search": Path}, tmp_path / "checkpoint.pt")
    with pytest.raises(EdartsError, match="damaged"):
        Run(tmp_path).states()


def test_full_disk_keeps_the_old_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Run(tmp_path)
    kept.save("search", {"epoch": 1})

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(run.os, "fsync", full)
    with pytest.raises(EdartsError, match="no space left on the disk"):
        kept.save("search", {"epoch": 2})
    assert Run(tmp_path).states()["search"]["epoch"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_rewind_drops_later_and_broken_lines(tmp_path: Path) -> None:
    opened = Run(tmp_path)
    for epoch in range(4):
        opened.record(phase="search", epoch=epoch)
    opened.record(phase="train", epoch=0)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"phase": "tr')
    opened.rewind("search", 2)
    lines = [json.loads(x) for x in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(x["phase"], x["epoch"]) for x in lines] == [
        ("search", 0),
        ("search", 1),
        ("train", 0),
    ]
