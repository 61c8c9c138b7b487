"""`python -m faults.soak OUT`: a black-box search of 2,000 trials whose processes are killed.

One of its two Ray workers is killed every 20 seconds, the driver every 2 minutes, and begun again.
At the end every trial has one score, the best is that of a search left alone, and the memory over
time is drawn in OUT/soak.png.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from faults.runs import BLACK_BOX

WORKER, DRIVER, LOOK = 20.0, 120.0, 2.0  # seconds


def begin(out: Path, trials: int) -> "subprocess.Popen[bytes]":
    words = [*BLACK_BOX[:-1], str(trials), "--workers", "2", "--out", str(out)]
    return subprocess.Popen([sys.executable, "-m", "edarts", *words], start_new_session=True)


def family(pid: int) -> dict[int, tuple[str, float]]:
    """A process and all that it began: the command and MiB of each."""
    known: dict[int, tuple[int, str, float]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            status = (folder / "status").read_text().split("VmRSS:")[1].split()[0]
        except (OSError, IndexError):
            continue
        known[int(folder.name)] = int(parent), command, float(status) / 1024
    found, new = {pid}, {pid}
    while new := {one for one, (parent, *_) in known.items() if parent in new} - found:
        found |= new
    return {one: known[one][1:] for one in found if one in known}


def disturbed(out: Path, trials: int) -> dict[str, object]:
    """Search with kills, to the end; the MiB of all processes at each look."""
    process, start = begin(out, trials), time.monotonic()
    killed = {"workers": 0, "drivers": 0}
    next_worker, next_driver = start + WORKER, start + DRIVER
    memory = []
    while True:
        time.sleep(LOOK)
        now = time.monotonic()
        if process.poll() is not None:
            if process.returncode in (0, 1, 2):
                break
            process = begin(out, trials)
        members = family(process.pid)
        driver = members.get(process.pid, ("", 0.0))[1]
        memory.append((now - start, sum(m for _, m in members.values()), driver))
        workers = [pid for pid, (command, _) in members.items() if command.startswith("ray::")]
        if now > next_worker and workers:
            os.kill(workers[0], signal.SIGKILL)
            killed["workers"] += 1
            next_worker = now + WORKER
        if now > next_driver:
            os.killpg(process.pid, signal.SIGKILL)
            killed["drivers"] += 1
            next_driver = now + DRIVER
    return {"code": process.returncode, "killed": killed, "memory": memory}


def scores(out: Path) -> dict[str, float]:
    """Trial -> its score; raises AssertionError if one has two."""
    found: dict[str, float] = {}
    for text in (out / "metrics.jsonl").read_text().splitlines():
        line = json.loads(text)
        if line["state"] == "complete":
            assert line["trial"] not in found, f"trial {line['trial']} has two scores"
            found[line["trial"]] = line["score"]
    return found


def draw(memory: list[tuple[float, float, float]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.5))
    axis = figure.add_subplot(xlabel="minutes", ylabel="MiB", ylim=(0, None))
    for column, name in ((1, "all processes"), (2, "the driver")):
        axis.plot([m[0] / 60 for m in memory], [m[column] for m in memory], label=name)
    axis.legend()
    figure.savefig(path, dpi=150, bbox_inches="tight")


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--trials", type=int, default=2000)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    work = given.out / "runs"
    assert begin(work / "alone", given.trials).wait() == 0
    told = disturbed(work / "killed", given.trials)
    alone, found = scores(work / "alone"), scores(work / "killed")
    memory = told.pop("memory")
    draw(memory, given.out / "soak.png")  # type: ignore[arg-type]
    answer = {**told, "trials": len(found), "alone": len(alone), "best": max(found.values()),
              "best_alone": max(alone.values())}  # fmt: skip
    (given.out / "soak.json").write_text(json.dumps(answer, indent=2) + "\n")
    print(json.dumps(answer))


if __name__ == "__main__":
    run()
