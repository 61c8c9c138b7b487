"""`make test-faults`: kills, mutated files, disks that fill up; each try is kept, so it can go on.

`python -m faults.measure OUT [--kills N] [--inputs N] [--disks N] [--work FOLDER]` adds what is
missing to OUT/*.jsonl and prints the table. A try is one line: what was done, and whether it ended
as undisturbed (identical), in one clean line (refused), with what a mutated file says now
(accepted), or in anything else (wrong).
"""

import argparse
import json
import os
import platform
import subprocess
import sysconfig
import tempfile
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path

Line = dict[str, object]
ENDS = ("identical", "refused", "accepted", "wrong")
WANTED = {"inputs": 10_000, "kills": 520, "disks": 252}


def missing(out: Path, name: str, wanted: int) -> list[int]:
    """Tries that OUT/NAME.jsonl has not, or that went wrong at another revision."""
    done = {
        number
        for number, line in read(out / f"{name}.jsonl").items()
        if line["result"] != "wrong" or line["revision"] == revision()
    }
    return [number for number in range(wanted) if number not in done]


def keep(
    out: Path, name: str, numbers: list[int], tries: Callable[[int], Line], work: Path
) -> None:
    """Do these tries, one line of OUT/NAME.jsonl each.

    Where this machine has its packages, and `work`, is left out of what was told.
    """
    (out / "machine.json").write_text(json.dumps(machine(), indent=2) + "\n")
    for number in numbers:
        line = json.dumps({"try": number, "revision": revision(), **tries(number)})
        for place in (work, sysconfig.get_path("purelib")):
            line = line.replace(f"{place}/", "")
        with (out / f"{name}.jsonl").open("a") as file:
            file.write(line + "\n")


def read(path: Path) -> dict[int, Line]:
    """Number of a try -> its last line."""
    lines = path.read_text().splitlines() if path.exists() else []
    return {line["try"]: line for line in map(json.loads, lines)}


# -- the table -----------------------------------------------------------------------------------


def table(out: Path) -> str:
    """What all tries came to: of each kind, of each verb, and of each fault."""
    rows = []
    for path in (out / f"{name}.jsonl" for name in sorted(WANTED)):
        groups: dict[str, list[Line]] = {}
        for line in read(path).values():
            for group in ("all", line["verb"], line.get("fault"), line.get("file")):
                if group is not None:
                    groups.setdefault(str(group), []).append(line)
        for group, some in groups.items():
            ended = Counter(line["result"] for line in some)
            revisions = ", ".join(dict.fromkeys(str(line["revision"]) for line in some))
            counts = len(some), *(ended[result] for result in ENDS)
            rows.append((path.stem, group, *counts, revisions))
    head = ("what", "of", "tries", *ENDS, "revision")
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in [head, ["---"] * len(head), *rows]]
    return "\n".join(lines)


@cache
def revision() -> str:
    """Of the sources that are tried."""
    git = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short=10", "HEAD"]
    return subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()


def machine() -> Line:
    """Where the tries are made, and of what revision the last ones are."""
    from edarts.runs.environment import processor

    return {"revision": revision(), "platform": platform.platform(), "processor": processor(),
            "cores": os.cpu_count(), "python": platform.python_version()}  # fmt: skip


def run() -> None:
    from faults.disks import Disks  # not where the processes of the tries begin, which are as new
    from faults.inputs import Inputs
    from faults.kills import Kills

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    for name, number in WANTED.items():
        parser.add_argument(f"--{name}", type=int, default=number)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "edarts-faults")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    for name, kind in (("inputs", Inputs), ("kills", Kills), ("disks", Disks)):
        if numbers := missing(given.out, name, getattr(given, name)):
            work = given.work / f"{name}-{revision()}"
            work.mkdir(parents=True, exist_ok=True)
            keep(given.out, name, numbers, kind(work), work)
    (given.out / "table.md").write_text(table(given.out) + "\n")
    print(table(given.out))


if __name__ == "__main__":
    run()
