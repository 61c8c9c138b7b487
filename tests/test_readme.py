"""The README's blocks are run: `sh` and `python` ones; `console` ones take hours."""

import itertools
import re
import shlex
from pathlib import Path

import pytest

from edarts import registry
from edarts.cli.main import main
from edarts.cli.parser import Given
from edarts.cli.verbs import VERBS
from processes import Forked
from support import write_images

README = Path(__file__).parents[1] / "README.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), re.S)


@pytest.mark.processes
def test_shell_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_images(tmp_path / "photos", {"cat": 10, "dog": 10})
    monkeypatch.chdir(tmp_path)
    lines = [line for block in blocks("sh") for line in block.strip().splitlines()]
    assert len(lines) == 12
    for line in lines:
        program, *argv = shlex.split(line)
        assert program == "edarts"
        assert main([*argv, "--quiet"]) == 0, line


@pytest.mark.processes
def test_python_block(tmp_path: Path) -> None:
    (code,) = blocks("python")
    (tmp_path / "block.py").write_text(code)
    process = Forked([str(tmp_path / "block.py")], tmp_path)
    assert process.wait() == 0, process.err
    assert "normal 2:" in process.out


def test_console_options_exist(capsys: pytest.CaptureFixture[str]) -> None:
    """The long commands parse: they fail only for want of the data."""
    for line in "".join(blocks("console")).strip().splitlines():
        _, *argv = shlex.split(line)
        assert main(argv) == 1
        assert "no such file" in capsys.readouterr().err


def test_flags_exist() -> None:
    """Every flag that the README names is one of some verb, method or study."""
    known = {"help", "version", "print-completion"}
    methods = [*registry.names("methods"), *registry.names("samplers")]
    for verb in VERBS:
        kinds = registry.names("studies") if verb == "study" else [""]
        kinds = [f"--format={n}" for n in registry.names("exports")] if verb == "export" else kinds
        asked = methods if verb == "search" else ["darts"]
        for kind, method in itertools.product(kinds, asked):
            words = [kind, "--method", method] if verb == "search" else [kind]
            options = VERBS[verb].parser(verb, Given(words)).options
            known |= {name.replace("_", "-") for name in options}
    text = README.read_text(encoding="utf-8")
    named = set(re.findall(r"--([a-z][a-z.-]*[a-z])\b(?!\.)", text))
    assert len(named) > 30
    assert named <= known


def test_methods_are_listed() -> None:
    text = README.read_text(encoding="utf-8")
    for name in [*registry.names("methods"), *registry.names("samplers"), *VERBS]:
        assert re.search(rf"[`\s]{name}\b", text), name


def test_set_up_commands_stand_at_the_top() -> None:
    top = README.read_text(encoding="utf-8")[:1200]
    assert "`make demo`" in top
    assert "`make test`" in top
