"""What the page says of trust: tables and sentences, of few classes and of many."""

import json

import numpy as np

from edarts.reporting import trust_content
from edarts.reporting.trust import Trust, trust

LABELS = np.array([0] * 8 + [1] * 2)
SAID = np.array([0] * 6 + [1] * 2 + [1, 0])
FOUND = trust(np.eye(2)[SAID], LABELS, ("ok", "bad"))


def test_it_is_read_back_from_json() -> None:
    many = trust(np.eye(12)[np.arange(12) // 2], np.arange(12), tuple("abcdefghijkl"))
    for one in (FOUND, many):
        assert Trust.from_dict(json.loads(json.dumps(one.to_dict()))) == one


def test_tables() -> None:
    classes, pairs, confusion = trust_content.tables(FOUND)
    assert [row[:2] for row in classes.rows] == [("ok", 8), ("bad", 2)]
    assert classes.rows[0][2].value == 0.75
    assert list(pairs.rows) == [("ok", "bad", 2, 0.25), ("bad", "ok", 1, 0.5)]
    assert [column.name for column in confusion.columns] == ["true class", "ok", "bad"]
    assert list(confusion.rows) == [("ok", 6, 2), ("bad", 1, 1)]


def test_many_classes_have_no_square() -> None:
    names = tuple(f"c{n}" for n in range(30))
    found = trust(np.eye(30), np.arange(30), names)
    assert [table.title for table in trust_content.tables(found)] == ["Test images by class"]


def test_sentences() -> None:
    unequal, calibrated = trust_content.sentences(FOUND)
    assert unequal.startswith(
        "The classes are of unequal size: the mean over the classes is 62.50%"
    )
    assert unequal.endswith("and who always says 'ok' is 80.00% right.")
    assert calibrated.startswith("Confidence and accuracy differ by 30.0 points on average")
    equal = trust(np.eye(2)[[0, 1]], np.array([0, 1]), ("ok", "bad"))
    assert len(list(trust_content.sentences(equal))) == 1
