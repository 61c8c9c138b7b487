"""How the package hangs together: its layers, what importing it loads, what it needs and ships."""

import ast
import functools
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from graphlib import TopologicalSorter
from importlib import metadata
from pathlib import Path
from typing import Any

import grimp
import pytest

from edarts import registry

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "edarts"
LIGHT = ("cli", "config", "errors", "registry", "runtime", "space")
TEXTS = {".py", ".md", ".toml", ".html", ".sh"}


@functools.cache
def project() -> Any:
    """pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@functools.cache
def imports() -> dict[str, set[str]]:
    """Each module of edarts -> those of edarts that it imports, inside functions too."""
    graph = grimp.build_graph("edarts", exclude_type_checking_imports=True, cache_dir=None)
    return {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}


def layers() -> list[str]:
    """The layers of the contract that `make lint` checks, uppermost first."""
    contracts = project()["tool"]["importlinter"]["contracts"]
    (contract,) = [c for c in contracts if c["type"] == "layers"]
    assert contract["exhaustive"]  # a new package must be given a layer
    return [str(layer) for layer in contract["layers"]]


def normal(name: str) -> str:
    """A distribution's name as the package index compares it, without version and extras."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=!~; ]", name)[0]).lower()


def texts(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from (path for path in (ROOT / folder).rglob("*") if path.suffix in TEXTS)
    yield from ROOT.glob("*.md")


def test_no_circle_of_imports() -> None:
    assert len(imports()) > 100
    TopologicalSorter(imports()).prepare()  # raises CycleError, which names the modules


def test_contributing_draws_the_layers_of_the_contract() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    first, *_ = re.findall(r"```\n(cli .*?)```", text, re.DOTALL)
    drawn = [line.split("  ")[0] for line in first.splitlines() if not line.startswith(" ")]
    assert drawn == [name for layer in layers() for name in layer.split(" | ")]


@pytest.mark.processes
def test_the_light_packages_load_no_torch() -> None:
    modules = sorted(
        name for name in imports() if name.startswith(tuple(f"edarts.{part}" for part in LIGHT))
    )
    assert "edarts.space.zoo" in modules and "edarts.cli.verbs" in modules
    code = f"import sys, {', '.join(modules)}; print({{'torch', 'numba'}} & set(sys.modules))"
    out = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout
    assert out == "set()\n"


def test_paths_in_texts_lead_to_objects() -> None:
    """Lower layers name objects of higher ones by text, which no other check reads."""
    path = re.compile(r'"(edarts(?:\.\w+)+:\w+(?:\.\w+)*)"')
    found = {p for file in PACKAGE.rglob("*.py") for p in path.findall(file.read_text("utf-8"))}
    assert len(found) > 20
    for one in sorted(found):
        assert registry.locate(one) is not None


def third_party() -> Iterator[str]:
    """The top-level modules that src imports, inside functions too."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [str(node.module)]
            yield from (name.partition(".")[0] for name in names)


def test_what_is_imported_is_declared() -> None:
    extras = project()["project"]["optional-dependencies"]
    for_users = [name for extra, names in extras.items() if extra != "dev" for name in names]
    declared = {normal(name) for name in [*project()["project"]["dependencies"], *for_users]}
    modules = set(third_party()) - sys.stdlib_module_names - {"edarts"}
    assert {"torch", "sqlalchemy", "ray"} <= modules
    homes = metadata.packages_distributions()
    for module in sorted(modules):
        assert declared & set(map(normal, homes[module])), f"{module} is not declared"


def test_what_is_installed_with_it_has_an_exact_version() -> None:
    """constraints.txt names all that pyproject.toml does, so that no resolver picks another."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    exact = {normal(line): line.partition("==")[2] for line in lines if not line.startswith("#")}
    assert all(exact.values())
    extras = project()["project"]["optional-dependencies"].values()
    wanted = [*project()["project"]["dependencies"], *(name for extra in extras for name in extra)]
    assert {normal(name) for name in wanted} - {"edarts"} <= set(exact)


def test_every_file_is_shipped() -> None:
    patterns = project()["tool"]["setuptools"]["package-data"]["edarts"]
    files = [
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and path.suffix != ".py" and "__pycache__" not in path.parts
    ]
    assert "space/zoo.toml" in files
    for file in files:
        assert any(fnmatch(file, pattern) for pattern in patterns), f"{file} is not packaged"
    for pattern in patterns:
        assert any(fnmatch(file, pattern) for file in files), f"there is no {pattern}"
    for path in PACKAGE.rglob("*.py"):
        assert (path.parent / "__init__.py").exists(), f"{path.parent} is no package"


def test_nobody_is_told_to_install_edarts_from_the_index() -> None:
    """The name on the package index is not ours: it would fetch a stranger's package."""
    wrong = re.compile(r"pip\d? install[^\n]*?\s['\"]?edarts\b", re.IGNORECASE)
    assert wrong.search("pip install -U 'edarts[distributed]'")
    assert not wrong.search("pip install -c constraints.txt -e '.[distributed]'")
    for path in texts("src", "docs", "results", "benchmarks"):
        found = wrong.search(path.read_text(encoding="utf-8"))
        assert found is None, f"{path.relative_to(ROOT)}: {found and found[0]}"
