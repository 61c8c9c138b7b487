"""`make test-faults` tries what is missing, and sums up what there is."""

import json
from pathlib import Path

from faults import measure


def test_what_was_tried_is_not_tried_again(tmp_path: Path) -> None:
    def one(number: int) -> measure.Line:
        return {"verb": "search", "result": "wrong" if number == 1 else "identical"}

    assert measure.missing(tmp_path, "kills", 3) == [0, 1, 2]
    measure.keep(tmp_path, "kills", [0, 1, 2], one, tmp_path)
    assert measure.missing(tmp_path, "kills", 4) == [3]
    lines = (tmp_path / "kills.jsonl").read_text().replace(measure.revision(), "0123456789")
    (tmp_path / "kills.jsonl").write_text(lines)
    assert measure.missing(tmp_path, "kills", 3) == [1]
    assert json.loads((tmp_path / "machine.json").read_text())["cores"] >= 1
    (tmp_path / "soak.jsonl").write_text('{"seconds": 1.0}\n')  # looks are no tries
    table = measure.table(tmp_path).splitlines()
    assert table[2:] == [
        "| kills | all | 3 | 2 | 0 | 0 | 1 | 0123456789 |",
        "| kills | search | 3 | 2 | 0 | 0 | 1 | 0123456789 |",
    ]
