"""Runs that take a second, and what of their folders must be the same however they were made."""

import csv
import json
from pathlib import Path
from typing import Any

import torch

TINY = ["--limit", "60", "--cells", "1", "--channels", "4", "--batch-size", "16", "--quiet"]
TRAIN = ["train", "darts.v1", "digits", *TINY, "--epochs", "2", "--checkpoint-seconds", "0"]
SEARCH = ["search", "digits", *TINY, "--epochs", "2", "--checkpoint-seconds", "0",
          "--operations", "skip_connect,sep_conv_3x3"]  # fmt: skip
# A precision that is left open is chosen by the time of a few steps, so it may be another one.
FIND = ["find", *SEARCH[1:], "--precision", "fp32", "--train.cells", "1",
        "--train.channels", "4", "--candidates", "found"]  # fmt: skip
RACE = [*FIND[:-1], "found,linear"]
BLACK_BOX = ["search", "digits", *TINY, "--epochs", "1", "--method", "random_search",
             "--trials", "6"]  # fmt: skip
STUDY = ["study", "depth", "digits", "--limit", "60", "--quiet", "--seeds", "1", "--cells", "1,2",
         "--search.epochs", "2", "--search.channels", "4", "--search.batch-size", "16",
         "--search.operations", "skip_connect,sep_conv_3x3",
         "--train.epochs", "2", "--train.cells", "1", "--train.channels", "4",
         "--train.batch-size", "16"]  # fmt: skip
LEFT_OUT = {".lock", "digests.json", "study.json", "ledger.db-wal", "ledger.db-shm"}  # study.json
# has means of seconds, and the last two are SQLite's, until its process ends
# Files that tell seconds or a path, and what they end with; in most tests plots are "blank".
ENDS = {".html": (b"</html>",), ".png": (b"IEND\xaeB`\x82", b"blank"), ".db": (b"",)}
TIMES = {"run", "seconds", "created", "minutes", "search_seconds", "train_seconds", "clock",
         "search_peak_mib", "train_peak_mib"}  # fmt: skip


def artefacts(folder: Path) -> dict[str, Any]:
    """Name -> content of every file below a run's folder; seconds, dates and digests aside.

    Of pages and plots, which tell seconds, it is whether they are whole.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    found = {str(path.relative_to(folder)): _content(path) for path in files}
    return {name: content for name, content in found.items() if content is not None}


def _content(path: Path) -> Any:  # noqa: PLR0911
    if path.name in LEFT_OUT:
        return None
    if path.suffix in ENDS and path.name != "cell.png":
        return path.read_bytes().endswith(ENDS[path.suffix])
    if path.suffix == ".csv":
        with path.open(newline="") as file:
            return _plain([*csv.DictReader(file)])
    if path.suffix == ".json":
        return _plain(json.loads(path.read_text()))
    if path.suffix == ".jsonl":
        lines = [_plain(json.loads(line)) for line in path.read_text().splitlines()]
        if path.name == "ledger.jsonl":  # of a study, where a run that failed has a later line
            lines = [*{line["name"]: line for line in lines}.values()]
        return sorted(lines, key=lambda line: line.get("trial", line.get("name", 0)))  # of two
    if path.suffix == ".pt":
        return repr(_plain(torch.load(path, weights_only=True)))
    return path.read_bytes()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items() if str(k) not in TIMES | {"sha256"}}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value.tolist() if isinstance(value, torch.Tensor) else value
