"""The page: self-contained and escaped; in headless Chromium it sorts and replays without error."""

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edarts.reporting import page
from edarts.reporting.model import Column, Plot, Series, Summary, Table
from edarts.reporting.stats import Estimate
from edarts.runs.folder import Run
from edarts.space.genotype import Genotype

EVIL = '<script>alert("x")</script>&\'"'
CELL = "2:sep3(0)+skip(1) 3:max3(0)+dil5(2)"
SEARCH = {
    "method": "darts",
    "data": f"photos/{EVIL}",
    "seed": 0,
    "operations": "skip_connect,sep_conv_3x3",
    "topology": "01 12",
}


def folder(path: Path, settings: dict[str, Any]) -> Run:
    path.mkdir()
    (path / "config.yaml").write_text(json.dumps(settings), encoding="utf-8")  # JSON is YAML
    return Run(path)


@pytest.fixture
def search(tmp_path: Path) -> Path:
    """A search of three epochs whose cell changes in each, with classes of hostile names."""
    run = folder(tmp_path / "run", SEARCH)
    for epoch in range(3):
        operation = ("skip", "sep3", "skip")[epoch]
        genotype = Genotype.from_dict(
            dict.fromkeys(("normal", "reduce"), f"2:{operation}(0)+skip(1) 3:skip(1)+skip(2)")
        )
        weights = [[1 - epoch / 4, epoch / 4]] * 4
        run.record(
            phase="search", epoch=epoch, loss=2.0 - epoch, accuracy=0.3 + epoch / 5, seconds=1.5,
            genotype=genotype.to_dict(), weights={"normal": weights, "reduce": weights},
        )  # fmt: skip
    evaluation = {
        "test_accuracy": 0.5,
        "test_accuracy_ci95": [0.4, 0.6],
        "test_images": 100,
        "per_class": {EVIL: 0.25, "bee": 0.75, "cat": None},
    }
    run.write_json("evaluation.json", evaluation)
    return page.write_run(run)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A page with a table to sort, with a value missing, and two plots."""
    run = folder(tmp_path / "study", {"data": "digits"})
    table = Table(
        "Numbers",
        (Column("name"), Column("accuracy", "share"), Column("parameters")),
        [
            ("b", Estimate(0.5, 0.4, 0.6, 3), 900),
            ("c", Estimate(0.75, None, None, 1), 10_000),
            ("a", None, 1_200),
            (EVIL, Estimate(0.25, 0.1, 0.4, 3), 80),
        ],
    )
    plots = [
        Plot("few", "Few", "x", "y", [Series("s", [1, 2], [3.0, 4.0], ["first", EVIL], line=True)]),
        Plot(
            "words", "Words", "x", "y",
            [Series("a", ["p", "q"], [Estimate(1, 0, 2, 3), 2.0]), Series("b", ["q"], [1.0])],
        ),
    ]  # fmt: skip
    cells = {EVIL: Genotype.from_dict({"normal": CELL, "reduce": CELL})}
    summary = Summary(f"Study of {EVIL}", [f"It says {EVIL}"], [table], plots, cells)
    return page.write_study(run, summary, {"r": {"name": "r", "status": "done"}})


def test_pages_hold_everything_and_escape_what_is_foreign(search: Path, study: Path) -> None:
    for path in (search, study):
        text = path.read_text(encoding="utf-8")
        assert EVIL not in text
        assert "<script>alert" not in text
        assert "&lt;script&gt;alert(" in text
        loads = re.findall(r"""(?:src|href|url\()\s*=?\s*["']?(?:https?:)?//""", text)
        assert not loads
        assert "<link" not in text
        assert len(text) < 5_000_000
    for name in ("few", "words"):
        assert (study.parent / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
    assert {p.name for p in search.parent.glob("*.png")} == {
        "search-accuracy.png",
        "search-loss.png",
    }


def test_the_same_files_give_the_same_page(study: Path, tmp_path: Path) -> None:
    plot = Plot("few", "Few", "x", "y", [Series("s", [1, 2], [3.0, 4.0])])
    assert page.draw(plot) == page.draw(plot)


def test_a_cell_names_each_operation_once_an_edge() -> None:
    genotype = Genotype.from_dict({"normal": CELL, "reduce": CELL})
    svg = page.cell_svg(genotype.edges("normal"), genotype.concat("normal"))
    labels = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    assert sorted(labels) == sorted(
        ["c[k-2]", "c[k-1]", "2", "3", "c[k]", "sep3", "skip", "max3", "dil5"]
    )


# -- in a browser --------------------------------------------------------------------------------


def chromium() -> str | None:
    """$EDARTS_CHROMIUM, or what is installed."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    return os.environ.get("EDARTS_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
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
    """Opens a page from disk; at the end no error, and no request but for the page, was seen."""
    errors: list[str] = []
    requests: list[str] = []
    opened = []

    def visit(path: Path, width: int = 1280) -> Any:
        tab = browser.new_page(viewport={"width": width, "height": 800}, offline=True)
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


def test_tables_sort_both_ways_with_gaps_last(visit: Any, study: Path) -> None:
    tab = visit(study)
    table = tab.locator("table.sortable").first

    def names() -> list[str]:
        return [text[:1] for text in table.locator("tbody tr td:first-child").all_inner_texts()]

    assert names() == ["b", "c", "a", "<"]
    head = table.locator("th button")
    head.nth(1).click()
    assert names() == ["<", "b", "c", "a"]
    head.nth(1).click()
    assert names() == ["c", "b", "<", "a"]
    head.nth(2).click()  # numbers, not texts: 80 before 10,000
    assert names() == ["<", "b", "a", "c"]
    assert table.locator("th").nth(2).get_attribute("aria-sort") == "ascending"
    assert table.locator("th").nth(1).get_attribute("aria-sort") is None
    head.nth(0).click()
    assert names()[1:] == ["a", "b", "c"]


def test_points_say_what_they_are(visit: Any, study: Path) -> None:
    tab = visit(study)
    tip = tab.locator("#tip")
    assert not tip.is_visible()
    points = tab.locator("#points-few-0 use")
    points.nth(0).hover()
    assert tip.inner_text() == "first"
    points.nth(1).hover()
    assert tip.inner_text() == EVIL  # as text, not as markup
    tab.locator("#points-words-0 use").nth(1).hover()
    assert tip.inner_text() == "a: q, 2"


def test_the_slider_replays_the_search(visit: Any, search: Path) -> None:
    tab = visit(search)

    def shown() -> tuple[str, list[str], str]:
        cells = tab.locator("[data-cell][data-kind=normal]:visible")
        assert cells.count() == 1
        weight = tab.locator(".heat[data-kind=normal] td").nth(1).inner_text()
        return tab.locator("#at").inner_text(), cells.locator("text").all_text_contents(), weight

    label, texts, weight = shown()
    assert (label, weight) == ("search, epoch 3", ".50")
    assert "sep3" not in texts
    tab.locator("#epoch").fill("1")
    label, texts, weight = shown()
    assert (label, weight) == ("search, epoch 2", ".25")
    assert "sep3" in texts
    tab.locator("#epoch").press("Home")
    assert shown()[0] == "search, epoch 1"
    tab.locator("#play").click()
    tab.locator("#at").filter(has_text="epoch 3").wait_for()
    tab.locator("#play").filter(has_text="Play").wait_for()
    assert tab.locator("#epoch").input_value() == "2"


@pytest.mark.parametrize("width", [360, 1280])
def test_no_page_is_wider_than_its_screen(
    visit: Any, search: Path, study: Path, width: int
) -> None:
    for path in (search, study):
        tab = visit(path, width)
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        for picture in tab.locator("figure svg:visible").all():
            assert picture.bounding_box()["width"] > 200


def test_print_shows_whole_tables(visit: Any, study: Path) -> None:
    tab = visit(study)
    tab.emulate_media(media="print")
    assert not tab.locator("#tip").is_visible()
    assert tab.pdf(format="A4")[:4] == b"%PDF"
    style = "getComputedStyle(document.querySelector('.wide')).overflowX"
    assert tab.evaluate(style) == "visible"
