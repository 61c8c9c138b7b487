"""The run folder: atomic, locked, refused when the config differs, named when damaged."""

import errno
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from edarts import EdartsError
from edarts.runs import files
from edarts.runs.folder import Run, open_run, read_settings

SETTINGS = {"epochs": 3, "data": "digits", "train": {"recipe": "darts"}}


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
    with open_run(
        tmp_path / "r", SETTINGS | {"new": None, "train": {"recipe": "darts", "new": None}}
    ):
        pass
    with (
        pytest.raises(EdartsError, match=r"train.recipe: darts in the run, shallow now.*--out"),
        open_run(tmp_path / "r", SETTINGS | {"train": {"recipe": "shallow"}}),
    ):
        pass


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

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(EdartsError, match="no space left on the disk"):
        kept.save("search", {"epoch": 2})
    assert Run(tmp_path).states()["search"]["epoch"] == 1
    assert {p.name for p in tmp_path.iterdir()} == {"checkpoint.pt", "digests.json"}


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


def test_a_folder_of_version_0_1_is_read_and_resumed(tmp_path: Path) -> None:
    """It called the recipe of a training `size`, at the top of `train` and inside of `find`."""
    with open_run(tmp_path, SETTINGS):
        pass
    old = {"epochs": 3, "data": "digits", "train": {"size": "full"}}
    (tmp_path / "digests.json").unlink()  # which it did not have
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(old))
    assert read_settings(tmp_path) == SETTINGS
    with open_run(tmp_path, SETTINGS):
        pass
    (tmp_path / "config.yaml").write_text("size: shallow\n")
    assert read_settings(tmp_path) == {"recipe": "shallow"}


def test_what_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(EdartsError, match="absent: no such run folder"):
        read_settings(tmp_path / "absent")
    with pytest.raises(EdartsError, match=r"has no config\.yaml"):
        read_settings(tmp_path)


def test_reading_a_run_needs_no_torch() -> None:
    """A page can be drawn, and --help printed, without waiting for torch."""
    modules = "folder", "environment", "pool", "processes", "progress", "memory", "stop"
    code = "import sys; " + "".join(f"import edarts.runs.{name}; " for name in modules)
    code += "import edarts.runtime, edarts.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
