"""The wheel holds all that is needed: its commands work without the clone."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import edarts

ROOT = Path(__file__).parents[1]


def pip(*words: str) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), ".")
    (found,) = folder.glob("*.whl")
    return found


@pytest.mark.processes
def test_what_it_holds(wheel: Path) -> None:
    """Every file of the package, and the version that the package says."""
    assert wheel.name == f"edarts-{edarts.__version__}-py3-none-any.whl"
    package = ROOT / "src" / "edarts"
    files = {
        path.relative_to(package.parent).as_posix()
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert len(files) > 200
    assert files - set(zipfile.ZipFile(wheel).namelist()) == set()


@pytest.mark.slow
@pytest.mark.parametrize(
    "typed",
    [
        "zoo list",
        "find digits --epochs 1 --limit 100 --candidates found,linear --out run",
        "report run",
        "bench step --rounds 1",
    ],
)
def test_it_runs_without_the_clone(wheel: Path, typed: str) -> None:
    """From a folder of its own, with the libraries of this environment."""
    installed, place = wheel.parent / "installed", wheel.parent / "place"
    place.mkdir(exist_ok=True)
    if not installed.exists():
        pip("install", "--no-deps", "--target", str(installed), str(wheel))
    env = {**os.environ, "PYTHONPATH": str(installed)}
    where = "import edarts; print(edarts.__file__)"
    for words in (["-c", where], ["-m", "edarts", *typed.split()]):
        done = subprocess.run(
            [sys.executable, *words],
            env=env,
            cwd=place,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        if words[0] == "-c":
            assert Path(done.stdout.strip()).is_relative_to(installed)
