"""The documentation is true: its blocks and notebooks are run, and the site is built strictly."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import edarts
from edarts import registry
from edarts.cli.main import main
from edarts.cli.verbs import VERBS
from processes import Forked
from support import write_images

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(path.name for path in DOCS.glob("*.md"))
NOTEBOOKS = sorted(path.stem for path in DOCS.glob("notebooks/*.ipynb"))


def blocks(page: str, language: str) -> list[str]:
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.S)


def commands(page: str, language: str) -> list[list[str]]:
    """The words of each line, without the program's name."""
    lines = [line for block in blocks(page, language) for line in block.strip().splitlines()]
    return [shlex.split(line)[1:] for line in lines if shlex.split(line)[0] == "edarts"]


def run(code: str, folder: Path) -> str:
    """What the code prints in a process of its own."""
    (folder / "block.py").write_text(code, encoding="utf-8")
    process = Forked([str(folder / "block.py")], folder)
    assert process.wait() == 0, process.err
    return process.out


@pytest.mark.processes
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "sh")])
def test_shell_blocks(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_images(tmp_path / "photos", {"cat": 10, "dog": 10})
    monkeypatch.chdir(tmp_path)
    found = commands(page, "sh")
    assert len(found) == sum(len(block.strip().splitlines()) for block in blocks(page, "sh"))
    for words in found:
        assert main([*words, "--quiet"]) == 0, words


@pytest.mark.processes
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")])
def test_python_blocks(page: str, tmp_path: Path) -> None:
    assert run("\n".join(blocks(page, "python")), tmp_path).strip()


def test_every_sampler_in_a_plain_study(tmp_path: Path) -> None:
    (code,) = blocks("blackbox.md", "python")
    assert len(run(code, tmp_path).splitlines()) == 6


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page, "console")])
def test_console_commands_parse(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those that would take long fail for want of the data alone."""
    monkeypatch.chdir(tmp_path)
    here = [words for words in commands(page, "console") if not any("hf:" in w for w in words)]
    for words in here:
        assert main(words) == 1, words
        missing = "no such file", "no such run folder"
        said = capsys.readouterr().err
        assert any(text in said for text in missing), words


@pytest.mark.processes
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebooks(name: str, tmp_path: Path) -> None:
    """Their cells run one after another, as a reader would run them."""
    cells = json.loads((DOCS / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert len(code) >= 3
    assert run("\n\n".join(code), tmp_path).strip()


def test_every_page_has_its_place() -> None:
    places = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for page in [*PAGES, *(f"notebooks/{name}.md" for name in NOTEBOOKS)]:
        assert re.search(rf"\b{re.escape(page)}$", places, re.M), page


@pytest.mark.processes
def test_the_site(tmp_path: Path) -> None:
    """It is built strictly, and its reference names every verb, method and public name."""
    pytest.importorskip("mkdocs", reason="needs the extra docs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir"]
    built = tmp_path / "site"
    done = subprocess.run(
        [*command, str(built)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    reference = (built / "commands" / "index.html").read_text(encoding="utf-8")
    for verb in VERBS:
        assert f"edarts {verb}" in reference
    for name in [*registry.names("methods"), *registry.names("recipes")]:
        assert name in reference
    python = (built / "python" / "index.html").read_text(encoding="utf-8")
    for name in edarts.__all__:
        assert name in python, name
    elsewhere = re.findall(r'(?:src|href)="(https?://[^"]+)"', (built / "index.html").read_text())
    assert not [url for url in elsewhere if url.endswith((".js", ".css"))], elsewhere
    shutil.rmtree(built)
