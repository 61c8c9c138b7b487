"""A stop reaches the verb with Ray and under torchrun, whoever of its processes is told."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from faults.runs import BLACK_BOX, FIND, STUDY
from faults.soak import family
from faults.trials import EAGER

TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
SECONDS = 240
Asked = Callable[["subprocess.Popen[str]"], None]


def the_process(process: "subprocess.Popen[str]") -> None:
    """As a scheduler of a cluster asks."""
    process.terminate()


def the_group(process: "subprocess.Popen[str]") -> None:
    """As Ctrl-C in a terminal."""
    os.killpg(process.pid, signal.SIGINT)


def begin(words: list[str], cwd: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, *words],
        cwd=cwd,
        env=os.environ | EAGER | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def stopped(
    process: "subprocess.Popen[str]", under_way: Callable[[], bool], ask: Asked
) -> tuple[int, str]:
    """Its exit code and what it told, once it was asked to stop; nothing that it began is left."""
    end = time.monotonic() + SECONDS
    try:
        while not under_way():
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < end
            time.sleep(0.05)
        begun = family(process.pid)
        ask(process)
        told = process.communicate(timeout=SECONDS)[1]
        while left := [begun[pid] for pid in begun if alive(pid)]:
            assert time.monotonic() < end, left
            time.sleep(0.1)
        return process.returncode, told
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def alive(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def lines(path: Path) -> int:
    return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("ask", [the_process, the_group])
def test_a_black_box_search_with_ray(ask: Asked, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    out = tmp_path / "out"
    words = ["-m", "edarts", *BLACK_BOX[:-1], "100", "--workers", "2", "--out", str(out)]
    code, told = stopped(begin(words, tmp_path), lambda: lines(out / "metrics.jsonl") > 2, ask)
    assert code == 130, told
    assert "search: stopped after" in told and "to continue: edarts search" in told
    ended = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert 3 <= len(ended) < 100
    assert {line["state"] for line in ended} == {"complete"}  # none was thrown away


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("ask", [the_process, the_group])
def test_a_study_with_ray(ask: Asked, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    out = tmp_path / "out"
    many = [word if word != "1" else "9" for word in STUDY]
    words = ["-m", "edarts", *many, "--workers", "2", "--out", str(out)]
    code, told = stopped(begin(words, tmp_path), lambda: lines(out / "ledger.jsonl") > 0, ask)
    assert code == 130, told
    assert "study: stopped after" in told and "to continue: edarts study" in told


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("ask", [the_process, the_group])
def test_under_torchrun(ask: Asked, tmp_path: Path) -> None:
    """Both processes end at the same step, one tells it, and the same command goes on there.

    What torchrun itself exits with and tells, it decides.
    """
    out = tmp_path / "out"
    at = FIND.index("--epochs") + 1
    long = [*FIND[:at], "300", *FIND[at + 1 :]]
    words = [*TORCHRUN, "-m", "edarts", *long, "--out", str(out)]
    code, told = stopped(begin(words, tmp_path), lambda: lines(out / "metrics.jsonl") > 1, ask)
    assert code != 0
    assert told.count("to continue: torchrun --nproc-per-node 2 -m edarts find") == 1, told
    assert "is gone" not in told and "(a bug" not in told
    before = lines(out / "metrics.jsonl")
    assert before < 300 and (out / "checkpoint.pt").exists()
    code, told = stopped(begin(words, tmp_path), lambda: lines(out / "metrics.jsonl") > before, ask)
    kept = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in kept] == list(range(len(kept)))
