"""The run folder: config.yaml, environment.json, metrics.jsonl, checkpoint.pt, and what verbs add.

A run that exists is resumed when its config agrees and refused when not; a lock keeps a second
process out. A file is replaced as a whole or not at all. torch is imported only to read or write a
checkpoint.
"""

import errno
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from edarts import registry
from edarts.config import read_yaml, upgraded, write_yaml
from edarts.errors import EdartsError
from edarts.runs.clock import Clock
from edarts.runs.environment import environment, explain
from edarts.runs.loggers import Loggers
from edarts.runs.processes import barrier, is_main, world_size

CHECKPOINT_SECONDS = 10.0  # between two checkpoints
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
        """Replace the state of `phase` in checkpoint.pt: written aside, fsynced, renamed."""
        import torch

        states = self.states() | {phase: dict(state)}
        if self.clock is not None:
            states[CLOCK] = {"seconds": self.clock.seconds}
        path = self.path / "checkpoint.pt"
        with _disk_errors(path), _replacing(path) as aside, aside.open("wb") as file:
            torch.save(states, file)
            file.flush()
            os.fsync(file.fileno())
        self._states = states

    # -- text files ------------------------------------------------------------------------------

    def write_bytes(self, name: str, content: bytes) -> Path:
        """Write a file of the run atomically."""
        path = self.path / name
        with _disk_errors(path), _replacing(path) as aside, aside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        return path

    def write_text(self, name: str, text: str) -> Path:
        """Write a text file of the run atomically."""
        return self.write_bytes(name, text.encode())

    def write_json(self, name: str, value: Any) -> Path:
        """Write a JSON file of the run atomically."""
        return self.write_text(name, json.dumps(value, indent=2) + "\n")

    def read_json(self, name: str) -> Any:
        """A JSON file of the run, or None if there is none. Raises EdartsError if damaged."""
        return read_json(self.path / name) if (self.path / name).exists() else None

    def record(self, **metrics: Any) -> None:
        """Append one line to metrics.jsonl."""
        path = self.path / "metrics.jsonl"
        with _disk_errors(path), path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(metrics) + "\n")
        self.log(**metrics)

    def log(self, **metrics: Any) -> None:
        """Hand metrics to the run's loggers alone, if it has any."""
        if self.loggers is not None:
            self.loggers.log(metrics)

    def rewind(self, phase: str, epoch: int) -> None:
        """Drop lines of `phase` from `epoch` on, and a line cut off by a kill."""
        path = self.path / "metrics.jsonl"
        if not path.exists():
            return
        kept = [
            line for line in read_lines(path) if line["phase"] != phase or line["epoch"] < epoch
        ]
        self.write_text("metrics.jsonl", "".join(json.dumps(line) + "\n" for line in kept))


class Follower(Run):
    """The run folder as every process but the main one has it: it is read and never written."""

    def save(self, phase: str, state: Mapping[str, Any]) -> None:
        """Remember the state of `phase` in memory alone."""
        self._states = self.states() | {phase: dict(state)}

    def write_bytes(self, name: str, content: bytes) -> Path:
        """Does nothing: the main process writes the file. Returns its path."""
        return self.path / name

    def record(self, **metrics: Any) -> None:
        """Does nothing: the main process writes metrics.jsonl."""

    def rewind(self, phase: str, epoch: int) -> None:
        """Does nothing: the main process rewinds metrics.jsonl."""


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a file with one on each line, without a line that a kill has cut off."""
    found = []
    for text in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            found.append(json.loads(text))
        except ValueError:
            continue
    return found


def read_json(path: Path) -> Any:
    """A JSON file; raises EdartsError that names it."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise EdartsError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise EdartsError(f"{path}: damaged: {error}") from None


def read_settings(folder: str | Path) -> dict[str, Any]:
    """The settings of a run: its config.yaml, with the keys of older versions renamed.

    Every reader of a run's config.yaml comes through here. Raises EdartsError if the folder is
    none, or has no such file, or it is no YAML.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise EdartsError(f"{folder}: no such run folder")
    if not (folder / "config.yaml").exists():
        raise EdartsError(f"{folder}: no run: it has no config.yaml")
    return upgraded(read_yaml(folder / "config.yaml"))


@contextmanager
def reading(folder: str | Path) -> Iterator[None]:
    """The block makes something of what the run in `folder` holds.

    If it needs a plug-in that is not installed here, the EdartsError says with which package the
    run was made.
    """
    try:
        yield
    except EdartsError as error:
        missing = error if isinstance(error, registry.UnknownPlugin) else error.__cause__
        if isinstance(missing, registry.UnknownPlugin):
            known = explain(folder, missing)
            if known is not missing:
                raise known from None
        raise


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
    with _disk_errors(path):
        path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path / ".lock")
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
    config = path / "config.yaml"
    old = read_settings(path) if config.exists() else None
    if old is not None:
        _check_settings(path, old | {k: plain[k] for k in free}, plain)
    else:
        _begin(run)
    if old != plain:
        with _disk_errors(config), _replacing(config) as aside:
            write_yaml(aside, plain)
    if world_size() > 1:
        run.states()
        barrier()
        barrier()
    return run


def _begin(run: Run) -> None:
    strangers = [p.name for p in run.path.iterdir() if p.name != ".lock"]
    if strangers:
        raise EdartsError(
            f"{run.path}: holds other files ({strangers[0]}) but no config.yaml; give an empty"
            " or new folder with --out"
        )
    run.write_json("environment.json", environment())


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
        states = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(states, dict):
            raise ValueError("holds no phases")
    except Exception as error:  # torch, pickle and zip each raise their own
        raise EdartsError(
            f"{path}: damaged checkpoint ({type(error).__name__}); delete it to begin this"
            " run again, or give another --out"
        ) from None
    return states


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A path beside `path` that takes its place when the block ends well."""
    aside = path.with_name(path.name + ".new")
    try:
        yield aside
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    aside.replace(path)


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError) as error:
        # torch.save reports a full disk as a RuntimeError of its file writer.
        code = error.errno if isinstance(error, OSError) else _errno_behind(error)
        if code in (errno.ENOSPC, errno.EDQUOT):
            raise EdartsError(
                f"{path}: no space left on the disk; free some and repeat the command, it resumes"
            ) from None
        if isinstance(error, OSError):
            raise EdartsError(f"{path}: cannot be written: {error.strerror or error}") from None
        raise


def _errno_behind(error: BaseException) -> int | None:
    while error.__context__ is not None:
        error = error.__context__
        if isinstance(error, OSError):
            return error.errno
    return errno.ENOSPC if "file write failed" in str(error) else None
