"""What of a study is still to be done, and how long that will take by what is done."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from edarts.runs.progress import clock
from edarts.studies import searches
from edarts.studies.base import Job, Study
from edarts.studies.row import Row

WHOLE_CELLS = 20  # that a network without a chosen depth counts as
WHOLE_CHANNELS = 16


@dataclass(frozen=True)
class Plan:
    """How many `runs` are known, how many of them ended, and about how long the others will take.

    `seconds_left`: wall time; None while nothing has been timed.
    """

    runs: int
    finished: int
    seconds_left: float | None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: the fields by name."""
        return asdict(self)

    def describe(self) -> str:
        """One line for the user, before the first run."""
        text = f"plan: {self.runs} runs, {self.finished} of them done"
        if self.seconds_left is None:
            return f"{text}; the time is estimated after the first"
        return f"{text}; about {clock(self.seconds_left)} to go"

    def describe_left(self) -> str:
        """The end of a run's line."""
        left = clock(self.seconds_left or 0.0)
        return f"  ({self.finished} of {self.runs}, about {left} to go)"


class Schedule:
    """Which run of a study comes next; `rows` grows as runs end, and decides what follows.

    `images`, `classes`: of the training split. `workers`: how many runs go on at once.
    """

    def __init__(
        self, question: Study, rows: dict[str, Row], images: int, classes: int, workers: int
    ) -> None:
        self.question, self.rows = question, rows
        self.images, self.classes = images, classes
        self.workers = workers
        self.estimates: dict[str, float] = {}  # seconds of runs, by name, before any has ended
        self._costs: dict[str, float] = {}

    def jobs(self) -> list[Job]:
        """All that are known by now."""
        return self.question.jobs(self.rows)

    def next(self, begun: Iterable[str] = ()) -> Job | None:
        """The first job that is known and neither done nor begun."""
        taken = {*self.rows, *begun}
        return next((job for job in self.jobs() if job.name not in taken), None)

    def plan(self) -> Plan:
        """How far the study is."""
        left = self.seconds_left()
        names = [job.name for job in self.jobs()]
        finished = sum(name in self.rows for name in names)
        return Plan(len(names), finished, None if left is None else round(left, 1))

    def seconds_left(self) -> float | None:
        """By the seconds of the ended runs and the costs of all, or else by the estimates.

        Shared out among the workers, but no less than the longest run takes.
        """
        jobs = self.jobs()
        spent = {name: row.seconds for name, row in self.rows.items() if row.seconds is not None}
        ended = [job for job in jobs if job.name in spent]
        if not ended:
            known = [self.estimates[job.name] for job in jobs if job.name in self.estimates]
            return max(sum(known) / self.workers, *known) if known else None
        rate = sum(spent[job.name] for job in ended) / sum(map(self.cost, ended))
        costs = [self.cost(job) for job in jobs if job.name not in self.rows]
        return rate * max(sum(costs) / self.workers, max(costs, default=0.0))

    def cost(self, job: Job) -> float:
        """Relative cost: images x cells x edges x operations that it passes through."""
        if job.name not in self._costs:
            self._costs[job.name] = cost(job, self.images, self.classes)
        return self._costs[job.name]


def cost(job: Job, images: int, classes: int) -> float:
    """Relative cost of a job: that of its training, and of its search if it has one."""
    train = job.train
    seen = images * (1 - train.valid_fraction) * train.epochs
    training = seen * (train.cells or WHOLE_CELLS) * searches.NETWORK_EDGES
    if job.search is None:
        return training
    return training + searches.cost(job.search, images, classes, train.channels or WHOLE_CHANNELS)
