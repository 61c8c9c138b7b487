"""A real PostgreSQL as ledger, found on this machine and started here."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from methods.blackbox.planted import evolution, search

pytest.importorskip("psycopg")


def programs() -> Path | None:
    """The folder of PostgreSQL's own programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    name = shutil.which("initdb") or (str(found[-1]) if found else None)
    return Path(name).parent if name else None


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[str]:
    """URL of a new, empty database of a server that lives as long as the test."""
    folder = programs()
    if folder is None:
        pytest.skip("PostgreSQL's initdb is not on this machine")
    data = tmp_path / "data"
    # The server refuses to run as root.
    user = "nobody" if os.geteuid() == 0 else None
    if user is not None:
        data.mkdir()
        shutil.chown(data, user)
        for part in (tmp_path, *tmp_path.parents):
            if part.owner() == "root" and part != Path("/tmp") and str(part) != "/":
                part.chmod(0o755)

    def call(*command: str) -> None:
        subprocess.run(command, user=user, cwd=data.parent, check=True, capture_output=True)

    call(str(folder / "initdb"), "-D", str(data), "-U", "edarts", "-A", "trust", "--no-sync")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = f"-p {port} -k '' -h 127.0.0.1 -F"
    log = str(data / "log")
    call(str(folder / "pg_ctl"), "-D", str(data), "-o", options, "-l", log, "-w", "start")
    try:
        yield f"postgresql+psycopg://edarts@127.0.0.1:{port}/postgres"
    finally:
        call(str(folder / "pg_ctl"), "-D", str(data), "-m", "immediate", "stop")


def test_two_searches_share_a_ledger_in_postgresql(postgres: str) -> None:
    plain = search(evolution(15))
    first = search(evolution(15), storage=postgres)
    assert first == plain
    second = search(evolution(25), storage=postgres, seed=1)
    assert second[:15] == first and len(second) == 25
