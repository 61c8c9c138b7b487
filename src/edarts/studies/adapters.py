"""Adapters to what is being rebuilt beside the studies; each goes when its successor is there.

`Opened`, `open_data`: those of `edarts.data`. `todays_verbs`: the verbs of `edarts.api`, which
return dictionaries and open their data themselves.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edarts import registry
from edarts.config import DataConfig, SearchConfig, TrainConfig
from edarts.runtime import Session
from edarts.space import architecture
from edarts.space.architecture import Architecture

if TYPE_CHECKING:
    from edarts.data.data import Dataset
    from edarts.studies.driver import StudyReport
    from edarts.studies.work import Verbs


class Opened:
    """A data set that is open; each split is decoded once. Pickled, it is its config alone."""

    def __init__(self, config: DataConfig) -> None:
        from edarts.data.data import open_catalogue

        self.config = config
        catalogue = open_catalogue(config)
        images = len(catalogue.labels)
        if catalogue.test is None:
            images = round(images * (1 - config.test_fraction))
        self.images = min(images, config.limit or images)
        self.classes = catalogue.classes
        self._decoded: dict[str, Dataset] = {}

    def split(
        self, split: Literal["train", "test"], shape: tuple[int, int, int] | None = None
    ) -> "Dataset":
        """The training or test split."""
        from edarts.data.data import load

        if split not in self._decoded:
            self._decoded[split] = load(self.config, split, shape)
        return self._decoded[split]

    def __reduce__(self) -> tuple[Any, ...]:
        return open_data, (self.config,)


@lru_cache(maxsize=1)
def open_data(data: DataConfig) -> Opened:
    """Open `data` without decoding an image; the data opened last are not opened again."""
    return Opened(data)


@dataclass(frozen=True)
class Report:
    """A dictionary of today's verbs with attributes; what it does not have is None."""

    values: dict[str, Any]

    @property
    def genotype(self) -> Architecture:
        """As an architecture."""
        return architecture.from_dict(self.values["genotype"])

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "values":
            raise AttributeError(name)
        return self.values.get(name)


def _verb(name: str) -> Any:
    return registry.locate(f"edarts.api:{name}")


def _session(session: Session) -> Any:
    return _verb("Session")(**vars(session))


def _search(data: Opened, config: SearchConfig, session: Session) -> Any:
    return Report(_verb("search")(data.config, config, _session(session)))


def _train(design: Architecture | str, data: Opened, config: TrainConfig, session: Session) -> Any:
    return Report(_verb("train_genotype")(design, data.config, config, _session(session)))


def _evaluate(run: Path, data: Opened, session: Session) -> Any:
    return Report(_verb("evaluate_run")(run, None, _session(session)))


def todays_verbs() -> "Verbs":
    """The verbs of `edarts.api` as they are."""
    from edarts.studies.work import Verbs

    return Verbs(_search, _train, _evaluate)


def study(
    name: str,
    data: DataConfig | str = "digits",
    recipe: Any = None,
    session: Any = None,
    *,
    dry_run: bool = False,
    **options: Any,
) -> "StudyReport":
    """What `edarts.api.study` will be: the study with these options, done by today's verbs."""
    from edarts.studies import driver

    config = DataConfig(data) if isinstance(data, str) else data
    kind = registry.get("studies", name)
    known = Session(**vars(session)) if session is not None else Session()
    return driver.study(
        name,
        open_data(config),
        recipe,
        known,
        verbs=todays_verbs(),
        options=kind.Options(**options),
        dry_run=dry_run,
    )
