"""A layer of faults between the program and its files: kills, full disks, few descriptors.

Every call that changes a folder is an event: a file opened to write, synced, renamed, deleted, a
folder made. At one of them the fault begins. It needs no privileges and no second process.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
Fault = Callable[[str], BaseException]


class Killed(BaseException):
    """The process is gone: from now on it changes nothing any more."""


class Layer:
    """Counts the events below `root`; from event `at` (1, 2, ...) on every one raises `fault`."""

    def __init__(self, root: Path, at: int | None = None, fault: Fault = Killed) -> None:
        self.root, self.at, self.fault = str(root), at, fault
        self.events: list[str] = []
        self._open: dict[int, str] = {}

    def event(self, what: str, path: Any) -> None:
        name = os.fspath(path) if not isinstance(path, int) else self._open.get(path, "")
        name = name.decode(errors="replace") if isinstance(name, bytes) else name
        if not os.path.abspath(name).startswith(self.root) or not name:
            return
        self.events.append(f"{what} {os.path.relpath(name, self.root)}")
        if self.at is not None and len(self.events) >= self.at:
            raise self.fault(name)


@contextmanager
def faults(root: Path, at: int | None = None, fault: Fault = Killed) -> Iterator[Layer]:
    """The layer is in force while the block lasts."""
    layer = Layer(root, at, fault)

    def wrapped(what: str, real: Any) -> Any:
        def call(path: Any, *rest: Any, **named: Any) -> Any:
            layer.event(what, path)
            return real(path, *rest, **named)

        return call

    def opened(path: Any, flags: int, *rest: Any, **named: Any) -> int:
        if flags & WRITES:
            layer.event("open", path)
        descriptor: int = real_open(path, flags, *rest, **named)
        layer._open[descriptor] = os.fspath(path) if not isinstance(path, int) else ""
        return descriptor

    real_open = os.open
    names = ("fsync", "replace", "rename", "unlink", "mkdir")
    changed = {name: wrapped(name, getattr(os, name)) for name in names}
    with mock.patch.multiple(os, open=opened, **changed):
        yield layer
