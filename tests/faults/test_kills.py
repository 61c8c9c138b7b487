"""A kill at any event of its files changes nothing of what a run ends with."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from edarts.cli.main import main
from edarts.runs import stop as stops
from edarts.runs.folder import Run
from faults.faulty import Killed, faults
from faults.runs import TRAIN, artefacts
from processes import Forked


def test_killed_at_file_events(tmp_path: Path) -> None:
    """A training that is killed twice, each time after some event, ends as undisturbed."""
    with faults(tmp_path) as layer:
        assert main([*TRAIN, "--out", str(tmp_path / "straight")]) == 0
    straight = artefacts(tmp_path / "straight")
    assert len(layer.events) > 30

    def killed(out: Path, at: int) -> None:
        with faults(out, at):
            main([*TRAIN, "--out", str(out)])
            raise Killed  # the second time there were fewer events

    for at in (1, 3, 6, 9, len(layer.events) // 2, len(layer.events) - 8):
        out = tmp_path / f"at-{at}"
        for again in (at, 1 + at // 2):
            with pytest.raises(Killed):
                killed(out, again)
        assert main([*TRAIN, "--out", str(out)]) == 0, layer.events[at - 1]
        assert artefacts(out) == straight, layer.events[at - 1]


def test_an_epoch_is_told_once_without_a_checkpoint(tmp_path: Path) -> None:
    """Killed after an epoch's line and before the first checkpoint."""
    out = tmp_path / "run"
    run = Run(out)
    assert main([*TRAIN, "--out", str(out)]) == 0
    told = (out / "metrics.jsonl").read_text()
    (out / "checkpoint.pt").unlink()
    run.record(phase="train", epoch=7)
    with (out / "metrics.jsonl").open("a") as file:
        file.write('{"phase": "tra')
    assert main([*TRAIN, "--out", str(out)]) == 0
    epochs = [
        json.loads(line)["epoch"] for line in (out / "metrics.jsonl").read_text().splitlines()
    ]
    assert epochs == [json.loads(line)["epoch"] for line in told.splitlines()]


@pytest.mark.pictures
def test_drawings_are_made_again(tmp_path: Path) -> None:
    """One that was cut off, and one of another architecture."""
    out = tmp_path / "run"
    assert main([*TRAIN, "--out", str(out)]) == 0
    whole = {name: (out / name).read_bytes() for name in ("cell.svg", "cell.png", "report.html")}
    for name, content in whole.items():
        (out / name).write_bytes(content[: len(content) // 2])
        assert main([*TRAIN, "--out", str(out)]) == 0
        assert name == "report.html" or (out / name).read_bytes() == content
        assert (out / name).read_bytes().endswith(content[-8:])
    (out / "genotype.json").touch()
    (out / "cell.svg").write_bytes(b"<svg>another</svg>\n")
    later = time.time_ns() + 10**9
    os.utime(out / "genotype.json", ns=(later, later))
    assert main([*TRAIN, "--out", str(out)]) == 0
    assert (out / "cell.svg").read_bytes() == whole["cell.svg"]


def test_a_killed_export_leaves_nothing(tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert main([*TRAIN, "--out", str(out)]) == 0
    export = ["export", str(out), "--quiet"]
    with faults(out) as layer:
        assert main(export) == 0
    whole = {path.name for path in out.iterdir()}
    for at in (1, len(layer.events) // 2, len(layer.events)):
        (out / "model.pt2").unlink(missing_ok=True)
        with pytest.raises(Killed), faults(out, at):
            main(export)
        assert main(export) == 0
        assert {path.name for path in out.iterdir()} == whole, layer.events[at - 1]


def test_who_listens_outermost_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with stops.Stop().listening() as outer:
        with stops.Stop().listening() as inner:
            os.kill(os.getpid(), signal.SIGTERM)
        assert inner.requested and outer.requested
        with stops.Stop().listening() as next_one:
            assert next_one.requested
    with stops.Stop().listening() as other:
        assert not other.requested


def test_sigterm_where_nobody_listens() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), stops.terminable():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


STUDY = ["study", "depth", "digits", "--limit", "60", "--quiet", "--seeds", "3", "--cells", "1,2",
         "--search.epochs", "2", "--search.channels", "4", "--search.batch-size", "16",
         "--search.operations", "skip_connect,sep_conv_3x3",
         "--train.epochs", "2", "--train.channels", "4", "--train.batch-size", "16"]  # fmt: skip
COMPARE = ["compare", "digits", "--limit", "60", "--quiet", "--seeds", "3", "--methods", "darts",
           "--random-cells", "2", "--search.cells", "1", "--train.cells", "1",
           *STUDY[10:]]  # fmt: skip
BLACK_BOX = ["search", "digits", "--limit", "60", "--quiet", "--method", "random_search",
             "--trials", "60", "--cells", "1", "--channels", "4", "--epochs", "1",
             "--batch-size", "16"]  # fmt: skip


@pytest.mark.processes
@pytest.mark.parametrize(
    ("argv", "number"),
    [
        (STUDY, signal.SIGTERM),
        pytest.param(COMPARE, signal.SIGINT, marks=pytest.mark.slow),
        (BLACK_BOX, signal.SIGTERM),
    ],
)
def test_a_stop_reaches_the_outermost_verb(
    argv: list[str], number: signal.Signals, tmp_path: Path
) -> None:
    """Asked to stop when the second run, or a trial, is under way: exit 130, and not at the end."""
    out = tmp_path / "out"
    process = Forked(["-m", "edarts", *argv, "--out", str(out)], tmp_path)
    marks = ("ledger.jsonl", "ledger.db", "metrics.jsonl")
    while process.poll() is None and not any((out / mark).exists() for mark in marks):
        time.sleep(0.05)
    assert process.poll() is None, process.err
    process.send_signal(number)
    assert process.wait() == 130, process.err
    assert f"to continue: edarts {argv[0]}" in process.err
