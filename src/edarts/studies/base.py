"""What a study is: a question, the runs that answer it, and what they answered.

There is one file for each study, with a class that names the runs (`jobs`) and reads their rows
(`summary`); `driver.study` does the runs. No study imports another.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Protocol

from edarts.config import SearchConfig, TrainConfig
from edarts.errors import UsageError
from edarts.reporting.model import Summary
from edarts.space.base import Architecture
from edarts.studies.row import Factor
from edarts.studies.rows import Rows

FREE: Mapping[str, Any] = {"free": True}
"""Metadata of an option that changes no run, only what is said of them: it may differ from one
time to the next, and is kept in study.json beside the answer, not in config.yaml."""


@dataclass(frozen=True)
class Job:
    """One run of a study: perhaps a search, then a training, then an evaluation.

    `factors`: the columns of its row that tell it from the others. `search`: how its architecture
    is found; without it `genotype`, an architecture or a zoo name, is trained. `test`: whether the
    network is evaluated on the test split.
    """

    name: str
    factors: Mapping[str, Factor]
    seed: int
    train: TrainConfig
    search: SearchConfig | None = None
    genotype: Architecture | str | None = None
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
        if not self.train.valid_fraction:
            raise UsageError(
                "a study ranks cells on held-out training images: give a --train.valid-fraction"
                " above 0"
            )

    def leave_open(self, reason: str, *names: str) -> None:
        """Raises UsageError if the search sets one of these options; all if none is named."""
        given = self.search.given()
        if self.search.method != Recipe().search.method:
            given = {"method": self.search.method, **given}
        for name in given:
            if name in (names or given):
                raise UsageError(f"{reason}: leave out --search.{name.replace('_', '-')}")

    def to_dict(self) -> dict[str, Any]:
        """For config.yaml, where `seeds` stands apart, as the number that was taken."""
        return {"search": self.search.to_settings(), "train": self.train.to_settings()}

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> "Recipe":
        """From a study's config.yaml, whatever else that holds."""
        search = SearchConfig.from_settings(settings["search"])
        return cls(search, TrainConfig.from_settings(settings["train"]), settings["seeds"])


class Study(Protocol):
    """A question. A plug-in is a class that fulfils this."""

    SEEDS: ClassVar[int]
    """How many seeds it has by default."""
    Options: ClassVar[type]
    """A frozen dataclass of what can be chosen, with a sentence under each field."""

    @property
    def recipe(self) -> Recipe:
        """What its runs have in common."""

    @property
    def options(self) -> Any:
        """What was chosen: an instance of `Options`."""

    def __init__(self, recipe: Recipe, options: Any = None) -> None:
        """Raises UsageError for a recipe or options that the study cannot use."""

    def jobs(self, rows: Rows) -> list[Job]:
        """All jobs that are known once `rows`, by name, are there: perhaps more than before."""

    def summary(self, rows: Rows) -> Summary:
        """What the rows so far answer."""


def seeds(study: Study) -> range:
    """The seeds of a study: 0, 1, ..."""
    return range(study.recipe.seeds or study.SEEDS)


def fixed_options(options: Any) -> dict[str, Any]:
    """The options that the runs depend on, for config.yaml."""
    return {f.name: getattr(options, f.name) for f in fields(options) if not f.metadata.get("free")}


def free_options(options: Any) -> dict[str, Any]:
    """The options that change no run and were given, for study.json."""
    found = {f.name: getattr(options, f.name) for f in fields(options) if f.metadata.get("free")}
    return {name: value for name, value in found.items() if value is not None}


def read_options(kind: type[Study], known: Mapping[str, Any]) -> Any:
    """A study's `Options` from the settings and the answer of a study's folder."""
    names = [f.name for f in fields(kind.Options)]
    return kind.Options(**{name: known[name] for name in names if name in known})


def words(text: str) -> list[str]:
    """The names in a text with commas, each once."""
    return list(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
