"""What the code cites is in the repository: sections of docs/methods.md, documents, results.

And what the scripts of results/ import is in the package.
"""

import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
METHODS = ROOT / "docs" / "methods.md"
NUMBER = r"\d+(?:\.\d+)?"
SECTIONS = re.compile(rf"methods\.md,?(?: sections?)? ({NUMBER}(?:(?:, | and | to ){NUMBER})*)")
DOCUMENT = re.compile(r"[\w./-]*\w\.(?:md|pdf|rst)\b")
IMPORT = re.compile(r"^from (edarts[\w.]*) import ([\w, ]+)", re.MULTILINE)
FOLDER = re.compile(r"\b(?:results|docs|benchmarks)/[\w*./-]*[\w*]")


def texts(*folders: str) -> Iterator[tuple[str, str]]:
    """Name and text of each file, lines and the comment signs before them joined."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".py", ".toml", ".html"):
                text = path.read_text(encoding="utf-8")
                yield str(path.relative_to(ROOT)), re.sub(r"\s*\n\s*(?:#\s*)?", " ", text)


def cited(text: str) -> Iterator[str]:
    """The sections of methods.md that a text names; `0 to 2` are three."""
    for match in SECTIONS.finditer(text):
        for part in re.split(r", | and ", match[1]):
            first, _, last = part.partition(" to ")
            yield from map(str, range(int(first), int(last) + 1)) if last else (first,)


def headings() -> set[str]:
    text = METHODS.read_text(encoding="utf-8")
    return set(re.findall(rf"^##+ ({NUMBER})\.? ", text, re.MULTILINE))


def test_citations_are_found() -> None:
    text = "methods.md sections 0 to 2 and 5, methods.md, section 0.2 or methods.md 15; methods.md"
    assert list(cited(text)) == ["0", "1", "2", "5", "0.2", "15"]


def test_sections_exist() -> None:
    known = headings()
    assert {"0", "0.2", "1", "18"} <= known
    wrong = [
        f"{name}: methods.md section {section}"
        for name, text in texts("src", "tests")
        if name != "tests/test_citations.py"
        for section in cited(text)
        if section not in known
    ]
    assert not wrong


def test_some_are_cited() -> None:
    sections = {section for _, text in texts("src") for section in cited(text)}
    assert {"0", "1", "3", "9", "13"} <= sections  # the pattern finds the code's citations


def test_documents_exist() -> None:
    there = {path.name for path in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]}
    for name, text in texts("src"):
        for document in DOCUMENT.findall(text):
            assert Path(document).name in there, f"{name} cites {document}"
        for path in FOLDER.findall(text):
            assert list(ROOT.glob(path)), f"{name} cites {path}"
        assert "design of the project" not in text, name


def test_contents_name_every_section() -> None:
    text = METHODS.read_text(encoding="utf-8")
    contents = text[text.index("Contents:") : text.index("\n---")]
    for section in headings():
        if "." not in section:
            assert re.search(rf"\b{section} \w", contents), section


@pytest.mark.parametrize("word", ["/work", "golden/", "reference/", "session", "edarts-slides.txt"])
def test_methods_speak_of_public_sources(word: str) -> None:
    assert word not in METHODS.read_text(encoding="utf-8")


def test_imports_of_results_exist() -> None:
    scripts = [p for p in (ROOT / "results").rglob("*") if p.suffix in (".py", ".sh")]
    found = [m.groups() for p in scripts for m in IMPORT.finditer(p.read_text(encoding="utf-8"))]
    assert len(found) >= 5
    for module, names in found:
        for name in names.split(", "):
            try:
                importlib.import_module(f"{module}.{name}")
            except ModuleNotFoundError:
                assert hasattr(importlib.import_module(module), name), f"{module} has no {name}"
