"""`python -m faults.soak OUT`: a black-box search of 2,000 trials whose processes are killed.

One of its two Ray workers is killed every 20 seconds, the driver every 2 minutes, and begun again.
At the end every trial has one score, the best is that of a search left alone, and the memory over
time is drawn in OUT/soak.png. Each look is a line of OUT/soak.jsonl; a stopped soak goes on, and
one that has ended, with its OUT/soak.json, is not done again.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from faults.measure import revision
from faults.runs import BLACK_BOX
from faults.trials import EAGER

LONGER = ["--epochs", "12"]  # a trial takes half a second: a driver that begins again takes ten
WORKER, DRIVER, LOOK = 20.0, 120.0, 2.0  # seconds


def begin(out: Path, trials: int) -> "subprocess.Popen[bytes]":
    words = [*BLACK_BOX[:-1], str(trials), *LONGER, "--workers", "2", "--out", str(out)]
    env = os.environ | EAGER
    return subprocess.Popen(
        [sys.executable, "-m", "edarts", *words], start_new_session=True, env=env
    )


def family(pid: int) -> dict[int, tuple[str, float]]:
    """A process and all that it began: the command and MiB of each."""
    known: dict[int, tuple[int, str, float]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
            command = (
                (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            )
            status = (folder / "status").read_text().split("VmRSS:")[1].split()[0]
        except (OSError, IndexError):
            continue
        known[int(folder.name)] = int(parent), command, float(status) / 1024
    found, new = {pid}, {pid}
    while new := {one for one, (parent, *_) in known.items() if parent in new} - found:
        found |= new
    return {one: known[one][1:] for one in found if one in known}


def disturbed(out: Path, trials: int, told: Path) -> None:
    """Search with kills, to the end; tells in a file, at each look, what was killed and the MiB."""
    seconds = float(looks(told)[-1]["seconds"]) if told.exists() else 0.0
    process, start = begin(out, trials), time.monotonic()
    next_worker, next_driver = start + WORKER, start + DRIVER
    while process.poll() not in (0, 1, 2):
        time.sleep(LOOK)
        now = time.monotonic()
        if process.poll() in (-signal.SIGKILL, 130):
            process = begin(out, trials)
        members = family(process.pid)
        line = {"seconds": round(seconds + now - start, 1), "revision": revision(),
                "all": round(sum(m for _, m in members.values()), 1), "killed": "",
                "driver": round(members.get(process.pid, ("", 0.0))[1], 1)}  # fmt: skip
        workers = [pid for pid, (command, _) in members.items() if command.startswith("ray::_call")]
        if now > next_worker and workers:
            os.kill(workers[0], signal.SIGKILL)
            line["killed"], next_worker = "worker", now + WORKER
        elif now > next_driver:
            os.killpg(process.pid, signal.SIGKILL)
            line["killed"], next_driver = "driver", now + DRIVER
        with told.open("a") as file:
            file.write(json.dumps(line) + "\n")
    assert process.returncode == 0, process.returncode


def looks(told: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in told.read_text().splitlines()]


def scores(out: Path) -> dict[str, float]:
    """Trial -> its score; raises AssertionError if one has two."""
    found: dict[str, float] = {}
    for text in (out / "metrics.jsonl").read_text().splitlines():
        line = json.loads(text)
        if line["state"] == "complete":
            assert line["trial"] not in found, f"trial {line['trial']} has two scores"
            found[line["trial"]] = line["score"]
    return found


def draw(lines: list[dict[str, Any]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.5))
    axis = figure.add_subplot(xlabel="minutes", ylabel="MiB")
    for name, label in (("all", "all processes"), ("driver", "the driver")):
        some = [line for line in lines if line[name]]
        minutes = [line["seconds"] / 60 for line in some]
        axis.plot(minutes, [line[name] for line in some], label=label)
    axis.set_ylim(bottom=0)
    axis.legend()
    figure.savefig(path, dpi=150, bbox_inches="tight")


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "edarts-soak")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    given.work.mkdir(parents=True, exist_ok=True)
    told, ended = given.out / "soak.jsonl", given.out / "soak.json"
    if ended.exists():
        print(json.dumps(json.loads(ended.read_text())))
        return
    disturbed(given.work / "killed", given.trials, told)
    assert begin(given.work / "alone", given.trials).wait() == 0
    alone, found, lines = scores(given.work / "alone"), scores(given.work / "killed"), looks(told)
    draw(lines, given.out / "soak.png")
    kinds = ("worker", "driver")
    answer = {
        "killed": {kind: sum(line["killed"] == kind for line in lines) for kind in kinds},
        "minutes": round(lines[-1]["seconds"] / 60),
        "trials": len(found),
        "as_alone": sum(found.get(trial) == score for trial, score in alone.items()),
        "best": max(found.values()),
        "best_alone": max(alone.values()),
        "revision": revision(),
    }
    ended.write_text(json.dumps(answer, indent=2) + "\n")
    print(json.dumps(answer))


if __name__ == "__main__":
    run()
