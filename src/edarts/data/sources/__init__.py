"""Data sources: each turns the argument DATA into a catalogue without decoding an image.

One file a source; `PLUGIN` is an object of the protocol in base.py. Nothing here imports torch.
"""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from edarts import registry
from edarts.config import DataConfig
from edarts.config.reading import check_regular
from edarts.data.catalogue import Catalogue
from edarts.data.sources.base import Source, options_of
from edarts.errors import EdartsError, UsageError

# The first source that accepts the data opens it: prefixes of ours, then plug-ins, then what the
# path says. A folder comes last, for it may hold anything.
PREFIXES = ("digits", "hub", "arrays")
PATHS = ("npz", "parquet", "csv", "folder")


def source_of(data: str) -> tuple[str, Source]:
    """Name and object of the source that reads `data`.

    Raises EdartsError that says what can be given if there is none.
    """
    for name, source in _in_order():
        if source.accepts(data):
            return name, source
    text = f"{_refusal(data)}; give {help_of_data()}{_broken()}"
    raise EdartsError(text) from registry.UnknownPlugin("sources", data, text)


def open_catalogue(config: DataConfig) -> Catalogue:
    """List the images of `config.data` without decoding them. Raises EdartsError."""
    name, source = source_of(config.data)
    kind = options_of(source)
    if config.options is not None and (kind is None or not isinstance(config.options, kind)):
        option = fields(config.options)[0].name  # type: ignore[arg-type]
        raise not_an_option(option, config.data, name)
    return source.open(config.data, config)


def help_of_data() -> str:
    """What DATA may be, in one line."""
    sources = dict(_in_order())
    first = ("digits", "folder", "csv", "parquet", "npz", "hub")
    parts = [sources[name].describe for name in first]
    parts += [
        f"{source.describe} (plug-in {name})"
        for name, source in sources.items()
        if name not in (*PREFIXES, *PATHS)
    ]
    return f"{', '.join(parts[:-1])}, or {parts[-1]}"


def options_for(data: str) -> type | None:
    """The `Options` of the source of `data`; None if it takes none, or the data are not there."""
    try:
        return options_of(source_of(data)[1])
    except EdartsError:
        return None


def make_options(data: str, values: Mapping[str, Any]) -> Any:
    """The `Options` of the source of `data`; raises UsageError for one that it does not take."""
    name, source = source_of(data)
    kind = options_of(source)
    taken = {option.name for option in fields(kind)} if kind is not None else set()
    for option in values:
        if option not in taken:
            raise not_an_option(option, data, name)
    return kind(**values) if kind is not None else None


def option_names() -> dict[str, list[str]]:
    """Option -> the sources that take it."""
    found: dict[str, list[str]] = {}
    for name, source in registry.members("sources"):
        kind = options_of(source)
        for option in fields(kind) if kind is not None else ():
            found.setdefault(option.name, []).append(name)
    return found


def not_an_option(option: str, data: str, name: str) -> UsageError:
    """The error for an option of other sources that source `name` of `data` does not take."""
    takers = option_names().get(option, [])
    return UsageError(
        f"{option} is an option of the source {' or '.join(takers)}; {data} is read by the source"
        f" {name}"
    )


def _in_order() -> list[tuple[str, Source]]:
    sources = {
        name: source() if isinstance(source, type) else source
        for name, source in registry.members("sources")
    }
    others = [name for name in sources if name not in (*PREFIXES, *PATHS)]
    return [(name, sources[name]) for name in (*PREFIXES, *others, *PATHS)]


def _refusal(data: str) -> str:
    path = Path(data)
    if not path.exists():
        return f"{data}: no such file or folder"
    if not path.is_dir():
        check_regular(path)
    return f"{data}: no folder, .zip, .csv, .parquet or .npz; '{path.suffix}' cannot be read"


def _broken() -> str:
    """Why plug-ins that might have read the data cannot be imported."""
    reasons = []
    for name in registry.names("sources"):
        try:
            registry.get("sources", name)
        except EdartsError as error:
            reasons.append(f"; {error}")
    return "".join(reasons)
