"""Arguments from dataclasses, defaults from YAML, and errors in one readable line."""

import re
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from jsonargparse import ArgumentParser

from edarts.config import docs, flat_config
from edarts.errors import UsageError, unknown

KINDS = {int: "a whole number", float: "a number", bool: "true or false"}


@dataclass(frozen=True)
class Options:
    """The options of a command: `values` by name, with dots where nested, and whose each is."""

    values: Mapping[str, Any]
    sections: Mapping[str, str]

    def __getitem__(self, name: str) -> Any:
        return self.values.get(name)

    def part(self, section: str) -> dict[str, Any]:
        """What was given of one section, by names without their prefix."""
        return {
            name.rpartition(".")[2]: value
            for name, value in self.values.items()
            if value is not None and self.sections.get(name) == section
        }


class Parser(ArgumentParser):
    """jsonargparse's, with options spelled with dashes, each of a section, and errors raised."""

    def __init__(self, **words: Any) -> None:
        super().__init__(exit_on_error=False, **words)
        self.types: dict[str, Any] = {}  # of options, by name with dashes
        self.sections: dict[str, str] = {}  # whose an option is, by name with underscores

    def option(
        self, name: str, kind: Any, default: Any = None, text: str = "", section: str = "verb"
    ) -> None:
        """Add `--name`; `text` says what it is, with its unit and default."""
        flag = name.replace("_", "-")
        self.types[flag], self.sections[name] = kind, section
        switch: dict[str, Any] = {"nargs": "?", "const": True} if _plain(kind) is bool else {}
        self.add_argument(f"--{flag}", type=kind | None, default=default, help=text, **switch)

    def fields_of(
        self,
        kind: type,
        section: str,
        prefix: str = "",
        usual: Mapping[str, Any] | None = None,
        skip: Iterable[str] = (),
        only: Iterable[str] | None = None,
    ) -> None:
        """Add an option for each field of a dataclass that there is none for yet, or for some only.

        One that is not given stays None; `usual`: the defaults that the help shows.
        """
        hints, texts = get_type_hints(kind), docs(kind)
        for field in fields(kind):
            name = prefix + field.name
            wanted = field.name not in skip and (only is None or field.name in only)
            if wanted and name not in self.sections:
                value = (usual or {}).get(field.name)
                shown = "" if value is None else f" (default: {_show(value)})"
                text = texts.get(field.name, "") + shown
                self.option(name, hints[field.name], None, text, section)

    def take_config(self, path: str, settings: Mapping[str, Any], foreign: str | None) -> None:
        """Make a config's values the defaults, so that options given beside it win.

        `foreign`: the prefix of those to pass over. Raises UsageError that names the file and an
        option that the verb does not have.
        """
        mine = {k: v for k, v in settings.items() if not (foreign and k.startswith(foreign))}
        for key in mine:
            if key.replace("-", "_") not in self.sections:
                raise UsageError(f"{path}: {unknown('option', key, self.sections)}")
        self.set_defaults({key.replace("-", "_"): value for key, value in mine.items()})

    def spell(self, words: Sequence[str]) -> list[str]:
        """Options with dashes, and a switch that stands alone as `--switch=true`.

        `--score table FILE` becomes `--score=table:FILE`, as config.yaml has it. Raises UsageError
        for an option that the verb does not have.
        """
        result: list[str] = []
        rest = list(words)
        while rest:
            word = rest.pop(0)
            if word == "--":
                return [*result, word, *rest]
            if word.startswith("--"):
                flag, sign, value = word[2:].partition("=")
                flag = flag.replace("_", "-")
                if flag not in self.types and flag != "help":
                    raise unknown("option", f"--{flag}", [f"--{name}" for name in self.types])
                if not sign and _plain(self.types.get(flag)) is bool:
                    sign, value = "=", rest.pop(0) if rest[:1] in (["true"], ["false"]) else "true"
                if flag.endswith("score") and not sign and rest[:1] in (["supernet"], ["table"]):
                    sign, value = "=", ":".join(rest[:2])
                    del rest[:2]
                word = f"--{flag}{sign}{value}"
            result.append(word)
        return result

    def readable(self, message: str) -> str:
        """jsonargparse's message in one line, with the option's name and what it takes."""
        text = " ".join(message.split())
        key = re.search(r'[Pp]arser key "([\w.]+)"', text)
        value = re.search(r"(?:Given value|Got value): (.*)$", text)
        if key is None or value is None:
            return text.removeprefix("error: ")
        names = [key[1], key[1].partition(".")[2]]  # perhaps behind the verb's name
        flag = next((n for n in names if n in self.sections), key[1]).replace("_", "-")
        return f"--{flag}: expected {_expected(self.types.get(flag, str))}, got {value[1].strip()}"


def _show(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def names_or_text(names: Sequence[str]) -> Any:
    """A type whose `names` shell completion knows, and which takes any other text too."""
    return Literal[tuple(names)] | str if names else str


def peek(words: Sequence[str], name: str) -> str | None:
    """The value of an option among the words, before they are parsed, or in their --config file."""
    value = _typed(words, name)
    if value is None and name != "config" and (path := _typed(words, "config")) is not None:
        value = flat_config(path).get(name)
    return None if value is None else str(value)


def _typed(words: Sequence[str], name: str) -> str | None:
    found = None  # the last one counts, as it does when parsed
    for index, word in enumerate(words):
        flag, sign, value = word.partition("=")
        if flag.startswith("--") and flag[2:].replace("-", "_") == name:
            found = value if sign else (words[index + 1] if index + 1 < len(words) else None)
    return found


def _plain(kind: Any) -> Any:
    """The type itself, without `Annotated` and `None`."""
    kind = kind.__origin__ if hasattr(kind, "__metadata__") else kind
    if isinstance(kind, types.UnionType) or get_origin(kind) is typing.Union:
        return _plain(next(k for k in get_args(kind) if k is not type(None)))
    return kind


def _expected(kind: Any) -> str:
    """In words, what an option of this type takes."""
    plain = _plain(kind)
    if get_origin(plain) is Literal:
        return " or ".join(map(str, get_args(plain)))
    return KINDS.get(plain, "text")
