"""The seconds that a run has taken, in all processes that have worked on it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from edarts.runs.progress import clock

Now = Callable[[], float]
"""Seconds from any moment on, such as `time.monotonic`."""

_command: ContextVar[float | None] = ContextVar("command", default=None)


@contextmanager
def command() -> Iterator[None]:
    """A verb that is called in the block began with it: libraries are loaded meanwhile."""
    token = _command.set(time.monotonic())
    try:
        yield
    finally:
        _command.reset(token)


def begun() -> float:
    """When the verb began that is called now, by `time.monotonic`."""
    began = _command.get()
    return time.monotonic() if began is None else began


class Clock:
    """Counts from `started`, on top of the seconds of earlier processes.

    `limit`: seconds that the run may take in all; None: as many as it needs.
    """

    def __init__(
        self,
        limit: float | None = None,
        now: Now = time.monotonic,
        started: float | None = None,
    ) -> None:
        self.limit, self.now = limit, now
        self.before = 0.0
        self._started = now() if started is None else started

    @property
    def seconds(self) -> float:
        """That the run has taken so far."""
        return self.before + self.now() - self._started

    @property
    def left(self) -> float:
        """Until the limit; infinite without one."""
        return float("inf") if self.limit is None else self.limit - self.seconds

    def describe(self) -> str:
        """How much time is left, or without a limit has passed."""
        if self.limit is None:
            return f"{clock(self.seconds)} so far"
        return f"{clock(max(0.0, self.left))} of {clock(self.limit)} left"

    def at_least(self, seconds: float) -> None:
        """Some part of the run knows that so many have passed."""
        self.before += max(0.0, seconds - self.seconds)
