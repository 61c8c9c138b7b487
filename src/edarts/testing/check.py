"""`edarts check NAME`: the contract tests of a plug-in, and a line on each for its author."""

import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr
from dataclasses import asdict, dataclass
from io import StringIO
from pathlib import Path
from typing import Any, Literal

from edarts import registry
from edarts.config import OPTUNA
from edarts.errors import EdartsError, one_line, reason_of, unknown
from edarts.testing.others import Skipped, check_options

# Group -> its checks; the modules are imported when a plug-in of the group is checked.
CHECKS = {
    "methods": "edarts.testing.oneshot:CHECKS",
    "samplers": "edarts.testing.blackbox:LEDGER_CHECKS",
    "spaces": "edarts.testing.spaces:CHECKS",
    "operations": "edarts.testing.others:OPERATIONS",
    "sources": "edarts.testing.others:SOURCES",
    "recipes": "edarts.testing.trainings:RECIPES",
    "baselines": "edarts.testing.spaces:BASELINES",
    "studies": "edarts.testing.trainings:STUDIES",
    "exports": "edarts.testing.others:EXPORTS",
}
# The checks that a plug-in's PLANTED is for: a planted answer must be found in seconds.
PLANTED = ("check_planted_images", "check_ledger_planted")


@dataclass(frozen=True)
class Checked:
    """What one check of one plug-in gave; `reason`: why it failed or was skipped, on one line, or
    what a check that passed has measured.
    """

    plugin: str
    check: str
    outcome: Literal["passed", "failed", "skipped"]
    reason: str = ""

    def __str__(self) -> str:
        line = f"{self.outcome:9}{self.plugin}  {self.check}"
        return f"{line}: {self.reason}" if self.reason else line


@dataclass(frozen=True)
class CheckReport:
    """What all checks of a plug-in gave; of several, where several groups have the name."""

    checks: tuple[Checked, ...]

    @property
    def exit_code(self) -> int:
        """1 if a check failed."""
        return int(any(check.outcome == "failed" for check in self.checks))

    def summary(self) -> str:
        """A line for each check, and how many passed."""
        outcomes = [check.outcome for check in self.checks]
        skipped = f", {outcomes.count('skipped')} skipped" if "skipped" in outcomes else ""
        total = f"{outcomes.count('passed')} of {len(outcomes)} checks passed{skipped}"
        return "\n".join([*map(str, self.checks), total])

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"passed": not self.exit_code, "checks": [asdict(check) for check in self.checks]}


def check(plugin: str) -> CheckReport:
    """Run the contract tests of a plug-in, by its name, perhaps with its group as `recipes.fast`.

    A name that several groups have is checked in each of them. Raises UsageError for a name that
    none has.
    """
    return CheckReport(
        tuple(one for group, name in members(plugin) for one in checked(group, name))
    )


def members(plugin: str) -> list[tuple[str, str]]:
    """(group, name) of all that a name stands for. Raises UsageError if that is nothing."""
    group, _, rest = plugin.partition(".")
    groups, name = ((group,), rest) if group in registry.GROUPS else (registry.GROUPS, plugin)
    name = f"{OPTUNA}TPESampler" if name == OPTUNA.removesuffix(":") else name  # one for all
    if name.startswith(OPTUNA) and "samplers" in groups:
        return [("samplers", name)]
    found = [(g, name) for g in groups if name in registry.names(g)]
    if not found:
        known = [other for g in groups for other in registry.names(g)]
        raise unknown("plug-in" if len(groups) > 1 else registry.GROUPS[group].what, name, known)
    return found


def checked(group: str, name: str) -> Iterator[Checked]:
    """What the checks of one member give, one after the other; only the import if that fails."""
    label = f"{group}.{name}"
    try:
        plugin = registry.get(group, "optuna" if name.startswith(OPTUNA) else name)
    except EdartsError as error:
        yield Checked(label, "import", "failed", reason_of(error))
        return
    yield _run(label, check_options, group, plugin)
    checks: Sequence[Callable[..., str | None]] = registry.locate(CHECKS[group])
    for one in checks:
        if one.__name__ not in PLANTED:
            # A method is given by its name, for `optuna:NAME` is a name only.
            yield _run(label, one, name if group in ("methods", "samplers") else plugin)
        elif (changes := getattr(plugin, "PLANTED", {})) is None:
            yield Checked(label, _title(one), "skipped", "it does not promise to learn (PLANTED)")
        else:
            yield _run(label, one, name, **changes)


def _run(label: str, one: Callable[..., str | None], *arguments: Any, **changes: Any) -> Checked:
    """A plug-in can raise anything; an assertion says what is wrong with it."""
    title = _title(one)
    try:
        with redirect_stderr(StringIO()):  # the warnings of small searches concern nobody
            measured = one(*arguments, **changes)
    except Skipped as skipped:
        return Checked(label, title, "skipped", one_line(skipped))
    except AssertionError as error:
        text = str(error)
        return Checked(label, title, "failed", one_line(error) if text else _where(error))
    except Exception as error:
        return Checked(label, title, "failed", reason_of(error))
    return Checked(label, title, "passed", measured or "")


def _title(one: Callable[..., str | None]) -> str:
    return one.__name__.removeprefix("check_").removeprefix("ledger_").replace("_", " ")


def _where(error: AssertionError) -> str:
    """The line of an assertion that says nothing itself."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(last.filename).name}, line {last.lineno}: {last.line}"
