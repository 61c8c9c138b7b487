"""One line of progress per phase, on a terminal or in a log."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from edarts.errors import escaped

if TYPE_CHECKING:
    from rich.live import Live

LOG_SECONDS = 15.0  # between two lines where there is no terminal


def clock(seconds: float) -> str:
    """12.3 -> `0:12`, 4000 -> `1:06:40`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def tell(text: str) -> None:
    """Print a result on stdout, at once; a name in it cannot steer the terminal."""
    print(escaped(text, keep="\n"), flush=True)


class Progress:
    """Shows how far a phase is, on stderr; `quiet` shows nothing, but with `notes` what changes the
    meaning of the numbers.

    On a terminal the line is redrawn; elsewhere a line is printed every 15 seconds and at the end
    of the phase.
    """

    def __init__(self, quiet: bool = True, notes: bool = False) -> None:
        from rich.console import Console  # which takes a while that --help need not wait

        self.quiet, self.notes = quiet, notes
        self.console = Console(stderr=True, highlight=False, soft_wrap=False)
        self._live: Live | None = None
        self._printed = 0.0
        self._line = ""
        self._open = False  # whether a phase is shown
        self._whole: Callable[[], str] | None = None

    @contextmanager
    def whole(self, text: Callable[[], str]) -> Iterator[None]:
        """All phases inside the block share one line, which ends with the text."""
        self._whole = text
        try:
            with self.phase():
                yield
        finally:
            self._whole = None

    def say(self, text: str) -> None:
        """Print a line that stays on the screen."""
        if not self.quiet:
            self._print(text)

    def note(self, text: str) -> None:
        """Print a line that a reader of the numbers has to know."""
        if self.notes or not self.quiet:
            self._print(text)

    def warn(self, text: str) -> None:
        """Print a warning that stays on the screen, even when quiet."""
        self._print(f"warning: {text}", style="yellow")

    def _print(self, line: str, style: str | None = None) -> None:
        from rich.text import Text

        self.console.print(Text(escaped(line)), soft_wrap=True, style=style)

    @contextmanager
    def phase(self) -> Iterator[None]:
        """Everything `update` shows inside the block is one line; phases inside it share it."""
        if self._open:
            yield
            return
        from rich.live import Live

        self._open = True
        self._line, self._printed = "", time.monotonic()
        live = not self.quiet and self.console.is_terminal
        self._live = Live(console=self.console, refresh_per_second=4) if live else None
        try:
            if self._live is not None:
                self._live.start()
            yield
        finally:
            self._open = False
            if self._live is not None:
                self._live.stop()
                self._live = None
            elif self._line and not self.quiet:
                print(self._line, file=sys.stderr, flush=True)

    def update(self, line: str) -> None:
        """Replace the line that tells how far the phase is."""
        if self.quiet:
            return
        line = f"{line}  {self._whole()}" if self._whole is not None else line
        self._line = line = escaped(line)
        if self._live is not None:
            from rich.text import Text

            self._live.update(Text(line, overflow="fold"))
        elif time.monotonic() - self._printed > LOG_SECONDS:
            self._printed, self._line = time.monotonic(), ""
            print(line, file=sys.stderr, flush=True)
