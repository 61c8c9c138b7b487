"""Settings as YAML, of this version and of older ones."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from edarts.config.reading import open_regular
from edarts.errors import EdartsError, reason_of

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
    (TRAINED, "jitter", 0.0, ("fast",)),
    (TRAINED, "norm_momentum", 0.1, ("fast",)),
    (TRAINED, "shift", 1 / 8, ("fast",)),
    (TRAINED, "edge", "zeros", ("fast",)),
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


def to_yaml(settings: Mapping[str, Any]) -> str:
    """Settings as YAML, in the order given."""
    return yaml.dump(dict(settings), Dumper=_Plain, sort_keys=False)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read settings; raises EdartsError that names the file."""
    try:
        with open_regular(path) as file:
            return parse_yaml(file.read(), path)
    except FileNotFoundError:
        raise EdartsError(f"{path}: no such file; give a YAML file with options") from None
    except OSError as error:
        raise EdartsError(f"{path}: cannot be read: {error.strerror or error}") from None


def parse_yaml(content: bytes, path: str | Path) -> dict[str, Any]:
    """The settings in the content of a file; raises EdartsError that names it."""
    try:
        settings = yaml.load(content.decode(), Loader=_NoAliases)
    except Exception as error:  # a value can be wrong in any way: a date, digits, brackets
        raise EdartsError(f"{path}: cannot be read as YAML: {reason_of(error)}") from None
    if not isinstance(settings, dict) or not all(isinstance(key, str) for key in settings):
        raise EdartsError(f"{path}: expected 'option: value' lines")
    return settings


class _NoAliases(yaml.SafeLoader):
    """Refuses aliases: a few lines of them stand for more than any memory holds."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise ValueError("it has an alias (*name); write its value out")
        return super().compose_node(parent, index)


class _Plain(yaml.SafeDumper):
    """Writes every value out, also one that stands there twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True
