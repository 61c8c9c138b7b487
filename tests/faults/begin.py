"""`python -m faults.begin FAULT NUMBER ROOT WORDS`: edarts WORDS with a fault, in ROOT or at all.

FAULT: `none`; `count`, which tells in ROOT.events how many file events there were; `kill`, or a
name of an errno, from file event NUMBER on; `descriptors` or `memory`: no more than NUMBER more of
them (of MiB) than the start needs.
"""

import errno
import os
import resource
import signal
import sys
from pathlib import Path

from faults.faulty import faults


def kill(name: str) -> BaseException:
    os.kill(os.getpid(), signal.SIGKILL)
    return SystemExit(name)


def refuse(name: str) -> BaseException:
    number = getattr(errno, fault)
    return OSError(number, os.strerror(number), name)


def limit(kind: int, number: int) -> None:
    resource.setrlimit(kind, (number, resource.getrlimit(kind)[1]))


def virtual() -> int:
    """Bytes of addresses that this process has now."""
    pages = Path("/proc/self/statm").read_text().split()[0]
    return int(pages) * resource.getpagesize()


os.setsid()  # so that what it begins can be killed with it
fault, number, root, words = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:]
at = None if fault in ("none", "count", "descriptors", "memory") else number
with faults(root, at, kill if fault == "kill" else refuse) as layer:
    from edarts.cli.main import main

    if fault == "descriptors":
        limit(resource.RLIMIT_NOFILE, len(os.listdir("/proc/self/fd")) + number)
    if fault == "memory":
        limit(resource.RLIMIT_AS, virtual() + number * 2**20)
    code = main(words)
if fault == "count":
    root.with_name(f"{root.name}.events").write_text(str(len(layer.events)))
sys.exit(code)
