"""Disks that fill up, and other shortages: refused in one line, and once mended the verb goes on.

A small disk is a tmpfs of its own, which only root can mount; without it those tries are left out.
"""

import os
import random
import shutil
import subprocess
from pathlib import Path

from faults.trials import ALONE, PATIENCE, Verbs, judged

FULL = ["ENOSPC", "EROFS", "EMFILE", "EDQUOT"]  # at a file event
SMALL = ["MiB", "inodes", "read-only"]  # of a disk
FEW = ["descriptors", "memory"]  # of the process
FAULTS = [*FULL, *FEW, *(SMALL if os.geteuid() == 0 else ())]


class Disks:
    """Each try begins a verb with a fault, lifts it, and begins it again."""

    def __init__(self, work: Path) -> None:
        self.work, self.verbs = work, Verbs(work)

    def __call__(self, number: int) -> dict[str, object]:
        name, rng = ALONE[number % len(ALONE)], random.Random(number)
        fault = FAULTS[number // len(ALONE) % len(FAULTS)]
        self.verbs.straight(name)
        folder = self.work / f"disk-{number}"
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "disk").mkdir(parents=True)
        root, size = folder / "disk" / "run", self.size(fault, name, rng)
        begin = self.small if fault in SMALL else self.short
        try:
            first, result, told = begin(name, root, fault, size)
        finally:
            if fault in SMALL:
                subprocess.run(["umount", folder / "disk"], check=True)
            shutil.rmtree(folder, ignore_errors=True)
        ended = {"first": first, "result": result, **({"told": told} if told else {})}
        return {"verb": name, "fault": fault, "size": size, **ended}

    def size(self, fault: str, name: str, rng: random.Random) -> int:
        """How much there is, or at which file event the fault begins."""
        if fault in FULL:
            return rng.randint(1, self.verbs.events[name])
        return rng.randint(*{"MiB": (1, 8), "inodes": (3, 40), "descriptors": (0, 8),
                             "memory": (0, 60), "read-only": (0, 0)}[fault])  # fmt: skip

    def short(self, name: str, root: Path, fault: str, size: int) -> tuple[str, str, str]:
        """How it ends with the fault and then without, and what it told where that is wrong."""
        process = self.verbs.begin(name, root, fault, size)
        code = process.wait(PATIENCE)
        return self.mended(name, root, judged(code, process.err), f"{code}: {process.err}")

    def small(self, name: str, root: Path, fault: str, size: int) -> tuple[str, str, str]:
        """The same on a small disk."""
        limits = {"MiB": f"size={size}m", "inodes": f"nr_inodes={size}", "read-only": "ro"}
        disk = root.parent
        subprocess.run(["mount", "-t", "tmpfs", "-o", limits[fault], "none", disk], check=True)
        process = self.verbs.begin(name, root, cwd=disk.parent)
        code = process.wait(PATIENCE)
        first = judged(code, process.err)
        more = "remount,rw,size=64m,nr_inodes=10000"
        subprocess.run(["mount", "-o", more, disk], check=True)
        return self.mended(name, root, first, f"{code}: {process.err}")

    def mended(self, name: str, root: Path, first: str, told: str) -> tuple[str, str, str]:
        """After the fault has been lifted."""
        result, later = self.verbs.end(name, root)
        if first == "wrong":
            return first, first, told[-300:]
        return first, result, later
