"""The README's blocks are run: `sh` and `python` ones; `console` ones take hours."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from edarts.cli.main import main
from support import write_images

README = Path(__file__).parents[1] / "README.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), re.S)


@pytest.mark.processes
def test_shell_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_images(tmp_path / "photos", {"cat": 10, "dog": 10})
    monkeypatch.chdir(tmp_path)
    lines = [line for block in blocks("sh") for line in block.strip().splitlines()]
    assert len(lines) == 10
    for line in lines:
        program, *argv = shlex.split(line)
        assert program == "edarts"
        assert main([*argv, "--quiet"]) == 0, line


def test_python_block(tmp_path: Path) -> None:
    (code,) = blocks("python")
    out = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert "normal 2:" in out.stdout


def test_console_options_exist(capsys: pytest.CaptureFixture[str]) -> None:
    """The long commands parse: they fail only for want of the data."""
    for line in "".join(blocks("console")).strip().splitlines():
        _, *argv = shlex.split(line)
        assert main(argv) == 1
        assert "no such file" in capsys.readouterr().err


def test_set_up_commands_stand_at_the_top() -> None:
    top = README.read_text(encoding="utf-8")[:1200]
    assert "`make demo`" in top
    assert "`make test`" in top
