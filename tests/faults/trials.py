"""What a try of the measurement is made of: a verb begun with a fault, and how it ended."""

import json
import os
import shutil
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

from faults.runs import BLACK_BOX, FIND, RACE, SEARCH, STUDY, TRAIN, artefacts
from processes import Forked

TWO = ["--workers", "2"]
VERBS = {  # each run of which takes a few seconds
    "search": SEARCH,
    "train": TRAIN,
    "find": FIND,
    "race": RACE,
    "black box": BLACK_BOX,
    "study": STUDY,
    "export": ["export"],
    "black box, 2 workers": [*BLACK_BOX, *TWO],
    "study, 2 workers": [*STUDY, *TWO],
}
EAGER = {"RAY_worker_niceness": "0"}  # else Ray's workers give way to all that runs beside them
PATIENCE = 1800.0  # seconds: a try of a few seconds that takes longer hangs
ALONE = [name for name in VERBS if "workers" not in name]
TIMED = {"race": {"race.json", "checkpoint.pt", "found.json"}}  # they hold times, or follow them


def judged(code: int, told: str) -> str:
    """`identical` for success, `refused` for one clean line, else `wrong`."""
    lines = [line for line in told.splitlines() if not line.startswith(("data: ", "warning: "))]
    bad = "(a bug" in told or "Traceback" in told
    if bad or code not in (0, 1, 2, 130):
        return "wrong"
    return "identical" if code == 0 else "refused" if len(lines) == 1 else "wrong"


class Verbs:
    """Begins verbs in folders of their own below `work`, and knows how each ends undisturbed."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self._straight: dict[str, dict[str, Any]] = {}
        self.events: dict[str, int] = {}
        self.seconds: dict[str, float] = {}

    def begin(
        self, name: str, root: Path, fault: str = "none", number: int = 0, cwd: Path | None = None
    ) -> Forked:
        """The verb with its run in `root`, which lies in a folder of its own, as `faults.begin`."""
        root.parent.mkdir(parents=True, exist_ok=True)
        words = [*VERBS[name], "--out", str(root)]
        if name == "export":
            self.straight("train")
            with suppress(OSError):  # a disk that is read-only
                root.mkdir(exist_ok=True)
            words = ["export", str(self._place("train")), "--out", str(root / "model.pt2")]
        given = [fault, str(number), str(root), *words, "--quiet"]
        return Forked(["-m", "faults.begin", *given], cwd or root.parent, EAGER)

    def end(self, name: str, root: Path) -> tuple[str, str]:
        """Undisturbed from here on: `identical` or `wrong`, and what it told."""
        process = self.begin(name, root)
        code = process.wait(PATIENCE)
        told = process.err[-300:]
        if code or judged(code, told) != "identical":
            return "wrong", told
        differ = self.differ(name, root)
        return ("wrong", f"{differ} differ") if differ else ("identical", "")

    def straight(self, name: str) -> dict[str, Any]:
        """What the verb leaves when it is left alone: made once for each folder of work."""
        if name not in self._straight:
            root = self._place(name)
            known = root.with_name("known.json")
            if not known.exists():
                known.write_text(json.dumps(self._alone(name, root)))
            self.events[name], self.seconds[name] = json.loads(known.read_text())
            self._straight[name] = artefacts(root)
        return self._straight[name]

    def _alone(self, name: str, root: Path) -> tuple[int, float]:
        """Do it; the number of its file events, and its seconds of processor time."""
        shutil.rmtree(root.parent, ignore_errors=True)
        seconds, process = 0.0, self.begin(name, root, "count")
        while not process.ended(0.02):
            seconds = max(seconds, worked(process))
        if process.poll():
            raise SystemExit(f"{name}: {process.err}")
        return int(root.with_name(f"{root.name}.events").read_text()), seconds

    def differ(self, name: str, root: Path) -> list[str]:
        """The files that are not as undisturbed."""
        found, expected, aside = artefacts(root), self.straight(name), TIMED.get(name, ())
        names = sorted({*found, *expected} - {*aside})
        return [file for file in names if found.get(file) != expected.get(file)]

    def _place(self, name: str) -> Path:
        return self.work / f"straight-{name.replace(' ', '-').replace(',', '')}" / "run"


def worked(process: Forked) -> float:
    """Seconds of processor time so far: the same part of the work however busy the machine is."""
    try:
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def kill_all(process: Forked) -> None:
    """The process and those that it began."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        process.kill()
