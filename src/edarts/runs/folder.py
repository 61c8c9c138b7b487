"""The run folder: config.yaml, environment.json, metrics.jsonl, checkpoint.pt, and what verbs add.

A run that exists is resumed when its config agrees and refused when not; a lock keeps a second
process out. A file is replaced as a whole or not at all. torch is imported only to read or write a
checkpoint.
"""

import hashlib
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from edarts import registry
from edarts.config import parse_yaml, to_yaml, upgraded
from edarts.config.reading import check_regular, parse_json, read_text
from edarts.errors import EdartsError, UsageError, reason_of
from edarts.runs.clock import Clock
from edarts.runs.environment import environment, explain
from edarts.runs.files import (
    CONFIG,
    DIGESTS,
    append_line,
    check_unpacked,
    disk_errors,
    read_kept,
    write_kept,
)
from edarts.runs.loggers import Loggers
from edarts.runs.processes import barrier, is_main, world_size

CHECKPOINT_SECONDS = 10.0  # between two checkpoints
METRICS, ENVIRONMENT, LOCK = "metrics.jsonl", "environment.json", ".lock"
MEND = "restore it from a copy, or delete the line"
CLOCK = "clock"  # where a checkpoint keeps the seconds of the run


class Run:
    """One execution's folder. Create it with `open_run`; read one that is there with `Run(path)`.

    `checkpoint_seconds`: the least seconds between two checkpoints.
    """

    def __init__(self, path: Path, checkpoint_seconds: float = CHECKPOINT_SECONDS) -> None:
        self.path = path
        self.checkpoint_seconds = checkpoint_seconds
        self.clock: Clock | None = None
        self.loggers: Loggers | None = None
        self._states: dict[str, Any] | None = None

    def count(self, clock: Clock) -> None:
        """Go on counting the run's seconds; they are kept with every checkpoint."""
        clock.at_least(self.states().get(CLOCK, {}).get("seconds", 0.0))
        self.clock = clock

    # -- checkpoint ------------------------------------------------------------------------------

    def states(self) -> dict[str, Any]:
        """Phase -> its last saved state. Raises EdartsError if the file is damaged."""
        if self._states is None:
            path = self.path / "checkpoint.pt"
            self._states = _read_checkpoint(path) if path.exists() else {}
        return self._states

    def save(self, phase: str, state: Mapping[str, Any]) -> None:
        """Replace the state of `phase` in checkpoint.pt, as a whole. Raises EdartsError."""
        import torch

        states = self.states() | {phase: dict(state)}
        if self.clock is not None:
            states[CLOCK] = {"seconds": self.clock.seconds}
        file = io.BytesIO()
        torch.save(states, file)
        self.write_bytes("checkpoint.pt", file.getbuffer())
        self._states = states

    # -- other files -----------------------------------------------------------------------------

    def write_bytes(self, name: str, content: bytes | memoryview) -> Path:
        """Write a file of the run atomically, and keep its digest."""
        write_kept(self.path / name, content)
        return self.path / name

    def write_text(self, name: str, text: str) -> Path:
        """Write a text file of the run atomically; what is no text of a file's name is escaped."""
        return self.write_bytes(name, text.encode(errors="backslashreplace"))

    def write_json(self, name: str, value: Any) -> Path:
        """Write a JSON file of the run atomically."""
        return self.write_text(name, json.dumps(value, indent=2) + "\n")

    def read_json(self, name: str) -> Any:
        """A JSON file of the run, or None if there is none. Raises EdartsError if damaged."""
        return read_json(self.path / name) if (self.path / name).exists() else None

    def record(self, **metrics: Any) -> None:
        """Append one line to metrics.jsonl."""
        append_line(self.path / METRICS, json.dumps(metrics))
        self.log(**metrics)

    def log(self, **metrics: Any) -> None:
        """Hand metrics to the run's loggers alone, if it has any."""
        if self.loggers is not None:
            self.loggers.log(metrics)

    def rewind(self, phase: str, epoch: int) -> None:
        """Drop lines of `phase` from `epoch` on, and a line cut off by a kill."""
        kept = [
            line
            for line in read_metrics(self.path)
            if line["phase"] != phase or line.get("epoch", -1) < epoch
        ]
        text = "".join(json.dumps(line) + "\n" for line in kept)
        path = self.path / METRICS
        if path.exists() and read_text(path, links=False) != text:
            self.write_text(METRICS, text)


class Follower(Run):
    """The run folder as every process but the main one has it: it is read and never written."""

    def save(self, phase: str, state: Mapping[str, Any]) -> None:
        """Remember the state of `phase` in memory alone."""
        self._states = self.states() | {phase: dict(state)}

    def write_bytes(self, name: str, content: bytes | memoryview) -> Path:
        """Does nothing: the main process writes the file. Returns its path."""
        return self.path / name

    def record(self, **metrics: Any) -> None:
        """Does nothing: the main process writes metrics.jsonl."""

    def rewind(self, phase: str, epoch: int) -> None:
        """Does nothing: the main process rewinds metrics.jsonl."""


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a file with one on each line, without a line that a kill has cut off.

    Raises EdartsError that names the file, and the line that is no object.
    """
    found = []
    try:
        lines = read_text(path, links=False).splitlines()
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise EdartsError(f"{path}: damaged: {reason_of(error)}; {MEND}") from None
    for number, text in enumerate(lines, start=1):
        try:
            line = parse_json(text)
        except ValueError:
            continue
        if not isinstance(line, dict):
            raise EdartsError(f"{path}: damaged: line {number} is no object; {MEND}")
        found.append(line)
    return found


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's metrics.jsonl: an epoch or a trial of a phase each. Raises EdartsError
    for a line that is none.
    """
    lines = read_lines(folder / METRICS)
    for number, line in enumerate(lines, start=1):
        at = line.get("epoch", line.get("trial"))
        if not isinstance(line.get("phase"), str) or type(at) is not int:
            raise EdartsError(f"{folder / METRICS}: damaged: line {number} names no epoch; {MEND}")
    return lines


def read_json(path: Path) -> Any:
    """A JSON file; raises EdartsError that names it."""
    try:
        return parse_json(read_kept(path))
    except FileNotFoundError:
        raise EdartsError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise EdartsError(f"{path}: damaged: {error}") from None


def read_settings(folder: str | Path) -> dict[str, Any]:
    """The settings of a run: its config.yaml, with the keys of older versions renamed.

    Every reader of a run's config.yaml comes through here. Raises EdartsError if the folder is
    none, or has no such file, or it is no YAML, or not that of a run.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise EdartsError(f"{folder}: no such run folder")
    path = folder / CONFIG
    if not path.exists():
        raise EdartsError(f"{folder}: no run: it has no config.yaml")
    try:
        settings = upgraded(parse_yaml(read_kept(path), path))
    except OSError as error:
        raise EdartsError(f"{path}: cannot be read: {error.strerror or error}") from None
    for key, kind in {"data": str, "seed": int, "seeds": int}.items():
        if not isinstance(settings.get(key, kind()), kind):
            raise EdartsError(f"{path}: damaged: {key} is {settings[key]!r:.40}")
    return settings


def names(error: Exception, folder: str | Path) -> bool:
    """Whether the error begins with the folder, or with a file of it."""
    return str(error).startswith((f"{folder}:", f"{folder}{os.sep}"))


@contextmanager
def reading(folder: str | Path) -> Iterator[None]:
    """The block makes something of what the run in `folder` holds.

    If it needs a plug-in that is not installed here, the EdartsError says with which package the
    run was made. What else it stumbles over are contents that no run has: an EdartsError too.
    """
    try:
        yield
    except (MemoryError, OSError):
        raise
    except EdartsError as error:
        missing = error if isinstance(error, registry.UnknownPlugin) else error.__cause__
        if isinstance(missing, registry.UnknownPlugin):
            known = explain(folder, missing)
            if known is not missing:
                raise known from None
        elif isinstance(error, UsageError) and not names(error, folder):
            raise UsageError(f"{folder}: {error}") from None  # a value in its config.yaml
        raise
    except Exception as error:  # odd contents can be stumbled over in any way
        if os.environ.get("EDARTS_DEBUG"):
            raise
        raise EdartsError(
            f"{folder}: a file of the run holds what no run writes ({reason_of(error)[:200]});"
            " restore the folder from a copy"
        ) from None


def default_path(verb: str, name: str, settings: Mapping[str, Any]) -> Path:
    """runs/VERB-NAME-HASH: the same command finds its folder again, another gets another."""
    text = json.dumps(settings, sort_keys=True, default=str)
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    plain = "".join(c if c.isalnum() else "-" for c in Path(name).stem or name).strip("-")
    return Path("runs") / f"{verb}-{plain}-{digest}"


@contextmanager
def open_run(
    path: str | Path,
    settings: Mapping[str, Any],
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    free: Sequence[str] = (),
) -> Iterator[Run]:
    """Create the run folder, or reopen it if its config.yaml holds the same `settings`.

    Those named in `free` may differ; then the new ones are kept.

    Raises EdartsError if the settings differ, another process uses the folder, the path is a file,
    or the disk is full. Of the processes that torchrun has started the main one opens it and the
    others follow, so the group must have been joined before (`training.device.runtime`).
    """
    path = Path(path)
    if is_main():
        with _locked(path):
            yield _opened(path, settings, checkpoint_seconds, free)
        return
    barrier()  # until the main process has opened it
    follower = Follower(path, checkpoint_seconds)
    follower.states()
    barrier()  # until all have read the checkpoint, which the main process replaces from now on
    yield follower


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """The folder exists, and no other process may open it, while the block lasts."""
    with disk_errors(path):
        path.mkdir(parents=True, exist_ok=True)
    check_regular(path / LOCK, links=False)
    lock = FileLock(path / LOCK)
    with disk_errors(path / LOCK):
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise EdartsError(
                f"{path}: another process is using this run; wait, or give --out"
            ) from None
    try:
        yield
    finally:
        lock.release()


def _opened(
    path: Path, settings: Mapping[str, Any], checkpoint_seconds: float, free: Sequence[str]
) -> Run:
    run = Run(path, checkpoint_seconds)
    # As YAML reads it back: tuples become lists.
    plain = yaml.safe_load(yaml.safe_dump(dict(settings), sort_keys=False))
    old = read_settings(path) if (path / CONFIG).exists() else None
    if old is not None:
        _check_settings(path, old | {k: plain[k] for k in free}, plain)
    else:
        _begin(run)
    if old != plain:
        run.write_text(CONFIG, to_yaml(plain))
    if world_size() > 1:
        run.states()
        barrier()
        barrier()
    return run


def _begin(run: Run) -> None:
    strangers = [p.name for p in run.path.iterdir() if not _unfinished(p)]
    if strangers:
        raise EdartsError(
            f"{run.path}: holds other files ({strangers[0]}) but no config.yaml; give an empty"
            " or new folder with --out"
        )
    run.write_json(ENVIRONMENT, environment())


def _unfinished(path: Path) -> bool:
    """Whether a run that was killed before it had a config.yaml has left this file."""
    begun = (ENVIRONMENT, DIGESTS, CONFIG)
    if path.name == ENVIRONMENT:
        try:
            return {"created", "versions"} <= set(parse_json(read_text(path, links=False)))
        except (EdartsError, OSError, ValueError, TypeError):
            return False
    return path.name in (LOCK, DIGESTS, *(f"{name}.new" for name in begun))


def _check_settings(path: Path, old: dict[str, Any], new: dict[str, Any]) -> None:
    was, now = _flat(old), _flat(new)  # an option that is not given is as one not known yet
    differ = [
        f"{key}: {was.get(key)} in the run, {now.get(key)} now"
        for key in dict.fromkeys([*was, *now])
        if was.get(key) != now.get(key)
    ]
    if differ:
        more = f" (and {len(differ) - 1} more)" if len(differ) > 1 else ""
        raise EdartsError(
            f"{path}: a run with another config is there; {differ[0]}{more}: give another --out,"
            " or the same options to resume"
        )


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{a: {b: 1}} -> {a.b: 1}."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _read_checkpoint(path: Path) -> dict[str, Any]:
    import torch

    try:
        check_regular(path, links=False)  # though no config.yaml may lie beside it, as in a race
        content = io.BytesIO(read_kept(path))
        check_unpacked(content, path, most=2 * len(content.getbuffer()))  # it is not compressed
        states = torch.load(content, map_location="cpu", weights_only=True)
        if not isinstance(states, dict) or not all(isinstance(s, dict) for s in states.values()):
            raise ValueError("holds no phases")
    except EdartsError:
        raise
    except Exception as error:  # torch, pickle and zip each raise their own
        raise EdartsError(
            f"{path}: damaged checkpoint ({type(error).__name__}); delete it to begin this"
            " run again, or give another --out"
        ) from None
    return states
