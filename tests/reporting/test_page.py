"""The page: self-contained and escaped; in headless Chromium it sorts and replays without error."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from markupsafe import escape

from edarts.errors import UsageError
from edarts.reporting import page, pictures, plots, replay
from edarts.reporting.drawing import svg
from edarts.reporting.model import Column, Plot, Series, Summary, Table
from edarts.reporting.stats import Estimate
from edarts.runs.folder import Run, read_lines
from edarts.space import zoo
from edarts.space.genotype import Genotype
from edarts.space.picture import Picture

pytestmark = pytest.mark.pictures

EVIL = '<script>alert("x")</script>&\'"'
SVG = "{http://www.w3.org/2000/svg}"
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
    return write_study(tmp_path / "study")


def write_study(path: Path) -> Path:
    run = folder(path, {"data": "digits"})
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
    drawn = [
        Plot("few", "Few", "x", "y", [Series("s", [1, 2], [3.0, 4.0], ["first", EVIL], line=True)]),
        Plot(
            "words", "Words", "x", "y",
            [Series("a", ["p", "q"], [Estimate(1, 0, 2, 3), 2.0]), Series("b", ["q"], [1.0])],
        ),
    ]  # fmt: skip
    cells = {EVIL: Genotype.from_dict({"normal": CELL, "reduce": CELL})}
    summary = Summary(f"Study of {EVIL}", [f"It says {EVIL}"], [table], drawn, cells)
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


def files(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.suffix in (".html", ".png")}


def test_the_same_files_give_the_same_page(search: Path) -> None:
    """Drawn again by another process, elsewhere and at another time, every byte is the same."""
    first = files(search.parent)
    assert len(first) == 3
    for name in first:
        (search.parent / name).unlink()
    code = (
        "from pathlib import Path; from edarts.reporting import page;"
        f"from edarts.runs.folder import Run; page.write_run(Run(Path({str(search.parent)!r})))"
    )
    environment = os.environ | {"PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    assert files(search.parent) == first


def test_the_same_summary_gives_the_same_page(study: Path, tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    again = write_study(tmp_path / "again" / "study")
    assert len(files(study.parent)) == 3
    assert files(again.parent) == files(study.parent)


def test_another_plot_is_another_picture() -> None:
    one = Plot("few", "Few", "x", "y", [Series("s", [1, 2], [3.0, 4.0])])
    drawn = plots.draw(one)
    for other in (
        replace(one, title="Many"),  # in the PNG alone: a page has it as a caption
        replace(one, x="z"),
        replace(one, series=[Series("s", [1, 2], [3.0, 5.0])]),
        replace(one, series=[Series("s", [1, 2], [3.0, 4.0], line=True)]),
    ):
        again = plots.draw(other)
        assert again.png != drawn.png
        assert (again.svg != drawn.svg) == (other.title == one.title)


def test_texts_of_points_belong_to_groups_of_the_drawing() -> None:
    series = [Series("a", [1, 2], [3.0, 4.0]), Series("b", ["w"], [Estimate(5.0, 4, 6, 3)])]
    drawn = plots.draw(Plot("few", "Few", "x", "y", series))
    assert drawn.texts == {
        "points-few-0": ["a: 1, 3", "a: 2, 4"],
        "points-few-1": ["b: w, 5"],
    }
    root = ElementTree.fromstring(drawn.svg)
    for mark, texts in drawn.texts.items():
        points = root.findall(f".//{SVG}g[@id='{mark}']//{SVG}use")
        points = points or root.findall(f".//{SVG}g[@id='{mark}']/{SVG}path")  # one alone
        assert len(points) == len(texts)


def test_dollars_are_no_formula(tmp_path: Path) -> None:
    drawn = plots.draw(Plot("few", "$few", "cost, $", "$\\nonsense$", [Series("s", [1], [3.0])]))
    assert "cost, $" in drawn.svg
    assert "$\\nonsense$" in drawn.svg


# -- what a run's page says ----------------------------------------------------------------------


def test_the_replay_has_a_frame_an_epoch_and_each_drawing_once(search: Path) -> None:
    lines = read_lines(search.parent / "metrics.jsonl")
    shown = replay.replay(SEARCH, lines)
    assert shown is not None
    assert [frame["label"] for frame in shown.frames] == [f"search, epoch {n}" for n in (1, 2, 3)]
    assert [frame["drawing"] for frame in shown.frames] == [[0, 0], [1, 1], [0, 0]]
    weights = [lines[0]["weights"][group] for group in ("normal", "reduce")]
    assert shown.frames[0]["weights"] == weights
    for column, caption in zip(shown.columns, ("normal cell", "reduction cell"), strict=True):
        assert column.caption == caption
        one, other = column.drawings
        assert "sep3" in other and "sep3" not in one
        assert column.heat is not None
        assert column.heat.rows == ("0 to 2", "1 to 2", "1 to 3", "2 to 3")
        assert column.heat.columns == ("skip_connect", "sep_conv_3x3")
    assert replay.replay(SEARCH, [{"phase": "train", "epoch": 0}]) is None
    # In ENAS' space an edge has two rows, one for each pair of a node.
    assert replay._names(((0, 2), (1, 2), (0, 2))) == ("0 to 2", "1 to 2", "0 to 2, second")


@pytest.mark.parametrize("number", ["trial", "epoch"])
def test_a_black_box_search_counts_trials(tmp_path: Path, number: str) -> None:
    run = folder(tmp_path / "run", SEARCH | {"data": "digits"})
    for index, score in enumerate((0.25, 0.75, None)):
        run.record(phase="search", score=score, seconds=1.0, **{number: index})
    text = page.write_run(run).read_text(encoding="utf-8")
    assert "search: 3 trials, best score 0.7500." in text
    assert (run.path / "search-score.png").exists()


@pytest.mark.parametrize("name", ["proxyless.cifar10", "densenet_bc.l100_k12", "darts.v2"])
def test_a_page_shows_any_architecture(tmp_path: Path, name: str) -> None:
    run = folder(tmp_path / "run", {"data": "digits", "seed": 0})
    run.write_text("genotype.json", zoo.get(name).architecture.to_json())
    text = page.write_run(run).read_text(encoding="utf-8")
    picture = zoo.get(name).architecture.draw()
    for panel in picture.panels:
        assert svg(panel) in text
        assert f"found, {panel.caption}" in text
    assert str(escape(picture.note)) in text


def test_an_architecture_that_does_not_say_how_it_looks_is_left_out(tmp_path: Path) -> None:
    class Silent:
        def draw(self, title: str = "") -> Picture:
            raise UsageError("there is no drawing of it")

    run = folder(tmp_path / "run", {"data": "digits"})
    summary = Summary("Title", [], [], [], {"silent": Silent()})
    text = page.write_study(run, summary, {}).read_text(encoding="utf-8")
    assert "silent" not in text
    assert "Title" in text


@pytest.fixture
def gallery(tmp_path: Path) -> Path:
    """A trained and evaluated run of the most and largest pictures, with hostile names."""
    run = folder(tmp_path / "trained", {"data": "photos", "seed": 0})
    rng = np.random.default_rng(0)
    count, classes = 300, [f"{EVIL} {n}" for n in range(100)]
    images = rng.integers(0, 256, (count, 64, 64, 3), dtype=np.uint8)
    labels = np.arange(count) % 100
    answers = rng.dirichlet(np.ones(100), count)
    trained = pictures.of_training(images, labels, classes, rng.normal(size=count), "{}".format)
    tested = pictures.of_test(images, labels, classes, answers, lambda n: f"{EVIL}{n}.png")
    for name, shown in ((pictures.TRAINED, trained), (pictures.TESTED, tested)):
        run.write_json(name, pictures.to_json(shown))
    return page.write_run(run)


def test_pictures_stand_on_the_page_which_stays_small(gallery: Path) -> None:
    text = gallery.read_text(encoding="utf-8")
    assert EVIL not in text
    assert len(text) < 5_000_000
    assert len(re.findall('<img src="data:image/png;base64,', text)) > 150


def test_foreign_pictures_are_passed_over(gallery: Path) -> None:
    file = gallery.with_name(pictures.TESTED)
    shown = [{"title": "t", "note": "n", "shown": [{"caption": "c", "images": ["javascript:x"]}]}]
    file.write_text(json.dumps(shown), encoding="utf-8")
    file.with_name("digests.json").unlink()
    assert "javascript:x" not in page.write_run(Run(gallery.parent)).read_text(encoding="utf-8")


# -- in a browser --------------------------------------------------------------------------------


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
        cells = tab.locator("[data-drawing][data-column='0']:visible")
        assert cells.count() == 1
        weight = tab.locator(".heat[data-column='0'] td").nth(1).inner_text()
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


def test_pictures_are_seen(visit: Any, gallery: Path) -> None:
    tab = visit(gallery)
    images = tab.locator(".gallery img")
    assert images.count() > 150
    sizes = images.evaluate_all("all => all.map(i => [i.complete, i.naturalWidth, i.width])")
    assert all(complete and natural == 64 and shown == 64 for complete, natural, shown in sizes)
    titles = tab.locator("h2").all_inner_texts()
    for title in ("The surest mistakes", "Training labels that the network disbelieves most"):
        assert title in titles
    assert EVIL in tab.locator(".gallery figcaption").first.inner_text()
