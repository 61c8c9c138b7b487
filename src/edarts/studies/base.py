"""One file per study. A study says which runs answer its question, and what they answered.

It names the runs (`jobs`) and reads their rows (`summary`); the driver in study.py does them. No
file imports another.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from edarts import registry
from edarts.config import SearchConfig, TrainConfig
from edarts.errors import UsageError, unknown
from edarts.reporting import stats
from edarts.reporting.model import Plot, Series, Summary
from edarts.reporting.stats import Estimate
from edarts.space import architecture
from edarts.space.genotype import Genotype

Row = dict[str, Any]
Rows = Mapping[str, Row]

MEASURED = (
    "test accuracy: of the test split, which chose nothing; valid: of training images held out"
)


@dataclass(frozen=True)
class Job:
    """One line of a study: perhaps a search, then a training, then an evaluation.

    `factors`: the columns of its row that tell it from the others. `search`: how its cells are
    found; else `genotype` (or zoo name) is trained. `test`: whether it is evaluated on the test
    split.
    """

    name: str
    factors: Mapping[str, Any]
    seed: int
    train: TrainConfig
    search: SearchConfig | None = None
    genotype: Genotype | str | None = None
    test: bool = True


@dataclass(frozen=True)
class Recipe:
    """What the runs of a study have in common.

    `search` may be left open in what the study varies. `seeds`: how many, 0, 1, ...; None: as many
    as the study has by default. `train.valid_fraction`: share of the training images that is held
    out to rank cells, so that the test split ranks nothing.
    """

    search: SearchConfig = field(default_factory=lambda: SearchConfig(method="darts"))
    train: TrainConfig = field(default_factory=lambda: TrainConfig(valid_fraction=0.2))
    seeds: int | None = None

    def __post_init__(self) -> None:
        if self.seeds is not None and self.seeds < 1:
            raise UsageError(f"seeds must be at least 1, got {self.seeds}")
        if self.train.valid_fraction == 0:
            raise UsageError(
                "a study ranks cells on held-out training images: give a --train.valid-fraction"
                " above 0"
            )

    def leave_open(self, reason: str, *names: str) -> None:
        """Raises UsageError if the search sets one of these options; all if none is named."""
        for name, value in vars(self.search).items():
            usual = vars(SearchConfig(method="darts"))[name]
            if value != usual and name in (names or vars(self.search)):
                raise UsageError(f"{reason}: leave out --search.{name.replace('_', '-')}")


class Study(Protocol):
    """A question. Its fields are its options."""

    SEEDS: ClassVar[int]
    """How many seeds it has by default."""

    @property
    def recipe(self) -> Recipe:
        """What its runs have in common."""

    def jobs(self, rows: Rows) -> list[Job]:
        """All jobs that are known once `rows`, by name, are there: perhaps more than before."""

    def summary(self, rows: Rows) -> Summary:
        """What the rows so far answer."""


def names() -> list[str]:
    """The studies there are."""
    return registry.names("studies")


def load(name: str) -> Any:
    """The class of study `name`; raises UsageError with the nearest names."""
    if name not in names():
        raise unknown("study", name, names())
    return registry.get("studies", name)


def seeds(study: Study) -> range:
    """The seeds of a study."""
    return range(study.recipe.seeds or study.SEEDS)


# -- rows ----------------------------------------------------------------------------------------


def done(rows: Rows) -> list[Row]:
    """The rows of runs that ended well."""
    return [row for row in rows.values() if row["status"] == "done"]


def groups(rows: Iterable[Row], key: str) -> dict[Any, list[Row]]:
    """Rows by the value of a column, in the order in which the values come."""
    found: dict[Any, list[Row]] = {}
    for row in rows:
        found.setdefault(row[key], []).append(row)
    return found


def column(rows: Iterable[Row], key: str) -> list[float]:
    """The values of a column, without rows that have none."""
    return [row[key] for row in rows if row.get(key) is not None]


def accuracies(rows: Iterable[Row]) -> list[float]:
    """Test accuracies in percent."""
    return [100 * accuracy for accuracy in column(rows, "test_accuracy")]


def average(rows: Iterable[Row], key: str) -> Estimate | None:
    """Mean of a column with its interval; None without values."""
    values = column(rows, key)
    return stats.mean(values) if values else None


def paired(first: Iterable[Row], second: Iterable[Row], key: str) -> Estimate | None:
    """first - second of a column, over the seeds that both have; None if there is none."""
    by_seed = [{row["seed"]: row[key] for row in rows if key in row} for rows in (first, second)]
    shared = sorted(by_seed[0].keys() & by_seed[1].keys())
    if not shared:
        return None
    return stats.paired([by_seed[0][s] for s in shared], [by_seed[1][s] for s in shared])


def against(
    rest: Mapping[Any, Sequence[Row]], base: Sequence[Row], key: str = "test_accuracy"
) -> dict[Any, Estimate]:
    """Each group minus `base`, paired by seed, the p values corrected by Holm."""
    found = {name: paired(rows, base, key) for name, rows in rest.items()}
    return stats.corrected({name: e for name, e in found.items() if e is not None})


def cells_of(by_group: Mapping[Any, Sequence[Row]], caption: str) -> dict[str, Genotype]:
    """The cells of each group's run of the highest valid accuracy, by caption."""
    best = {
        group: max(rows, key=lambda row: float(row["valid_accuracy"]))
        for group, rows in by_group.items()
    }
    designs = {
        f"{caption.format(group)}, seed {row['seed']}": architecture.from_dict(row["genotype"])
        for group, row in best.items()
    }
    return {name: design for name, design in designs.items() if isinstance(design, Genotype)}


def cost_plot(by_group: Mapping[str, Sequence[Row]], text: Callable[[Row], str]) -> Plot:
    """Test accuracy of each run against the seconds of its search; `text`: what a point says."""
    return Plot(
        "cost",
        "Accuracy against what the search costs",
        "search, seconds",
        "test accuracy, %",
        [
            Series(name, column(rows, "search_seconds"), accuracies(rows), list(map(text, rows)))
            for name, rows in by_group.items()
        ],
    )


def percent(value: Estimate | float | None, signed: bool = False) -> str:
    """0.1234 -> `12.34 %`, with the interval if there is one; in points if `signed`."""
    if value is None:
        return "unknown"
    number, unit = ("+.2f", "points") if signed else (".2f", "%")
    if not isinstance(value, Estimate):
        return f"{100 * value:{number}} {unit}"
    text = f"{100 * value.value:{number}} {unit}"
    if value.low is None or value.high is None:
        return text
    return f"{text} ({100 * value.low:{number}} to {100 * value.high:{number}})"


def verdict(difference: Estimate, what: str, other: str) -> str:
    """A plain sentence on a difference of test accuracies, and on whether it can be told."""
    size = f"{what} minus {other}: {percent(difference, signed=True)}"
    if difference.p is None:
        return f"{size}; from {difference.n} seed(s), so nothing can be concluded."
    p = f"p = {difference.p:.2g}, paired over {difference.n} seeds, Holm's correction"
    if difference.p < 1 - stats.LEVEL:
        better = "better" if difference.value > 0 else "worse"
        return f"{size}: {better} ({p})."
    return f"{size}: they cannot be told apart ({p})."
