"""The run folder: config, environment, metrics, atomic checkpoint, resume; and stopping on request.

The folder of every run holds config.yaml, environment.json, metrics.jsonl and checkpoint.pt; a verb
adds what it makes, such as genotype.json, model.safetensors and report.html. A run that exists is
resumed when its config agrees and refused when it does not; a lock keeps a second process out.
"""

import errno
import hashlib
import json
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from types import FrameType
from typing import Any

import torch
import yaml
from filelock import FileLock, Timeout

from edarts.training import distributed as ranks
from edarts.config import read_yaml, write_yaml
from edarts.errors import EdartsError

CHECKPOINT_SECONDS = 10.0


class Run:
    """One execution's folder. Create it with `open_run`."""

    def __init__(self, path: Path, checkpoint_seconds: float = CHECKPOINT_SECONDS) -> None:
        self.path = path
        self.checkpoint_seconds = checkpoint_seconds
        self._states: dict[str, Any] | None = None

    # -- checkpoint ------------------------------------------------------------------------------

    def states(self) -> dict[str, Any]:
        """Phase -> its last saved state. Raises EdartsError if the file is damaged."""
        if self._states is None:
            path = self.path / "checkpoint.pt"
            if not path.exists():
                self._states = {}
                return self._states
            try:
                states = torch.load(path, map_location="cpu", weights_only=True)
                if not isinstance(states, dict):
                    raise ValueError("holds no phases")
            except Exception as error:  # torch, pickle and zip each raise their own
                raise EdartsError(
                    f"{path}: damaged checkpoint ({type(error).__name__}); delete it to begin this"
                    " run again, or give another --out"
                ) from None
            self._states = states
        return self._states

    def save(self, phase: str, state: Mapping[str, Any]) -> None:
        """Replace the state of `phase` in checkpoint.pt: written aside, fsynced, renamed."""
        states = self.states() | {phase: dict(state)}
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
    """The run folder as all ranks but the first have it: they read it and write nothing."""

    def save(self, phase: str, state: Mapping[str, Any]) -> None:
        """Remember the state."""
        self._states = self.states() | {phase: dict(state)}

    def write_bytes(self, name: str, content: bytes) -> Path:
        """Nothing."""
        return self.path / name

    def record(self, **metrics: Any) -> None:
        """Nothing."""

    def rewind(self, phase: str, epoch: int) -> None:
        """Nothing."""


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
    or the disk is full. Of many processes the first opens it, the others follow.
    """
    path = Path(path)
    if not ranks.first():
        ranks.wait()  # until the first has opened it
        follower = Follower(path, checkpoint_seconds)
        follower.states()
        ranks.wait()  # until all have read the checkpoint, which the first replaces from now on
        yield follower
        return
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
        run = Run(path, checkpoint_seconds)
        # As YAML reads it back: tuples become lists.
        plain = yaml.safe_load(yaml.safe_dump(dict(settings), sort_keys=False))
        config = path / "config.yaml"
        if config.exists():
            old = read_yaml(config)
            _check_settings(path, old | {k: plain[k] for k in free}, plain)
        else:
            old = None
            strangers = [p.name for p in path.iterdir() if p.name != ".lock"]
            if strangers:
                raise EdartsError(
                    f"{path}: holds other files ({strangers[0]}) but no config.yaml; give an empty"
                    " or new folder with --out"
                )
            run.write_json("environment.json", environment())
        if old != plain:
            with _disk_errors(config), _replacing(config) as aside:
                write_yaml(aside, plain)
        if ranks.count() > 1:
            run.states()
            ranks.wait()
            ranks.wait()
        yield run
    finally:
        lock.release()


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


def environment() -> dict[str, Any]:
    """Versions, processor, threads and source revision, for environment.json."""
    packages = ("edarts", "torch", "numpy", "scipy", "datasets", "pillow")
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "processes": ranks.count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "versions": {name: metadata.version(name) for name in packages},
        "revision": _revision(),
    }


def processor() -> str:
    """The processor's name; empty if the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((ln.split(":", 1)[1].strip() for ln in lines if ln.startswith("model name")), "")


def _revision() -> str | None:
    """The commit of the source tree, if edarts runs from one."""
    root = Path(__file__).resolve().parents[3]
    if not (root / ".git").exists():
        return None
    try:
        asked = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return None
    return asked.stdout.strip() or None


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


class Stop:
    """Whether the user asked to stop (Ctrl-C, SIGTERM). A second Ctrl-C stops at once."""

    def __init__(self) -> None:
        self.requested = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested and ranks.count() > 1:
            return  # torchrun passes on what the terminal has sent already
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        print("\nstopping after this step, with a checkpoint ...", file=sys.stderr)

    @contextmanager
    def listening(self) -> Iterator["Stop"]:
        """Take over the signals inside the block; does nothing outside the main thread."""
        try:
            before = {s: signal.signal(s, self._handle) for s in (signal.SIGINT, signal.SIGTERM)}
        except ValueError:
            yield self
            return
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
