"""What the page of a race shows: the front, the table, the sentences."""

from typing import Any

import pytest

from edarts.reporting import race_content
from edarts.reporting.reports import Entrant
from edarts.reporting.stats import Estimate


def entrant(name: str, accuracy: float, parameters: int) -> Entrant:
    estimate = Estimate(accuracy, accuracy - 0.01, accuracy + 0.01, 100)
    return Entrant(name, estimate, parameters, 10 * parameters, 3.0, 2)


ENTRANTS = [
    entrant("convnet", 0.95, 5000),
    entrant("found-16", 0.93, 3000),
    entrant("resnet8", 0.93, 2000),
    entrant("found-8", 0.90, 2500),
    entrant("linear", 0.5, 100),
]
RACE: dict[str, Any] = {
    "winner": "convnet",
    "verdict": "a plain convnet is better here",
    "candidates": [one.to_dict() for one in ENTRANTS],
    "cut": ["search: 3 of 50 epochs"],
}


def test_the_front_is_what_nothing_smaller_reaches() -> None:
    assert [one.name for one in race_content.front(ENTRANTS)] == ["linear", "resnet8", "convnet"]
    same = [entrant("a", 0.9, 10), entrant("b", 0.8, 10), entrant("c", 0.9, 20)]
    assert [one.name for one in race_content.front(same)] == ["a"]


def test_the_picture_marks_the_front() -> None:
    (plot,) = race_content.plots(RACE)
    first, other = plot.series
    assert (first.line, other.line, plot.log) == (True, False, True)
    assert list(first.x) == [100, 2000, 5000]
    assert [y.value for y in first.y if isinstance(y, Estimate)] == pytest.approx([50, 93, 95])
    assert list(other.texts) == ["found-16: 93.00%, 3,000", "found-8: 90.00%, 2,500"]


def test_sentences_and_table() -> None:
    assert race_content.sentences(RACE) == [
        "A plain convnet is better here.",
        "Search: 3 of 50 epochs.",
    ]
    (table,) = race_content.tables(RACE)
    assert [row[0] for row in table.rows] == [one.name for one in ENTRANTS]
    accuracy = table.rows[0][1]
    assert (accuracy.value, accuracy.low, accuracy.high) == (0.95, 0.94, 0.96)
    assert table.rows[0][2:] == (5000, 50000, 3.0, 2)


def test_an_entrant_is_read_back() -> None:
    for one in ENTRANTS:
        again = Entrant.from_dict(one.to_dict(), images=100)
        assert again == one
