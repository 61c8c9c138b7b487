"""What the documentation site makes by itself: the page of the commands, a page a notebook."""

import json
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from edarts import registry
from edarts.cli.parser import Given
from edarts.cli.verbs import VERBS
from edarts.config.options import Option, of_plugin

ABOUT = """# Commands

This page is made from the parsers of the command line when the site is built; `edarts VERB --help`
says the same. An underscore in the name of an option may be typed as a dash or as an underscore.
"""
OF_PLUGINS = "methods", "samplers", "spaces", "recipes", "studies", "exports"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page of the commands, and a page for each notebook, beside which it lies."""
    files.append(File.generated(config, "commands.md", content="\n".join(commands())))
    for file in [file for file in files if file.src_uri.endswith(".ipynb")]:
        page = file.src_uri.replace(".ipynb", ".md")
        files.append(File.generated(config, page, content=notebook(Path(str(file.abs_src_path)))))
    return files


def notebook(path: Path) -> str:
    """The cells of a notebook as a page, with the notebook to load down."""
    parts = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        text = "".join(cell["source"])
        parts.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
    parts.append(f"[This page as a notebook]({path.name})")
    return "\n\n".join(parts)


def commands() -> Iterator[str]:
    """The lines of the page."""
    yield ABOUT
    for name, verb in VERBS.items():
        parser = verb.parser(name, Given([]))
        yield f"## edarts {name}\n\n{_sentence(verb.help)}\n"
        yield f"```text\n{parser.usage}\n```\n"
        yield from _tables(parser.options.items())
    yield "## Options of plug-ins\n\nA verb takes them when it is given the plug-in's name.\n"
    for group in OF_PLUGINS:
        for name in registry.names(group):
            options = {option.name: option for option in of_plugin(group, name)}
            if options:
                yield from _tables(options.items())


def _tables(options: Iterable[tuple[str, Option]]) -> Iterator[str]:
    """A table for each owner of options."""
    for owner, mine in groupby(options, key=lambda item: item[1].owner):
        yield f"### {owner}\n\n| option | takes | what it is |\n|---|---|---|"
        for name, option in mine:
            flag = f"`--{name.replace('_', '-')}`"
            yield f"| {flag} | {_cell(option.takes[0])} | {_cell(option.help)} |"
        yield ""


def _cell(text: Any) -> str:
    return " ".join(str(text).split()).replace("|", "\\|").replace("*", "\\*")


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
