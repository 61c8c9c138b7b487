"""Small data sets on disk, the real one where it is at hand, and what keeps the tests quick."""

import gc
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# The problems here are tiny: a thread each, as many tests at once as there are cores (pytest -n).
os.environ["OMP_NUM_THREADS"] = os.environ["NUMBA_NUM_THREADS"] = "1"

import pytest

from edarts import registry
from edarts.reporting import drawing, plots
from support import blank, write_images

CIFAR10 = Path(os.environ.get("EDARTS_DATA", "../shared/data")) / "cifar10"


@pytest.fixture
def cifar10() -> Path:
    """CIFAR-10; tests that need it are skipped where it is absent."""
    if not CIFAR10.exists():
        pytest.skip(f"{CIFAR10} is absent")
    return CIFAR10


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of three class folders, ten images each."""
    return write_images(tmp_path / "animals", {"ant": 10, "bee": 10, "cat": 10})


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins first, so that no core waits for it at the end."""
    items.sort(key=lambda item: item.get_closest_marker("processes") is None)


def pytest_collection_finish() -> None:
    """What is imported by now stays to the end: each later collection would look at all of it."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def blank_pictures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are drawn by matplotlib in the tests of pictures alone: a fifth of all time."""
    if request.node.get_closest_marker("pictures") is None:
        monkeypatch.setattr(plots, "draw", blank)
        monkeypatch.setattr(drawing, "png", lambda picture: b"blank")


@pytest.fixture(autouse=True)
def nothing_handed_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test hands to the registry is known to that test alone."""
    monkeypatch.setattr(registry, "_handed_in", {})
    monkeypatch.setattr(registry, "_used", {})


# -- a browser for pages ---------------------------------------------------------------------------


def chromium() -> str | None:
    """$EDARTS_CHROMIUM, or what is installed."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    return os.environ.get("EDARTS_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Headless Chromium; where there is none the test is skipped."""
    playwright = pytest.importorskip("playwright.sync_api")
    program = chromium()
    if program is None:
        pytest.skip("no Chromium here; install one (Debian: apt-get install chromium)")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def visit(browser: Any) -> Iterator[Any]:
    """Opens a page from disk; at the end no error, and no request but for the page, was seen.

    `refused`: what the policy of the page refuses is no error.
    """
    errors: list[str] = []
    requests: list[str] = []
    opened = []

    def visit(path: Path, width: int = 1280, refused: bool = False) -> Any:
        tab = browser.new_page(viewport={"width": width, "height": 800}, offline=True)
        if not refused:
            tab.on("console", lambda message: errors.append(message.text))
        tab.on("pageerror", lambda error: errors.append(str(error)))
        tab.on("dialog", lambda dialog: errors.append(dialog.message))
        tab.on("request", lambda request: requests.append(request.url))
        tab.goto(path.as_uri())
        opened.append(path.as_uri())
        return tab

    yield visit
    assert not errors
    assert requests == opened
