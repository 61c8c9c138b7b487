"""`make test-faults`: kills, mutated files, disks that fill up; each try is kept, so it can go on.

`python -m faults.measure OUT [--kills N] [--inputs N] [--disks N] [--work FOLDER]` adds what is
missing to OUT/*.jsonl and prints the table. A try is one line: what was done, and whether it ended
as undisturbed (identical), in one clean line (refused), or in anything else (wrong).
"""

import argparse
import errno
import io
import json
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from edarts.cli.main import main
from faults.faulty import faults
from faults.mutations import mutated
from faults.runs import BLACK_BOX, FIND, RACE, SEARCH, STUDY, TRAIN, artefacts

HERE = Path(__file__).parent
VERBS = {  # name -> words, and whether a measured time may decide what comes out
    "search": SEARCH,
    "train": TRAIN,
    "find": FIND,
    "race": RACE,
    "black box": BLACK_BOX,
    "study": STUDY,
    "black box, 2 workers": [*BLACK_BOX, "--workers", "2"],
    "study, 2 workers": [*STUDY, "--workers", "2"],
    "export": [],
}
ENDS = ("identical", "refused", "wrong")
UNREPEATABLE = {"race": {"race.json", "checkpoint.pt", "found.json"}}  # they hold times, or follow


def keep(out: Path, name: str, wanted: int, tries: Callable[[int], dict[str, object]]) -> None:
    """Do those of `wanted` tries that OUT/NAME.jsonl has not, one line each.

    Those that went wrong at another revision are done again.
    """
    path, revision = out / f"{name}.jsonl", str(machine()["revision"])[:10]
    done = {
        number
        for number, line in read(path).items()
        if line["result"] != "wrong" or line["revision"] == revision
    }
    for number in range(wanted):
        if number not in done:
            line = {"try": number, "revision": revision, **tries(number)}
            with path.open("a") as file:
                file.write(json.dumps(line) + "\n")


def read(path: Path) -> dict[int, dict[str, object]]:
    """Number of a try -> its last line."""
    lines = path.read_text().splitlines() if path.exists() else []
    return {line["try"]: line for line in map(json.loads, lines)}


def quiet(words: list[str]) -> tuple[int, str]:
    """Exit code and what stands on stderr."""
    err = io.StringIO()
    with redirect_stderr(err), redirect_stdout(io.StringIO()):
        try:
            code = main(words)
        except BaseException as error:
            return -1, f"{type(error).__name__} (a bug): {error}"
    return code, err.getvalue()


def judged(code: int, told: str) -> str:
    """`identical` for success, `refused` for one clean line, else `wrong`."""
    lines = [line for line in told.splitlines() if not line.startswith(("data: ", "warning: "))]
    bad = "(a bug" in told or "Traceback" in told
    if bad or code not in (0, 1, 2, 130):
        return "wrong"
    return "identical" if code == 0 else "refused" if len(lines) == 1 else "wrong"


# -- kills ---------------------------------------------------------------------------------------


class Kills:
    """Each try kills one of the verbs up to three times, and compares how it ends."""

    def __init__(self, work: Path) -> None:
        self.work, self.straight = work, {}
        self.events: dict[str, int] = {}

    def __call__(self, number: int) -> dict[str, object]:
        name = list(VERBS)[number % len(VERBS)]
        rng = random.Random(number)
        expected = self.of(name)
        root = self.work / f"kill-{number}"
        shutil.rmtree(root, ignore_errors=True)
        kills = []
        for _ in range(rng.randint(1, 3)):
            at = rng.randint(1, self.events[name]) if rng.random() < 0.5 else 0
            process = self.start(name, root, at)
            seconds = 0.0
            if not at:
                seconds = round(rng.uniform(0.5, 12), 2)
                try:
                    process.wait(seconds)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            kills.append({"event": at, "seconds": seconds, "code": process.returncode})
        process = self.start(name, root, 0)
        told = process.communicate()[1]
        result = "wrong" if process.returncode else self.compare(name, root, expected)
        shutil.rmtree(root, ignore_errors=True)
        last = told.strip().splitlines()[-1:] if result == "wrong" else []
        return {"verb": name, "kills": kills, "result": result, "told": last}

    def start(self, name: str, root: Path, at: int) -> "subprocess.Popen[str]":
        words = [*VERBS[name], "--out", str(root)]
        if name == "export":
            root.mkdir(exist_ok=True)
            words = ["export", str(self.work / "straight-train"), "--out", str(root / "model.pt2")]
        self.of("train") if name == "export" else None
        return subprocess.Popen(
            [sys.executable, "-m", "faults.killed", str(root), str(at), *words, "--quiet"],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )

    def of(self, name: str) -> dict[str, object]:
        """What the verb leaves when it is left alone."""
        if name not in self.straight:
            root = self.work / f"straight-{name.replace(' ', '-').replace(',', '')}"
            if not root.with_name(f"{root.name}.events").exists():
                shutil.rmtree(root, ignore_errors=True)
                process = self.start(name, root, 0)
                told = process.communicate()[1]
                if process.returncode:
                    raise SystemExit(f"{name}: {told}")
            self.events[name] = int(root.with_name(f"{root.name}.events").read_text())
            self.straight[name] = artefacts(root)
        return self.straight[name]

    def compare(self, name: str, root: Path, expected: dict[str, object]) -> str:
        aside = UNREPEATABLE.get(name, set())
        found = artefacts(root)
        same = {k: v for k, v in found.items() if k not in aside} == {
            k: v for k, v in expected.items() if k not in aside
        }
        return "identical" if same else "wrong"


# -- mutated inputs ------------------------------------------------------------------------------


class Inputs:
    """Each try mutates one file that some verb reads, and reads it in this process."""

    def __init__(self, work: Path) -> None:
        self.work, self.run = work, work / "inputs"
        if not (self.run / "evaluated").exists():
            shutil.rmtree(self.run, ignore_errors=True)
            assert quiet([*TRAIN, "--valid-fraction", "0.6", "--out", str(self.run)])[0] == 0
            assert quiet(["evaluate", str(self.run), "--quiet"])[0] == 0
            (self.run / "evaluated").touch()
        self.cases = list(self._cases())

    def _cases(self) -> Iterator[tuple[str, bytes, list[str]]]:
        """Name of a file, its content, and the words that read it, with FILE and RUN in them."""
        run = self.run
        reads = {
            "config.yaml": "report", "environment.json": "report", "metrics.jsonl": "report",
            "model.json": "evaluate", "genotype.json": "report", "model.safetensors": "evaluate",
            "calibration.safetensors": "evaluate", "predictions.npz": "report",
            "pictures-train.json": "report", "pictures-test.json": "report",
            "data.npz": "evaluate", "digests.json": "evaluate",
        }  # fmt: skip
        for name, verb in reads.items():
            yield name, (run / name).read_bytes(), [verb, "RUN", "--quiet"]
        train = ["train", "darts.v1", "FILE", *TRAIN[3:], "--out", str(self.work / "none")]
        for name, content in self._data().items():
            yield name, content, train
        yield "genotype.json", (run / "genotype.json").read_bytes(), ["zoo", "show", "FILE"]
        yield "checkpoint.pt", (run / "checkpoint.pt").read_bytes(), [
            *TRAIN, "--valid-fraction", "0.6", "--out", "RUN"]  # fmt: skip

    def _data(self) -> dict[str, bytes]:
        import numpy as np
        from PIL import Image

        images = np.random.default_rng(0).integers(0, 256, (12, 9, 9), dtype=np.uint8)
        packed, picture = io.BytesIO(), io.BytesIO()
        np.savez_compressed(packed, images=images, labels=np.arange(12) % 3)
        Image.fromarray(images[0]).save(picture, "PNG")
        return {"data.npz": packed.getvalue(), "x.csv": b"file,label\n" + b"a.png,b\nc.png,d\n" * 6}

    def __call__(self, number: int) -> dict[str, object]:
        rng = random.Random(number)
        name, content, words = self.cases[number % len(self.cases)]
        with tempfile.TemporaryDirectory(dir=self.work) as folder:
            place = Path(folder) / name
            if "RUN" in words:
                shutil.copytree(self.run, Path(folder) / "run")
                place = Path(folder) / "run" / name
                if rng.random() < 0.7 and name != "digests.json":  # as older versions left it
                    (Path(folder) / "run" / "digests.json").unlink()
            place.write_bytes(mutated(content, name, rng))
            names = {"RUN": str(Path(folder) / "run"), "FILE": str(place)}
            start = time.monotonic()
            code, told = quiet([names.get(word, word) for word in words])
        shutil.rmtree(self.work / "none", ignore_errors=True)
        result = judged(code, told)
        if result == "identical":
            result = "right"
        kept = {"told": told[-300:]} if result == "wrong" else {}
        return {"file": name, "verb": words[0], "result": result, **kept,
                "seconds": round(time.monotonic() - start, 2)}  # fmt: skip


# -- disks ---------------------------------------------------------------------------------------

DISKS = {
    "no space": OSError(errno.ENOSPC, "No space left on device"),
    "read-only": OSError(errno.EROFS, "Read-only file system"),
    "few descriptors": OSError(errno.EMFILE, "Too many open files"),
    "quota": OSError(errno.EDQUOT, "Disk quota exceeded"),
}


class Disks:
    """Each try lets the file events of a verb fail from some point on, then lifts the fault."""

    def __init__(self, work: Path) -> None:
        self.work, self.kills = work, Kills(work)

    def __call__(self, number: int) -> dict[str, object]:
        rng = random.Random(number)
        name = ["search", "train", "find", "study"][number % 4]
        kind = rng.choice(list(DISKS))
        expected = self.kills.of(name)
        at = rng.randint(1, self.kills.events[name])
        root = self.work / f"disk-{number}"
        shutil.rmtree(root, ignore_errors=True)
        words = [*VERBS[name], "--out", str(root), "--quiet"]
        with faults(root, at, lambda path: OSError(*DISKS[kind].args, path)):
            code, told = quiet(words)
        first = judged(code, told)
        result = "wrong"
        if first != "wrong" and quiet(words)[0] == 0:
            result = self.kills.compare(name, root, expected)
        shutil.rmtree(root, ignore_errors=True)
        return {"verb": name, "fault": kind, "event": at, "first": first, "result": result,
                **({"told": told[-300:]} if result == "wrong" else {})}  # fmt: skip


# -- the table -----------------------------------------------------------------------------------


def table(out: Path) -> str:
    """What all tries came to."""
    rows = []
    for path in sorted(out.glob("*.jsonl")):
        lines = list(read(path).values())
        groups = {"": lines}
        for line in lines:
            groups.setdefault(str(line.get("verb", "")), []).append(line)
        for group, some in groups.items():
            ended = Counter(line["result"] for line in some)
            same = ended["identical"] + ended["right"]
            counts = len(some), same, ended["refused"], ended["wrong"]
            rows.append((path.stem, group or "all", *counts))
    head = ("what", "verb", "tries", "identical or right", "refused", "wrong")
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in [head, ["---"] * 6, *rows]]
    return "\n".join(lines)


def machine() -> dict[str, object]:
    """Where and of what revision the tries were made."""
    git = subprocess.run(["git", "-C", str(HERE), "rev-parse", "HEAD"], capture_output=True,
                         text=True, check=False)  # fmt: skip
    return {"revision": git.stdout.strip(), "platform": platform.platform(),
            "cores": os.cpu_count(), "python": platform.python_version()}  # fmt: skip


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    for name, number in (("kills", 540), ("inputs", 10_000), ("disks", 200)):
        parser.add_argument(f"--{name}", type=int, default=number)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "edarts-faults")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    given.work.mkdir(parents=True, exist_ok=True)
    (given.out / "machine.json").write_text(json.dumps(machine(), indent=2) + "\n")
    for name, kind in (("inputs", Inputs), ("disks", Disks), ("kills", Kills)):
        if getattr(given, name):
            keep(given.out, name, getattr(given, name), kind(given.work))
    (given.out / "table.md").write_text(table(given.out) + "\n")
    print(table(given.out))


if __name__ == "__main__":
    run()
