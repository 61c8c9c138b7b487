"""Stopping on request: Ctrl-C and SIGTERM end a run after its step, with a checkpoint."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from edarts.runs.processes import world_size


class Stop:
    """Whether the user asked to stop (Ctrl-C, SIGTERM). A second Ctrl-C stops at once."""

    def __init__(self) -> None:
        self.requested = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested and world_size() > 1:
            return  # torchrun passes on what the terminal has sent already
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        print("\nstopping after this step, with a checkpoint ...", file=sys.stderr)

    @contextmanager
    def listening(self) -> Iterator["Stop"]:
        """Take over the signals inside the block; does nothing outside the main thread."""
        try:
            before = {s: signal.signal(s, self._handle) for s in (signal.SIGINT, signal.SIGTERM)}
        except ValueError:
            yield self
            return
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
