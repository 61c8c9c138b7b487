"""Mutated files: cut off, flipped, and with odd values in the places of usual ones; by a seed."""

import json
import random
from typing import Any

import yaml

ODD: list[Any] = [
    *(None, True, -1, 0, 1e308, -0.0, 2**70, "", "abc", "\x00\x1b[31m\n", "\udcff", "../../x"),
    *("javascript:alert(1)", "<script>alert(1)</script>", [], {}, [[]], [None], {"a": {"b": []}}),
    *("9" * 5000, float("nan"), float("inf"), "2020-01-01", "runs/../..", "/etc/passwd"),
]
TEXTS = [
    *(b"limit: abc\n", b"data: 5\n", b"when: 2020-01-01\n", b"seed: !!int abc\n", b"\xff\xfe"),
    *(b"seed: " + b"9" * 5000, b"a: " + b"[" * 3000, b"[" * 100_000, b'{"a":' * 100_000, b"null"),
    *(b"a: &a [1]\nb: *a\n", b"[]", b"{}", b"\x00" * 64, b"seed: !!python/object:os.system {}\n"),
]


def mutated(content: bytes, name: str, rng: random.Random) -> bytes:
    """One mutation of a file's content; `name` says what it holds."""
    if rng.random() < 0.5 and name.endswith((".json", ".jsonl", ".yaml")):
        return _odd(content, name, rng)
    kind = rng.randrange(5)
    if kind == 0:
        return content[: rng.randrange(len(content) + 1)]
    if kind == 1:
        return rng.choice(TEXTS)
    if kind == 2:
        at = rng.randrange(len(content) + 1)
        return content[:at] + rng.choice(TEXTS)[:200] + content[at:]
    flipped = bytearray(content or b"\0")
    for _ in range(rng.choice((1, 1, 8))):
        flipped[rng.randrange(len(flipped))] ^= 1 << rng.randrange(8)
    return bytes(flipped)


def _odd(content: bytes, name: str, rng: random.Random) -> bytes:
    """With an odd value in the place of one that is there, or without it."""
    if name.endswith(".jsonl"):
        lines = content.splitlines() or [b"{}"]
        at = rng.randrange(len(lines))
        lines[at] = json.dumps(_replaced(json.loads(lines[at]), rng)).encode()
        return b"\n".join(lines) + b"\n"
    if name.endswith(".json"):
        return json.dumps(_replaced(json.loads(content), rng)).encode()
    changed = _replaced(yaml.safe_load(content), rng)
    return yaml.safe_dump(changed, sort_keys=False).encode(errors="replace")


def _replaced(value: Any, rng: random.Random) -> Any:
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(list(value))
        if rng.random() < 0.15:
            return {k: v for k, v in value.items() if k != key}
        return value | {key: _replaced(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.8:
        at = rng.randrange(len(value))
        return [*value[:at], _replaced(value[at], rng), *value[at + 1 :]]
    return rng.choice(ODD)
