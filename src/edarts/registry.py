"""Registry: the one door to everything that can be added, by its name or as an object.

Built-ins are the files of a group's folder that define `PLUGIN`; others come from installed
packages by an entry point `edarts.GROUP`, or from Python, by handing the object in. Listing imports
none of them, so --help stays quick.
"""

import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from edarts.errors import EdartsError, UsageError, one_line, unknown


@dataclass(frozen=True)
class Group:
    """What its members are called in messages, and the folder or table of the built-in ones."""

    what: str
    home: str


GROUPS: dict[str, Group] = {
    "methods": Group("method", "edarts.methods.oneshot"),
    "samplers": Group("black-box method", "edarts.methods.blackbox"),
    "operations": Group("operation", "edarts.space.operations:BUILT_IN"),
    "spaces": Group("space", "edarts.space"),
    "sources": Group("data source", "edarts.data.sources"),
    "recipes": Group("recipe", "edarts.training.recipes"),
    "studies": Group("study", "edarts.studies"),
    "baselines": Group("baseline", "edarts.nn.baselines"),
    "exports": Group("export format", "edarts.exports"),
}


class UnknownPlugin(UsageError):
    """No member of `group` is called `name`: a wrong word, or a package that is not installed."""

    def __init__(self, group: str, name: str, text: str) -> None:
        super().__init__(text)
        self.group, self.name = group, name


_handed_in: dict[tuple[str, str], Any] = {}  # from Python
_used: dict[str, str] = {}  # "GROUP NAME" -> where it came from, of those from elsewhere


def names(group: str) -> list[str]:
    """All members: built-in ones first, then those of installed packages and those handed in."""
    others = [*_entry_points(group), *(name for kind, name in _handed_in if kind == group)]
    return list(dict.fromkeys([*_built_in(group), *sorted(others)]))


def get(group: str, plugin: Any) -> Any:
    """The member of `group` with this name; an object that is no text is the member itself.

    Raises UnknownPlugin with the nearest names, and EdartsError that names a package whose member
    cannot be imported, with the reason.
    """
    if not isinstance(plugin, str):
        return add(group, plugin)
    if (group, plugin) in _handed_in:
        _used[f"{group} {plugin}"] = "an object handed in from Python"
        return _handed_in[group, plugin]
    if plugin in _built_in(group):
        return locate(_built_in(group)[plugin])
    if plugin not in _entry_points(group):
        error = unknown(GROUPS[group].what, plugin, names(group))
        raise UnknownPlugin(group, plugin, str(error))
    entry = _entry_points(group)[plugin]
    try:
        found = entry.load()
    except Exception as error:  # a stranger's file can raise anything
        raise EdartsError(
            f"{GROUPS[group].what} {plugin} of package {_package(entry)} cannot be imported:"
            f" {type(error).__name__}: {one_line(error)}"
        ) from error
    _used[f"{group} {plugin}"] = _package(entry)
    return found


def members(group: str) -> Iterator[tuple[str, Any]]:
    """Name and object of all members that can be imported; `problems` says of the others why."""
    for name in names(group):
        try:
            yield name, get(group, name)
        except EdartsError:
            continue


def problems() -> list[str]:
    """A sentence for each installed plug-in that cannot be imported."""
    found = []
    for group in GROUPS:
        for name in _entry_points(group):
            try:
                get(group, name)
            except EdartsError as error:
                found.append(str(error))
    return found


def add(group: str, plugin: Any) -> Any:
    """Take in an object from Python, under its `name`; returns it. Raises UsageError if taken."""
    name = name_of(group, plugin)
    known = _handed_in.get((group, name))
    if name in _built_in(group) or name in _entry_points(group):
        known = get(group, name)
    if known is not None and known is not plugin:
        raise UsageError(f"another {GROUPS[group].what} is called {name}; give yours another name")
    if known is None:
        _handed_in[group, name] = plugin
        _used[f"{group} {name}"] = "an object handed in from Python"
    return plugin


def name_of(group: str, plugin: Any) -> str:
    """What a member is called: by its file or entry point, else its `name`, else its class's."""
    own = getattr(plugin, "__name__", type(plugin).__name__)
    home = getattr(plugin, "__module__", "")
    paths = _built_in(group) | {n: entry.value for n, entry in _entry_points(group).items()}
    for name, path in paths.items():
        if path in (f"{home}:PLUGIN", f"{home}:{own}"):
            return name
    return str(getattr(plugin, "name", own))


def used() -> dict[str, str]:
    """What this process took from elsewhere: `GROUP NAME` -> package and version."""
    return dict(sorted(_used.items()))


def locate(path: str) -> Any:
    """The object at `package.module:name`, imported on demand.

    The one way in which a lower layer names what a higher one makes of it.
    """
    module, _, name = path.partition(":")
    found = importlib.import_module(module)
    for part in name.split("."):
        found = found[part] if isinstance(found, dict) else getattr(found, part)
    return found


def refresh() -> None:
    """Look again at what is installed."""
    _entry_points.cache_clear()
    importlib.invalidate_caches()


@cache
def _built_in(group: str) -> dict[str, str]:
    """Name -> `module:PLUGIN` of each file of the folder that defines it; or a table's entries."""
    home, _, table = GROUPS[group].home.partition(":")
    if table:
        return {name: f"{home}:{table}.{name}" for name in locate(f"{home}:{table}")}
    folder = Path(__file__).parent.joinpath(*home.split(".")[1:])
    found = [file for file in sorted(folder.glob("*.py")) if file.stem != "__init__"]
    defines = re.compile(r"^PLUGIN\b", re.MULTILINE)
    return {
        file.stem: f"{home}.{file.stem}:PLUGIN"
        for file in found
        if defines.search(file.read_text(encoding="utf-8"))
    }


@cache
def _entry_points(group: str) -> dict[str, metadata.EntryPoint]:
    own = _built_in(group)
    found = metadata.entry_points(group=f"edarts.{group}")
    return {entry.name: entry for entry in found if entry.name not in own}


def _package(entry: metadata.EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else entry.value
