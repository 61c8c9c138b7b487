"""The parser of a verb: options from dataclasses, values from YAML, errors in one readable line."""

import re
from argparse import HelpFormatter
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, Literal

from jsonargparse import ArgumentParser

from edarts.config import read_options, takers
from edarts.config.options import Option
from edarts.errors import UsageError, unknown

Values = dict[str, dict[str, Any]]
"""What was given: the section that an option belongs to -> its name, without prefix -> value."""

OF_FIND = ("train.", "candidates", "minutes", "max_", "ram_type")


class Given:
    """What was typed, and what the file of --config holds: they name the method, recipe and study
    whose options there are, so they are read before there is a parser.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self.words = list(words)
        self.help = bool({"-h", "--help"} & set(words))
        self.typed: dict[str, str] = {}  # of an option that is given twice the last one counts
        for word, following in pairwise([*words, ""]):
            flag, sign, value = word.partition("=")
            if flag.startswith("--"):
                self.typed[flag[2:].replace("-", "_")] = value if sign else following
        self.file = self.typed.get("config")
        self.settings = read_options(self.file) if self.file is not None else {}
        plain = [*words, str(self.settings.get("data", "-"))]  # of these one may be DATA
        self.plain = [word for word in plain if not word.startswith("-")]

    def get(self, name: str, usual: str = "") -> str:
        """The value of an option, as text; a help takes nothing for granted, so it is quick."""
        usual = "" if self.help else usual
        return self.typed.get(name) or str(self.settings.get(name, usual))


class Parser(ArgumentParser):
    """jsonargparse's, with options spelled with dashes, each of a section, and errors raised; of
    the groups `plugins` some members' own options may be among them.
    """

    def __init__(self, plugins: Sequence[str] = (), **words: Any) -> None:
        super().__init__(exit_on_error=False, formatter_class=HelpFormatter, **words)
        self.plugins = plugins
        self.options: dict[str, Option] = {}  # by name, with its prefix
        self.sections: dict[str, str] = {}  # name of an option or argument -> its section
        self._owners: dict[str, Any] = {"options": self}  # heading in the help -> what is below it

    def add(self, section: str, options: Iterable[Option], prefix: str = "") -> None:
        """Add options and arguments; of two that have the same name the first."""
        for option in options:
            if prefix + option.name not in self.sections:
                self.sections[prefix + option.name] = section
                self._add(prefix + option.name, option)

    def _add(self, name: str, option: Option) -> None:
        known, text = tuple(option.names()), option.help.replace("%", "%%")
        kind = Literal[known] | str if known else option.kind  # so that a shell completes it
        if option.many:
            self.usage = f"{self.usage} {f'[{name}]' if option.many == '?' else name}"
            many = None if option.many == "1" else option.many
            self.add_argument(name, nargs=many, type=kind, help=text)
            return
        self.options[name] = option
        if option.owner not in self._owners:
            self._owners[option.owner] = self.add_argument_group(option.owner)
        many, short = "?" if option.plain is bool else None, option.takes[0]
        group = self._owners[option.owner]
        group.add_argument(_flag(name), type=kind | None, nargs=many, metavar=short, help=text)

    def read(self, given: Given) -> Values:
        """All that was given, typed or in the file. Raises UsageError; exits after --help."""
        words = [*self._from_file(given), *self._spelled(given.words)]
        try:
            found = vars(self.parse_args(words).as_flat())
        except Exception as error:  # jsonargparse wraps argparse's in its own
            raise UsageError(self._readable(str(error))) from None
        values: Values = defaultdict(dict)
        for name, section in self.sections.items():
            if found.get(name) is not None:
                values[section][name.rpartition(".")[2]] = found[name]
        return values

    def _from_file(self, given: Given) -> list[str]:
        """The file's options as if typed before the others, which therefore win."""
        words = []
        for name, value in given.settings.items():
            text = str(value).lower() if isinstance(value, bool) else str(value)
            if name in self.options:
                words.append(f"{_flag(name)}={text}")
            elif name in self.sections:
                self.set_defaults({name: text})
            elif not (name.startswith(OF_FIND) and "method" in self.options):
                # `search` takes the file of `find`, which holds a race and a training too.
                raise UsageError(f"{given.file}: {self._untaken(name, name, self.sections)}")
        return words

    def _spelled(self, words: Sequence[str]) -> list[str]:
        """Options with dashes, and a switch that stands alone as `--switch=true`."""
        result, rest = [], list(words)
        while rest and rest[0] != "--":
            word = rest.pop(0)
            if word.startswith("--") and word != "--help":
                flag, sign, value = word.partition("=")
                name = flag[2:].replace("-", "_")
                if name not in self.options:
                    raise self._untaken(name, flag, map(_flag, self.options))
                if not sign and self.options[name].plain is bool:
                    alone = rest[:1] not in (["true"], ["false"], ["null"])
                    sign, value = "=", "true" if alone else rest.pop(0)
                word = _flag(name) + sign + value
            result.append(word)
        return result + rest

    def _untaken(self, name: str, shown: str, known: Iterable[str]) -> UsageError:
        """The error for an option that only others have, or nothing has."""
        if others := takers(name.rpartition(".")[2], *self.plugins):
            return UsageError(f"{self.prog} takes no {shown} here ({others})")
        return unknown("option", shown, known)

    def _readable(self, message: str) -> str:
        """jsonargparse's message in one line, with the option's name and what it takes."""
        text = " ".join(message.split())
        key = re.search(r'[Pp]arser key "([\w.]+)"', text)
        value = re.search(r"(?:Given value|Got value): (.*)$", text)
        if key is None or value is None:
            return text.removeprefix("error: ")
        expected = self.options[key[1]].takes[1]
        return f"{_flag(key[1])}: expected {expected}, got {value[1].strip()}"


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
