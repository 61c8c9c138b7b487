"""The blocks of docs/ are run, as those of the README are."""

import re
import shlex
from pathlib import Path

import pytest

from edarts.cli.main import main
from processes import Forked

DOCS = Path(__file__).parents[1] / "docs"


def blocks(language: str, page: str = "blackbox.md") -> list[str]:
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.S)


def test_shell_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = [line for block in blocks("sh") for line in block.strip().splitlines()]
    assert len(lines) == 2
    for line in lines:
        _, *argv = shlex.split(line)
        assert main([*argv, "--quiet"]) == 0, line


@pytest.mark.processes
def test_every_sampler_in_a_plain_study(tmp_path: Path) -> None:
    (code,) = blocks("python")
    (tmp_path / "block.py").write_text(code)
    process = Forked([str(tmp_path / "block.py")], tmp_path)
    assert process.wait() == 0, process.err
    assert len(process.out.splitlines()) == 6


def test_commands_of_exports_parse(capsys: pytest.CaptureFixture[str]) -> None:
    """They fail only for want of the run; tests of exports run the same with one."""
    (block,) = blocks("console", "export.md")
    for line in block.strip().splitlines():
        _, *argv = shlex.split(line)
        assert main(argv) == 1
        assert capsys.readouterr().err == "edarts: error: RUN: no such run folder\n"
