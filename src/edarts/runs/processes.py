"""The processes of one run that torchrun starts: how many there are, and which one writes.

torchrun tells each process by environment variables, so that asking needs neither torch nor
accelerate; only meeting the others does. A process alone is its own main process.
"""

import io
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from edarts.errors import EdartsError

LAST_WORDS = 5.0  # seconds that the main process has to tell why all end


def listen() -> None:
    """Leave the main process time to tell why: torchrun ends it as soon as another has ended."""
    if not is_main():
        time.sleep(LAST_WORDS)


def launcher() -> str:
    """What stands before `edarts` in a command of this run, where torchrun has started it."""
    return f"torchrun --nproc-per-node {world_size()} -m " if world_size() > 1 else ""


def world_size() -> int:
    """How many processes this run has; 1 without torchrun."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """The number of this process, 0..world_size() - 1."""
    return int(os.environ.get("RANK", "0"))


def is_main() -> bool:
    """Whether this is the process that writes files and prints."""
    return rank() == 0


def speak() -> None:
    """Let the main process alone print, and names of files that are no text as escapes."""
    if not is_main():
        sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # not where a test or a notebook listens
            stream.reconfigure(errors="backslashreplace")


def barrier() -> None:
    """Wait until all processes are here. Raises EdartsError if one of them is gone."""
    if world_size() > 1:
        with all_alive():
            group().wait_for_everyone()


def group(cpu: bool | None = None) -> Any:
    """Accelerate's `PartialState`: the group of processes, joined at the first call.

    `cpu`: whether they compute on the CPU though GPUs are there; the first call decides it for
    all, so later ones need not say it.
    """
    from accelerate import PartialState

    with all_alive():
        return PartialState() if cpu is None else PartialState(cpu=cpu)


@contextmanager
def all_alive() -> Iterator[None]:
    """Turns the failure of a collective operation inside the block into an EdartsError."""
    try:
        yield
    except RuntimeError as error:  # torch.distributed's errors are such
        raise EdartsError(
            "another process of this run is gone; the last checkpoint is kept, the same command"
            " continues"
        ) from error
