"""Runs that take a second, and what of their folders must be the same however they were made."""

import json
from pathlib import Path
from typing import Any

import torch

TINY = ["--limit", "60", "--cells", "1", "--channels", "4", "--batch-size", "16", "--quiet"]
TRAIN = ["train", "darts.v1", "digits", *TINY, "--epochs", "2", "--checkpoint-seconds", "0"]
SEARCH = ["search", "digits", *TINY, "--epochs", "2", "--checkpoint-seconds", "0",
          "--operations", "skip_connect,sep_conv_3x3"]  # fmt: skip
TIMES = {"seconds", "created", "minutes"}


def artefacts(folder: Path) -> dict[str, Any]:
    """Name -> content of every file below a run's folder; seconds, dates and digests aside."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    found = {str(path.relative_to(folder)): _content(path) for path in files}
    return {name: content for name, content in found.items() if content is not None}


def _content(path: Path) -> Any:
    if path.suffix in (".html", ".db") or path.name in (".lock", "digests.json"):
        return None  # the page tells seconds and the folder's name
    if path.suffix == ".json":
        return _plain(json.loads(path.read_text()))
    if path.suffix == ".jsonl":
        return [_plain(json.loads(line)) for line in path.read_text().splitlines()]
    if path.suffix == ".pt":
        return repr(_plain(torch.load(path, weights_only=True)))
    return path.read_bytes()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items() if str(k) not in TIMES | {"sha256"}}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value.tolist() if isinstance(value, torch.Tensor) else value
