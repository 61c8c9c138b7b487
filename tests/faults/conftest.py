"""A run that was trained and evaluated once, for each test a copy of its own."""

import shutil
from pathlib import Path

import pytest

from edarts.cli.main import main
from faults.runs import TRAIN


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("original") / "run"
    assert main([*TRAIN, "--valid-fraction", "0.6", "--out", str(out)]) == 0
    assert main(["evaluate", str(out), "--quiet"]) == 0
    return out


@pytest.fixture
def trained(original: Path, tmp_path: Path) -> Path:
    """What `again` made."""
    return Path(shutil.copytree(original, tmp_path / "run"))


@pytest.fixture
def again(trained: Path) -> list[str]:
    """The command that made the run."""
    return [*TRAIN, "--valid-fraction", "0.6", "--out", str(trained)]
