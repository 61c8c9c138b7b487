"""A study whose later runs depend on its first ones."""

from typing import Any, ClassVar

from edarts.reporting.model import Summary
from edarts.studies.base import Job, Recipe
from edarts.studies.rows import Rows
from studies.fakes import TRAIN


class Stepped:
    """d and e are known once all of a, b and c have ended."""

    SEEDS: ClassVar[int] = 1
    Options: ClassVar[type] = dict

    def __init__(self, recipe: Recipe | None = None, options: Any = None) -> None:
        self.recipe, self.options = recipe or Recipe(train=TRAIN), options

    def jobs(self, rows: Rows) -> list[Job]:
        names = "abc" + ("de" if all(name in rows for name in "abc") else "")
        return [Job(name, {}, 0, TRAIN) for name in names]

    def summary(self, rows: Rows) -> Summary:
        return Summary("Stepped", [f"{len(rows)} runs"], [], [])
