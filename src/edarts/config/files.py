"""Settings as YAML."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from edarts.errors import EdartsError


def flat_config(path: str) -> dict[str, Any]:
    """Option, with dots where it is nested -> value, of a YAML file. Raises EdartsError."""
    flat: dict[str, Any] = {}
    for key, value in read_yaml(path).items():
        flat |= (
            {f"{key}.{k}": v for k, v in value.items()}
            if isinstance(value, dict)
            else {str(key): value}
        )
    return flat


def write_yaml(path: Path, settings: Mapping[str, Any]) -> None:
    """Write settings in the order given."""
    path.write_text(yaml.safe_dump(dict(settings), sort_keys=False), encoding="utf-8")


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read settings; raises EdartsError that names the file."""
    try:
        settings = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise EdartsError(f"{path}: no such file; give a YAML file with options") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())
        raise EdartsError(f"{path}: cannot be read as YAML: {reason}") from None
    if not isinstance(settings, dict):
        raise EdartsError(f"{path}: expected 'option: value' lines")
    return settings
