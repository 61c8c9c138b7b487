"""A ledger that is damaged, on a full disk, begun by several at once, or behind a password."""

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import optuna
import pytest

from edarts import EdartsError
from edarts.errors import again, masked
from edarts.methods.blackbox import ledger
from methods.blackbox.planted import evolution, search
from support import fails

SEARCH = ["search", "digits", "--limit", "60", "--method", "random_search", "--topology", "01 01"]
SEARCH += ["--operations", "skip_connect,sep_conv_3x3", "--epochs", "1", "--cells", "2"]
SEARCH += ["--channels", "4", "--device", "cpu", "--quiet", "--json"]
SECRET = "hunter2/%40x"


def test_a_damaged_ledger_names_its_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    damaged = tmp_path / "ledger.db"
    damaged.write_bytes(b"SQLite format 3\0" + bytes(range(256)) * 20)
    sampler = optuna.samplers.RandomSampler(0)
    with pytest.raises(EdartsError) as own:
        ledger.open_study(f"sqlite:///{damaged}", "test", sampler, alone=True)
    assert str(own.value).startswith(f"{damaged}: the ledger cannot be used: ")
    assert "--storage" not in str(own.value)
    assert "put back a copy of it, or give another --out" in str(own.value)
    line = fails(
        capsys, 1, *SEARCH, "--storage", f"sqlite:///{damaged}", "--out", str(tmp_path / "r")
    )
    assert f"--storage sqlite:///{damaged}: cannot be used: " in line


def test_a_full_disk_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """SQLite's own error, as it comes when no page can be added."""
    write_ahead = ledger._write_ahead

    def small(connection: Any, record: object) -> None:
        write_ahead(connection, record)
        connection.execute("PRAGMA max_page_count=70")

    monkeypatch.setattr(ledger, "_write_ahead", small)
    url = f"sqlite:///{tmp_path}/ledger.db"
    words = f"{tmp_path}/ledger.db: no space left on the disk; free some and repeat the command"
    with pytest.raises(EdartsError, match=words), ledger.ledger_errors(url, alone=True):
        search(evolution(200), storage=url)


OPEN = """
import sys, time
import optuna
from edarts.methods.blackbox.ledger import open_study
sampler = optuna.samplers.RandomSampler(0)
print("ready", flush=True)
sys.stdin.readline()
study = open_study(sys.argv[1], "test", sampler)
study.tell(study.ask(), 0.5)
"""


def test_searches_that_begin_at_once_share_a_new_ledger(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    command = [sys.executable, "-c", OPEN, url]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, **pipes) for _ in range(4)]
    for process in both:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    for process in both:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in both:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    study = ledger.open_study(url, "test", optuna.samplers.RandomSampler(0))
    assert len(study.trials) == 4


def test_only_a_race_is_waited_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tries = 0

    def fails_twice(*arguments: Any) -> Any:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise optuna.exceptions.StorageInternalError("database is locked")
        return opened(*arguments)

    opened = ledger._open
    monkeypatch.setattr(ledger, "_open", fails_twice)
    sampler = optuna.samplers.RandomSampler(0)
    assert ledger.open_study(f"sqlite:///{tmp_path}/a.db", "test", sampler).study_name == "test"
    assert tries == 3
    with pytest.raises(EdartsError, match="no/folder"):
        ledger.open_study("sqlite:////no/folder/a.db", "test", sampler)
    assert tries == 4


def test_passwords_are_masked() -> None:
    for text, shown in (
        ("postgresql+psycopg://ann:a:b/c@d@host:5/x", "postgresql+psycopg://ann:***@host:5/x"),
        ("mysql://ann@host/x?password=s3&ssl=1", "mysql://ann@host/x?password=***&ssl=1"),
        ("sqlite:////a/b.db", "sqlite:////a/b.db"),
        ("ray://head:10001", "ray://head:10001"),
    ):
        assert masked(f"see {text} there") == f"see {shown} there"
        assert again(["search", "--storage", text]).replace("'", "") == (
            f"edarts search --storage {shown}"
        )


def test_a_password_is_nowhere_in_output_and_files(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In the error of a server that is not there, and after a search on one that is."""
    url = f"postgresql+psycopg://ann:{SECRET}@127.0.0.1:1/x"
    out = tmp_path / "r"
    line = fails(capsys, 1, *SEARCH, "--storage", url, "--out", str(out))
    assert "--storage postgresql+psycopg://ann:***@127.0.0.1:1/x: cannot be used: " in line
    opened = ledger._open

    def elsewhere(url: str, *rest: Any) -> Any:
        return opened(f"sqlite:///{tmp_path}/there.db", *rest)

    monkeypatch.setattr(ledger, "_open", elsewhere)
    from edarts.cli.main import main

    assert main([*SEARCH[:-2], "--json", "--trials", "1", "--storage", url, "--out", str(out)]) == 0
    said = capsys.readouterr()
    assert "ann:***@127.0.0.1:1/x, study" in said.out and '"storage": "postgresql' in said.out
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 5
    for part in (SECRET, "hunter2"):
        assert part not in said.out + said.err + line
        assert not any(part.encode() in content for content in written)


def test_ctrl_c_tells_no_password(tmp_path: Path) -> None:
    """The command that continues a search, said after an interruption."""
    url = f"sqlite:///{tmp_path}/ledger.db?password={SECRET}"
    code = (
        "import sys; from edarts.methods.blackbox import ledger; opened = ledger._open;"
        f"ledger._open = lambda url, *rest: opened('sqlite:///{tmp_path}/there.db', *rest);"
        "from edarts.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    argv = [*SEARCH[:-2], "--trials", "1000", "--storage", url, "--out", str(tmp_path / "r")]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    metrics = tmp_path / "r" / "metrics.jsonl"
    patience = time.monotonic() + 300
    while not (metrics.exists() and metrics.read_text()) and time.monotonic() < patience:
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 130, said
    assert "to continue: edarts search" in said and "password=***" in said
    assert "hunter2" not in said
