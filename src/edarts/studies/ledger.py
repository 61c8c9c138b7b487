"""The ledger of a study: one line for each run that ended, well or not."""

import csv
import hashlib
import io
import json
from pathlib import Path
from typing import Any

from edarts import registry
from edarts.errors import EdartsError, UsageError, reason_of
from edarts.runs.files import append_line
from edarts.runs.folder import MEND, read_lines
from edarts.studies.row import Row
from edarts.studies.rows import Rows

LEDGER = "ledger.jsonl"
DIGEST = "sha256"  # of the rest of the line, as it is written


def read_ledger(folder: Path) -> dict[str, Row]:
    """Name -> row of a study's folder; the last line of a name counts. Raises EdartsError."""
    if not folder.is_dir():
        raise EdartsError(f"{folder}: no such study folder")
    rows: dict[str, Row] = {}
    for number, line in enumerate(read_lines(folder / LEDGER), start=1):
        digest = line.pop(DIGEST, None)  # older rows have none
        try:
            if digest not in (None, _digest(line)):
                raise ValueError("not what was written there")
            row = Row.from_dict(line, folder)
        except registry.UnknownPlugin:
            raise
        except (UsageError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise EdartsError(
                f"{folder / LEDGER}: damaged: line {number}: {reason_of(error)}; {MEND} and repeat"
                " the study's command: it does that run again"
            ) from None
        rows[row.name] = row
    return rows


def append(folder: Path, row: Row) -> None:
    """Add a line to the ledger, below a line that a kill has cut off. Raises EdartsError."""
    line = row.to_dict()
    append_line(folder / LEDGER, json.dumps(line | {DIGEST: _digest(line)}))


def _digest(line: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(line).encode()).hexdigest()


def to_csv(rows: Rows) -> str:
    """Every row as CSV; an architecture in its short form."""
    plain = [row.to_dict() for row in rows.values()]
    out = io.StringIO()
    writer = csv.DictWriter(out, list(dict.fromkeys(key for row in plain for key in row)))
    writer.writeheader()
    for row, values in zip(rows.values(), plain, strict=True):
        short = {"genotype": str(row.genotype)} if row.genotype is not None else {}
        writer.writerow(values | short)
    return out.getvalue()
