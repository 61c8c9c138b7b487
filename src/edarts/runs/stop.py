"""Stopping on request: Ctrl-C and SIGTERM end a run after its step, with a checkpoint.

A verb inside another, as a study has many, stops with it: who listens outermost is told too.
"""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from edarts.runs.processes import world_size

_listening: list["Stop"] = []  # the outermost first


class Stop:
    """Whether the user asked to stop (Ctrl-C, SIGTERM). A second Ctrl-C stops at once."""

    def __init__(self) -> None:
        self.requested = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested and world_size() > 1:
            return  # torchrun passes on what the terminal has sent already
        if self.requested:
            raise KeyboardInterrupt
        for stop in _listening:
            stop.requested = True
        print("\nstopping after this step, with a checkpoint ...", file=sys.stderr)

    @contextmanager
    def listening(self) -> Iterator["Stop"]:
        """Take over the signals inside the block; does nothing outside the main thread."""
        try:
            before = {s: signal.signal(s, self._handle) for s in (signal.SIGINT, signal.SIGTERM)}
        except ValueError:
            yield self
            return
        self.requested |= any(stop.requested for stop in _listening)
        _listening.append(self)
        try:
            yield self
        finally:
            _listening.remove(self)
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def kept() -> Iterator[None]:
    """Who listens for the signals still does after the block, whatever a library does in it."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        with suppress(ValueError, TypeError):  # outside the main thread, or none of Python's
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def terminable() -> Iterator[None]:
    """Inside the block SIGTERM does what Ctrl-C does, where nobody listens for either."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # outside the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
