"""Tables as JSON."""

import json

from edarts.reporting.model import Column, Table
from edarts.reporting.stats import Estimate


def test_a_table_as_json_has_names_and_units_apart() -> None:
    estimate = Estimate(0.5, 0.25, 0.75, 3, 0.1)
    table = Table(
        "Runs",
        (Column("name"), Column("accuracy", "share"), Column("search s", "s")),
        [("a", estimate, 2.5), ("b", None, 3.0)],
        "a note",
    )
    assert json.loads(json.dumps(table.to_dict())) == {
        "title": "Runs",
        "columns": ["name", "accuracy", "search s"],
        "units": ["", "share", "s"],
        "rows": [
            ["a", {"value": 0.5, "low": 0.25, "high": 0.75, "n": 3, "p": 0.1}, 2.5],
            ["b", None, 3.0],
        ],
        "note": "a note",
    }
