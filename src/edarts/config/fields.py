"""Fields of configs and options: bounds, texts, and defaults filled in."""

import ast
import dataclasses
import inspect
import numbers
import textwrap
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cache
from itertools import pairwise
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar

from edarts import registry
from edarts.errors import UsageError, unknown

Config = TypeVar("Config")
UNSET: Any = None
"""Not given: the default of the method or recipe is taken when the config is resolved."""


@dataclass(frozen=True)
class Between:
    """The bounds of a field, both included: `Annotated[int, Between(1, None)]`; None: no bound."""

    low: float | None
    high: float | None = None

    def check(self, name: str, value: float | None) -> None:
        """Raises UsageError that names the field if `value` lies outside; None always passes."""
        if value is None:
            return
        low, high = self.low, self.high
        if (low is None or low <= value) and (high is None or value <= high):
            return  # written so that NaN, which compares with nothing, does not pass
        if high is None:
            bound = f"at least {low:g}"
        else:
            bound = f"at most {high:g}" if low is None else f"between {low:g} and {high:g}"
        raise UsageError(f"{name} must be {bound}, got {value}")


WORDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
LARGEST = 1e30  # of a number in a field: float32, with which is computed, ends at 3e38
NUMBERS = {int: numbers.Integral, float: numbers.Real}  # numpy's are such too


def check_fields(settings: object) -> None:
    """Check every field of a dataclass instance that is plain, has a `Between` or is a `Literal`.

    Raises UsageError that names the field.
    """
    kind: Any = type(settings)
    for name, kinds in _plain(kind):
        value = getattr(settings, name)
        if value is not None and not any(_is_a(value, one) for one in kinds):
            wanted = " or ".join(WORDS[one] for one in kinds)
            raise UsageError(f"{name} must be {wanted}, got {value!r:.40}")
        if isinstance(value, int | float) and abs(value) > LARGEST:
            raise UsageError(f"{name} is too large, got {value!r:.40}")
    for name, bounds in _bounds(kind):
        bounds.check(name, getattr(settings, name))
    for name, known in _choices(kind):
        value = getattr(settings, name)
        if value is not None and value not in known:
            raise unknown(f"value of {name}", str(value), map(str, known))


def _is_a(value: object, kind: Any) -> bool:
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, NUMBERS.get(kind, kind))


@cache
def _plain(kind: Any) -> list[tuple[str, list[Any]]]:
    """The fields that hold nothing but numbers, text or truth, and which of these."""
    found = []
    for name, hint in _hints(kind).items():
        kinds = set(_kinds(hint)) - {NoneType}
        if kinds and kinds <= WORDS.keys() and any(f.name == name for f in fields(kind)):
            found.append((name, sorted(kinds, key=list(WORDS).index)))
    return found


def _kinds(hint: Any) -> Iterator[Any]:
    """The types that a field may have; those of `Annotated` and of unions, one by one."""
    parts = typing.get_args(hint)
    if typing.get_origin(hint) is Annotated:
        yield from _kinds(parts[0])
    elif typing.get_origin(hint) in (typing.Union, UnionType):
        for part in parts:
            yield from _kinds(part)
    else:
        yield hint


@cache
def _bounds(kind: Any) -> list[tuple[str, Between]]:
    return [(name, b) for name, hint in _hints(kind).items() for b in _annotations(hint)]


@cache
def _choices(kind: Any) -> list[tuple[str, tuple[Any, ...]]]:
    return [
        (name, typing.get_args(part))
        for name, hint in _hints(kind).items()
        for part in (hint, *typing.get_args(hint))
        if typing.get_origin(part) is Literal
    ]


def _hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind, include_extras=True)


def _annotations(hint: Any) -> Iterator[Between]:
    """The `Between`s of a type, of `Annotated[int, ...] | None` too."""
    yield from (m for m in getattr(hint, "__metadata__", ()) if isinstance(m, Between))
    if typing.get_origin(hint) is not Annotated:
        for part in typing.get_args(hint):
            yield from _annotations(part)


# The kinds of numbers that several fields are.
Count = Annotated[int, Between(1, None)]
Positive = Annotated[float, Between(1e-12, None)]
NotNegative = Annotated[float, Between(0, None)]
Share = Annotated[float, Between(0, 1)]


@cache
def docs(kind: type) -> dict[str, str]:
    """Name of each field of a dataclass -> the text under it, its bases' fields included."""
    found: dict[str, str] = {}
    for owner in reversed(kind.__mro__[:-1]):
        try:
            (tree,) = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
        except (OSError, TypeError, SyntaxError):
            continue  # a class without its source has no texts
        body = tree.body if isinstance(tree, ast.ClassDef) else []
        for item, text in pairwise(body):
            if (
                isinstance(item, ast.AnnAssign)
                and isinstance(text, ast.Expr)
                and isinstance(text.value, ast.Constant)
            ):
                found[ast.unparse(item.target)] = " ".join(str(text.value.value).split())
    return found


@dataclass(frozen=True)
class NoOptions:
    """Of a plug-in that has no options of its own."""


def option_names(plugin: Any) -> set[str]:
    """The names of a plug-in's own options."""
    return {f.name for f in fields(getattr(plugin, "Options", NoOptions))}


def takers(option: str, *groups: str) -> str:
    """Whose own option this is: `methods that do: snas; spaces that do: darts`, or nothing."""
    found = [
        f"{group} that do: {', '.join(names)}"
        for group in groups
        if (names := [n for n, plugin in registry.members(group) if option in option_names(plugin)])
    ]
    return "; ".join(found)


def resolve(config: Config, defaults: Mapping[str, Any]) -> Config:
    """`config` with every field that is None taken from `defaults`."""
    missing = {k: v for k, v in defaults.items() if getattr(config, k) is None}
    filled: Config = dataclasses.replace(config, **missing)  # type: ignore[type-var]
    return filled
