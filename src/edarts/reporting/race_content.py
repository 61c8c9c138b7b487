"""What the page of `find` says of its race: the verdict, the candidates, accuracy against size."""

from collections.abc import Mapping, Sequence
from typing import Any

from edarts.reporting.model import Column, Plot, Series, Table
from edarts.reporting.reports import Entrant
from edarts.reporting.stats import Estimate

COLUMNS = (
    Column("candidate"),
    Column("accuracy", "share"),
    Column("parameters"),
    Column("multiply-adds"),
    Column("training", "s"),
    Column("last round"),
)
NOTE = (
    "Accuracy on the same training images held out, after the candidate's last round; the test"
    " images were not read. Rounds get longer, so accuracies of different rounds do not compare."
)


def sentences(race: Mapping[str, Any]) -> list[str]:
    """The verdict, and what was shortened or left out."""
    said = [race["verdict"], *race["cut"]]
    return [f"{text[0].upper()}{text[1:]}." for text in said]


def tables(race: Mapping[str, Any]) -> list[Table]:
    """A row for each candidate, from best to worst."""
    rows = [
        (one.name, one.accuracy, one.parameters, one.flops, one.seconds, one.round)
        for one in _entrants(race)
    ]
    return [Table("The race", COLUMNS, rows, NOTE)]


def plots(race: Mapping[str, Any]) -> list[Plot]:
    """Accuracy against the number of parameters; the front is what nothing smaller reaches."""
    every = _entrants(race)
    best = front(every)
    others = [one for one in every if one not in best]
    series = [_series("the front", best, line=True)]
    series += [_series("other candidates", others)] if others else []
    x, y = "parameters", "accuracy on images held out, %"
    return [Plot("race", "Accuracy against size", x, y, series, log=True)]


def front(entrants: Sequence[Entrant]) -> list[Entrant]:
    """Those that nothing as small or smaller is as accurate as, from the smallest on."""
    best: list[Entrant] = []
    for one in sorted(entrants, key=lambda one: (one.parameters, -one.accuracy.value)):
        if not best or one.accuracy.value > best[-1].accuracy.value:
            best.append(one)
    return best


def _series(name: str, entrants: Sequence[Entrant], line: bool = False) -> Series:
    return Series(
        name,
        [one.parameters for one in entrants],
        [_percent(one.accuracy) for one in entrants],
        [f"{one.name}: {one.accuracy.value:.2%}, {one.parameters:,}" for one in entrants],
        line,
    )


def _percent(share: Estimate) -> Estimate:
    assert share.low is not None and share.high is not None
    return Estimate(100 * share.value, 100 * share.low, 100 * share.high, share.n)


def _entrants(race: Mapping[str, Any]) -> list[Entrant]:
    return [Entrant.from_dict(one) for one in race["candidates"]]
