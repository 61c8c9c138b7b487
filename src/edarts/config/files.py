"""Settings as YAML, of this version and of older ones."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from edarts.errors import EdartsError

RENAMED = {"size": "recipe"}  # a key of config.yaml -> what it is called now
RECIPES = {"full": "darts"}  # a recipe -> what it is called now
SPACES = {"pnas": "blocks", "hierarchical_evolution": "motifs"}  # of methods of version 0.1
OLD = {"method", "order", "operations", "topology", "attention", "clip"}  # always, in version 0.1
TRAINED = {"auxiliary", "drop_path", "cutout", "valid_fraction"}  # always, in that of a training
SEARCHED = {"arch_update", "arch_lr", "lr_min", "warm_up"}
# Such keys, a later one, its value for what was done before it, and the recipes that it is of.
SINCE: tuple[tuple[set[str], str, Any, tuple[str, ...]], ...] = (
    (TRAINED, "whitening", False, ()),
    (TRAINED, "drop", "edges", ("darts", "shallow")),
    (SEARCHED, "patience", 0, ()),
    (SEARCHED, "arch_every", 1, ()),
    (SEARCHED, "nesterov", False, ()),
)
ARGUMENTS = {"genotype": "architecture", "study": "kind"}  # a key -> the argument of a verb


def read_options(path: str) -> dict[str, Any]:
    """The options and arguments that a YAML file gives, with dots where they are nested.

    The file is one of a user's, or the config.yaml of a run of any version. What is null in it is
    not given. Raises EdartsError.
    """
    flat: dict[str, Any] = {}
    for key, value in upgraded(read_yaml(path)).items():
        nested = value if isinstance(value, dict) else {"": value}
        for name, part in nested.items():
            whole = f"{key}.{name}" if name else ARGUMENTS.get(key, key)
            flat[whole.replace("-", "_")] = part
    # Of a comparison, which has a verb of its own: each of its searches has one of the `methods`.
    vain = {"kind", "search.method"} if flat.get("kind") == "compare" else set()
    vain |= {"fingerprint"}  # is no option: it says what the data were
    return {name: value for name, value in flat.items() if value is not None and name not in vain}


def upgraded(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as this version calls them, from those of any version."""
    named = {
        RENAMED.get(key, key): upgraded(value) if isinstance(value, Mapping) else value
        for key, value in settings.items()
    }
    if isinstance(recipe := named.get("recipe"), str):
        named["recipe"] = RECIPES.get(recipe, recipe)
    for known, key, value, recipes in SINCE:
        whole = all(named.get(name) is not None for name in known)
        if whole and (not recipes or named.get("recipe") in recipes):
            named.setdefault(key, value)  # a run was not asked for what it did not know
    return _with_space(named) if named.keys() >= OLD else named


def _with_space(old: dict[str, Any]) -> dict[str, Any]:
    """Settings of a search of version 0.1, which had no `space` and every method's options.

    Its topology `enas` is a space now. Where it names no topology, as the search of a study may,
    the space is left to the method.
    """
    method, new = str(old["method"]), {k: v for k, v in old.items() if v is not None}
    if method in SPACES:
        new["space"] = SPACES[method]
        new.pop("topology", None)
    elif new.get("topology") == "enas":
        new["space"] = new.pop("topology")
    elif "topology" in new:
        new["space"] = "darts"
    if "partial" in new:
        new["channel_fraction"] = 1.0 / new.pop("partial")
    if method == "nasnet_rl" and "arch_lr" in new:
        new["controller_lr"] = new.pop("arch_lr")
    if method == "edarts":
        new.pop("order", None)  # it had but one
    if method == "random_ws":
        new.pop("arch_update", None)  # it sets it itself
    return new


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
