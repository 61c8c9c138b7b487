"""The line of progress, on a terminal and in a log."""

import pytest

from edarts.runs.progress import Progress


def test_progress_line(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(quiet=False)
    with progress.phase():
        progress.update("search 1/2  eta 0:10")
    assert capsys.readouterr().err == "search 1/2  eta 0:10\n"
