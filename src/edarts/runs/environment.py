"""environment.json: what a run was made with, and what to install when a part of it is missing."""

import errno
import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from edarts import registry
from edarts.config.reading import parse_json, read_text
from edarts.errors import EdartsError
from edarts.runs.processes import world_size

PACKAGES = ("edarts", "torch", "numpy", "scipy", "pyarrow", "pillow")


def environment() -> dict[str, Any]:
    """Versions, processor, threads, plug-ins and source revision, for environment.json.

    `plugins`: what does not come with edarts: `GROUP NAME` -> package and version, as far as the
    config that is about to run has asked for them.
    """
    import torch  # only here, so that a run folder can be read without it

    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "processes": world_size(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "versions": {name: metadata.version(name) for name in PACKAGES},
        "plugins": registry.used(),
        "revision": _revision(),
    }


def processor() -> str:
    """The processor's name; empty if the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((ln.split(":", 1)[1].strip() for ln in lines if ln.startswith("model name")), "")


def explain(folder: str | Path, error: registry.UnknownPlugin) -> EdartsError:
    """The error for a run whose plug-in is missing here: which one, and how to get it back.

    By the `plugins` of the folder's environment.json; if they do not name the plug-in, `error`
    stands as it is.
    """
    recorded, name = _plugins(Path(folder)), error.name
    if error.group == "sources":  # then what is known is the data, which no source reads
        used = [key.removeprefix("sources ") for key in recorded if key.startswith("sources ")]
        name = next((n for n in used if n not in registry.names("sources")), name)
    origin = recorded.get(f"{error.group} {name}")
    if origin is None:
        return error
    what = f"{folder}: {registry.GROUPS[error.group].what} {name} is not here"
    match origin.split():
        case [package, version]:
            return EdartsError(
                f"{what}; this run was made with {package} {version}: pip install {package}"
            )
        case _:
            return EdartsError(
                f"{what}; this run was made with {origin}: give it to edarts.registry.add first"
            )


def _plugins(folder: Path) -> Mapping[str, str]:
    try:
        recorded = parse_json(read_text(folder / "environment.json", links=False))
        return {str(name): str(origin) for name, origin in recorded["plugins"].items()}
    except (EdartsError, OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}  # older than the record, or damaged: then there is nothing to add


def _revision() -> str | None:
    """The commit of the source tree, if edarts runs from one and git is here.

    Raises OSError where git cannot be started for another reason: no run should lose it silently.
    """
    root = Path(__file__).resolve().parents[3]
    if not (root / ".git").exists():
        return None
    try:
        asked = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"LC_ALL": "C"},
        )
    except (FileNotFoundError, PermissionError):
        return None
    for number in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
        if asked.returncode and os.strerror(number) in asked.stderr:
            raise OSError(number, os.strerror(number))
    return asked.stdout.strip() or None
