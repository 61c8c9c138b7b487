"""The ledger of a study: one line for each run that ended, well or not."""

import csv
import io
import json
from pathlib import Path

from edarts.errors import EdartsError
from edarts.runs.folder import read_lines
from edarts.studies.row import Row
from edarts.studies.rows import Rows

LEDGER = "ledger.jsonl"


def read_ledger(folder: Path) -> dict[str, Row]:
    """Name -> row of a study's folder; the last line of a name counts. Raises EdartsError."""
    if not folder.is_dir():
        raise EdartsError(f"{folder}: no such study folder")
    rows = [Row.from_dict(line, folder) for line in read_lines(folder / LEDGER)]
    return {row.name: row for row in rows}


def append(folder: Path, row: Row) -> None:
    """Add a line to the ledger, below a line that a kill has cut off. Raises EdartsError."""
    path = folder / LEDGER
    try:
        torn = path.exists() and not path.read_bytes().endswith(b"\n")
        with path.open("a", encoding="utf-8") as file:
            file.write(("\n" if torn else "") + json.dumps(row.to_dict()) + "\n")
    except OSError as error:
        raise EdartsError(f"{path}: cannot be written: {error.strerror or error}") from None


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
