"""The blocks of docs/ are run, as those of the README are."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from edarts.cli.main import main

DOCS = Path(__file__).parents[1] / "docs"


def blocks(language: str) -> list[str]:
    text = (DOCS / "blackbox.md").read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.S)


def test_shell_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = [line for block in blocks("sh") for line in block.strip().splitlines()]
    assert len(lines) == 2
    for line in lines:
        _, *argv = shlex.split(line)
        assert main([*argv, "--quiet"]) == 0, line


def test_every_sampler_in_a_plain_study(tmp_path: Path) -> None:
    (code,) = blocks("python")
    out = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True
    ).stdout
    assert len(out.splitlines()) == 6
