"""What each dependency weighs: `python benchmarks/dependencies.py` prints a table.

For each package of `dependencies` in pyproject.toml: MB of its own files, MB that would not be
installed without it, and the seconds of CPU that a new process takes to import it, the least of
three.
"""

import re
import subprocess
import sys
import time
import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

PROJECT = Path(__file__).parents[1] / "pyproject.toml"
MODULES = {"scikit-learn": "sklearn", "pillow": "PIL.Image", "pyyaml": "yaml"}
MODULES |= {"pyarrow": "pyarrow.parquet", "matplotlib": "matplotlib.figure"}


def normal(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def wanted(lines: list[str]) -> list[Requirement]:
    """Those of some requirements that hold on this machine."""
    found = map(Requirement, lines)
    return [one for one in found if one.marker is None or one.marker.evaluate({"extra": ""})]


def brought(roots: list[Requirement]) -> set[str]:
    """The packages that some requirements bring in, themselves among them."""
    names: set[str] = set()
    todo = list(roots)
    while todo:
        one = todo.pop()
        name = normal(one.name)
        if name in names and not one.extras:
            continue
        names.add(name)
        lines = metadata.distribution(name).requires or []
        todo += wanted([line for line in lines if "extra" not in line])
        todo += [Requirement(line.partition(";")[0]) for line in lines
                 if any(f'"{extra}"' in line for extra in one.extras)]  # fmt: skip
    return names


def megabytes(name: str) -> float:
    """The size of a package's files."""
    files = [Path(str(file.locate())) for file in metadata.files(name) or []]
    return sum(file.stat().st_size for file in files if file.is_file()) / 1e6


def seconds(module: str) -> float:
    """The least CPU time of three that a new process takes to import a module."""
    code = f"import time; t = time.process_time(); import {module}; print(time.process_time() - t)"
    command = [sys.executable, "-c", code]
    ran = [subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(3)]
    return min(float(one.stdout) for one in ran)


def main() -> None:
    """Print the table."""
    roots = wanted(tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]["dependencies"])
    sizes = {name: megabytes(name) for name in brought(roots)}
    print(f"{len(sizes)} packages, {sum(sizes.values()):.0f} MB; Python {sys.version.split()[0]},"
          f" {time.strftime('%Y-%m-%d')}")  # fmt: skip
    print(f"{'dependency':20}{'MB':>7}{'saved MB':>9}{'import s':>10}")
    for one in sorted(roots, key=lambda one: -sizes[normal(one.name)]):
        name = normal(one.name)
        alone = brought([one]) - brought([other for other in roots if other is not one])
        took = seconds(MODULES.get(name, name.replace("-", "_")))
        print(f"{name:20}{sizes[name]:7.1f}{sum(sizes[n] for n in alone):9.1f}{took:10.2f}")


if __name__ == "__main__":
    main()
