"""All that can be set, said once: the command line and its help are made of it.

A method or recipe is imported only if it is named, so that a help which names none needs no torch.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from edarts import registry
from edarts.config.data import DataConfig
from edarts.config.fields import NoOptions, docs
from edarts.config.search import SearchConfig, method_class
from edarts.config.train import TrainConfig

OF_PLUGINS = ("own", "options", "space_options", "handed_in")  # fields with the options of plug-ins


# Of a type: how the help abbreviates what an option takes, and how an error says it.
TAKES = {
    int: ("N", "a whole number"),
    float: ("X", "a number"),
    bool: ("true|false", "true or false"),
    str: ("TEXT", "text"),
}


@dataclass(frozen=True)
class Option:
    """One thing that can be set.

    `text`: what it is, with its unit. `many`: of an argument that is told by its place: how many
    there are, "1", "?" or "+". `known`: the groups of the registry, or `zoo`, in which its names
    are. `default`: what holds if it is not given; None: it depends. `owner`: what it is a part of.
    """

    name: str
    text: str
    kind: Any = str
    many: str = ""
    known: tuple[str, ...] = ()
    default: Any = None
    owner: str = "options"

    def names(self) -> list[str]:
        """The names that it can be, where there are some."""
        zoo = registry.locate("edarts.space.zoo:names")() if "zoo" in self.known else []
        return [*zoo, *(name for g in self.known if g != "zoo" for name in registry.names(g))]

    @property
    def plain(self) -> Any:
        """Its type without `None`; text if that is one of several."""
        parts = [part for part in get_args(self.kind) if part is not type(None)]
        if get_origin(self.kind) is Literal or not parts:
            return self.kind
        return str if str in parts else parts[0]

    @property
    def takes(self) -> tuple[str, str]:
        """What values it takes: in short, and in words."""
        values = [str(value) for value in get_args(self.plain)]
        return ("|".join(values), " or ".join(values)) if values else TAKES[self.plain]

    @property
    def help(self) -> str:
        """What it is, the names that it can be, and its default unless that is nothing or false."""
        value, names = self.default, [] if "zoo" in self.known else self.names()
        shown = f"{value:.4g}" if isinstance(value, float) else value
        text = f"{self.text} One of {', '.join(names)}." if names else self.text
        return (
            text if value is None or value is False or shown == "" else f"{text} (default: {shown})"
        )


KNOWN = {"method": ("methods", "samplers"), "space": ("spaces",), "recipe": ("recipes",)}


def of_fields(
    kind: type, owner: str, usual: Mapping[str, Any] | None = None, skip: Iterable[str] = ()
) -> Iterator[Option]:
    """The fields of a dataclass with types and texts; `usual`: what holds, if not its defaults."""
    hints, texts = get_type_hints(kind), docs(kind)
    for field in fields(kind):
        if field.name not in skip:
            value = field.default if usual is None else usual.get(field.name)
            known = KNOWN.get(field.name, ())
            yield Option(
                field.name,
                texts.get(field.name, ""),
                hints[field.name],
                known=known,
                default=value,
                owner=owner,
            )


def of_plugin(group: str, name: str, usual: Mapping[str, Any] | None = None) -> Iterator[Option]:
    """The own options of a plug-in, where `usual` values stand in for its defaults."""
    kind = getattr(registry.get(group, name), "Options", None) or NoOptions
    values = vars(kind()) | {k: v for k, v in (usual or {}).items() if v is not None}
    return of_fields(kind, f"{registry.GROUPS[group].what} {name}", values)


def of_data(words: Iterable[str]) -> Iterator[Option]:
    """DATA, what all data have, and what the sources have of those words that are data."""
    sources = "edarts.data.sources"
    text = f"{registry.locate(f'{sources}:help_of_data')()} (default: digits)"
    yield Option("data", text, many="?")
    yield from of_fields(DataConfig, "data", skip=("data", *OF_PLUGINS))
    for word in dict.fromkeys(words):
        if (kind := registry.locate(f"{sources}:options_for")(word)) is not None:
            yield from of_fields(kind, f"data such as {word}")


def of_search(
    methods: Iterable[str], space: str = "", skip: Iterable[str] = ()
) -> Iterator[Option]:
    """Of a search by the methods, with the defaults of the first; none: what all methods share.

    `space`: what is searched, if not the first method's. `skip`: fields that are left out.
    """
    owners = {name: method_class(name) for name in methods if name}
    first = next(iter(owners.values()), None)
    usual = first.taken() if first is not None else {}
    yield from of_fields(SearchConfig, "search", usual, (*OF_PLUGINS, *skip))
    for name, owner in owners.items():
        yield from of_fields(owner.Options, f"method {name}")
    yield from of_plugin("spaces", space or (first.SPACE if first is not None else "darts"), usual)


def of_training(recipe: str, usual: Mapping[str, Any]) -> Iterator[Option]:
    """Of a training by a recipe, if one is named, with its defaults, or the `usual` ones."""
    defaults = getattr(registry.get("recipes", recipe), "DEFAULTS", {}) if recipe else {}
    yield from of_fields(TrainConfig, "training", {**defaults, **usual}, OF_PLUGINS)
    if recipe:
        yield from of_plugin("recipes", recipe)
