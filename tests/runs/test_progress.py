"""The line of progress, on a terminal and in a log."""

import pytest

from edarts.runs.progress import Progress


def test_progress_line(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(quiet=False)
    with progress.phase():
        progress.update("search 1/2  eta 0:10")
    assert capsys.readouterr().err == "search 1/2  eta 0:10\n"


@pytest.mark.parametrize(
    ("progress", "shown"),
    [
        (Progress(quiet=False), ["said", "noted", "warning: warned"]),
        (Progress(quiet=True, notes=True), ["noted", "warning: warned"]),  # edarts --quiet
        (Progress(), ["warning: warned"]),
    ],
)
def test_quiet_hides_no_note(
    progress: Progress, shown: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with progress.phase():
        progress.update("search 1/2")
    capsys.readouterr()
    progress.say("said")
    progress.note("noted")
    progress.warn("warned")
    assert capsys.readouterr().err.splitlines() == shown


def test_phases_of_a_whole_share_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(quiet=False)
    with progress.whole(lambda: "2:00 left"):
        for name in ("search", "train"):
            with progress.phase():
                progress.update(f"{name} 1/2")
    assert capsys.readouterr().err == "train 1/2  2:00 left\n"
    with progress.phase():
        progress.update("evaluate")
    assert capsys.readouterr().err == "evaluate\n"
