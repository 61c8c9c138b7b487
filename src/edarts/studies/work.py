"""How one run of a study is done: search, training and evaluation, measured into a row."""

import gc
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch

from edarts.config import DataConfig, SearchConfig, TrainConfig
from edarts.config.reading import check_no_link
from edarts.data import Opened, open_data
from edarts.errors import Interrupted, reason_of
from edarts.runs import memory
from edarts.runs.progress import Progress
from edarts.runtime import Session
from edarts.space.base import Architecture
from edarts.studies import searches
from edarts.studies.base import Job
from edarts.studies.row import Row
from edarts.training.device import open_device


class Searched(Protocol):
    """What the studies read of the report of a search."""

    @property
    def genotype(self) -> Architecture: ...
    @property
    def seconds(self) -> Mapping[str, float]: ...
    @property
    def images_seen(self) -> int | None: ...


class Trained(Protocol):
    """What the studies read of the report of a training."""

    @property
    def genotype(self) -> Architecture: ...
    @property
    def seconds(self) -> Mapping[str, float]: ...
    @property
    def valid_accuracy(self) -> float | None: ...
    @property
    def parameters(self) -> int: ...
    @property
    def flops(self) -> int: ...


class Tested(Protocol):
    """What the studies read of the report of an evaluation."""

    @property
    def test_accuracy(self) -> float: ...
    @property
    def test_accuracy_ci95(self) -> tuple[float, float]: ...
    @property
    def test_images(self) -> int: ...


@dataclass(frozen=True)
class Verbs:
    """The three functions that do a run; they are sent to workers, so they can be pickled.

    Each works in the folder `session.out` with the seed `session.seed`, and goes on with what it
    finds there. Each raises EdartsError, and Interrupted when the user asks to stop.
    """

    search: Callable[[Opened, SearchConfig, Session], Searched]
    """Searches an architecture for the data."""
    train: Callable[[Architecture | str, Opened, TrainConfig, Session], Trained]
    """Trains the network of an architecture, or of a zoo name, on the training split."""
    evaluate: Callable[[Any, Opened, Session], Tested]
    """Evaluates the network of a training, by its report, on the test split."""


class Inner(Progress):
    """The progress of a run inside a study: only the line of a phase is shown."""

    def say(self, text: str) -> None:
        """Drops the line: what stays on the screen is the study's alone."""


@dataclass(frozen=True)
class Work:
    """A study's runs, one a call, here or in a worker.

    `folder`: the study's, as an absolute path. All runs of a process share `data`, so that each
    split is decoded once.
    """

    verbs: Verbs
    data: Opened
    session: Session
    folder: Path
    quiet: bool

    def __call__(self, job: Job) -> Row:
        """The job's line of the ledger: what was measured, or why it failed."""
        row = begun(job, self.folder)
        start = time.monotonic()
        try:
            row = replace(row, **self._measure(job))
        except (Interrupted, KeyboardInterrupt):
            raise
        except Exception as error:  # the other runs are worth doing whatever this one died of
            reason = reason_of(error).replace(f"{self.folder}/", "")
            return replace(row, status="failed", reason=reason)
        return replace(row, seconds=round(time.monotonic() - start, 2))

    def _measure(self, job: Job) -> dict[str, Any]:
        """The measured fields of the row."""
        fields: dict[str, Any] = {}
        architecture = job.genotype
        if job.search is not None:
            architecture, fields = self._search(job, job.search)
        if architecture is None:
            raise TypeError(f"{job.name}: a job needs a search or an architecture")
        trained, measured = self._train(job, architecture)
        fields |= measured
        return fields | (self._test(trained) if job.test else {})

    def _search(self, job: Job, config: SearchConfig) -> tuple[Architecture, dict[str, Any]]:
        session = self._session(job, self._out(job, "-search"))
        with peak_memory(session.device) as peak:
            found = self.verbs.search(self.data, config, session)
        return found.genotype, {
            "search_seconds": found.seconds["search"],
            "images_seen": found.images_seen,
            "search_peak_mib": peak.get("mib"),
        }

    def _train(self, job: Job, architecture: Architecture | str) -> tuple[Trained, dict[str, Any]]:
        session = self._session(job, self._out(job))
        with peak_memory(session.device) as peak:
            trained = self.verbs.train(architecture, self.data, job.train, session)
        fields = {
            "train_seconds": trained.seconds["train"],
            "train_peak_mib": peak.get("mib"),
            "valid_accuracy": trained.valid_accuracy,
            "valid_images": round(self.data.images * job.train.valid_fraction),
            "parameters": trained.parameters,
            "flops": trained.flops,
            "genotype": trained.genotype,
            "run": f"runs/{job.name}",
        }
        if (counts := searches.skips(trained.genotype)) is not None:
            fields |= {"normal_skips": counts[0], "reduce_skips": counts[1]}
        return trained, fields

    def _test(self, trained: Trained) -> dict[str, Any]:
        # What else the study's session says is of no use to an evaluation, which would refuse it.
        session = Session(device=self.session.device, progress=Inner(quiet=self.quiet))
        tested = self.verbs.evaluate(trained, self.data, session)
        low, high = tested.test_accuracy_ci95
        return {
            "test_accuracy": tested.test_accuracy,
            "test_low": low,
            "test_high": high,
            "test_images": tested.test_images,
        }

    def _out(self, job: Job, suffix: str = "") -> Path:
        path = self.folder / "runs" / f"{job.name}{suffix}"
        for place in (path, path.parent):
            check_no_link(place)
        return path

    def _session(self, job: Job, out: Path) -> Session:
        return replace(self.session, seed=job.seed, out=out, progress=Inner(quiet=self.quiet))


def begun(job: Job, folder: Path) -> Row:
    """What a row says before anything is measured."""
    return Row(job.name, dict(job.factors), job.seed, folder=folder)


def inner_session(session: Session) -> Session:
    """What a run takes of the study's session; folder, seed and progress are its own."""
    return replace(session, out=None, progress=None, workers=1, ray_address=None)


def reachable(data: Opened, session: Session) -> Opened:
    """The data, under a path that the machines of a cluster can open.

    Workers on this machine start in the same folder, so a relative path is theirs too.
    """
    path = Path(data.config.data)
    if session.ray_address in (None, "local") or path.is_absolute() or not path.exists():
        return data
    config: DataConfig = replace(data.config, data=str(path.absolute()))
    return open_data(config)


@contextmanager
def peak_memory(device: str) -> Iterator[dict[str, float]]:
    """Puts the peak inside the block, in MiB, under `mib`: of the GPU, or of the whole process.

    Puts nothing there where the system does not tell.
    """
    found: dict[str, float] = {}
    gpu = open_device(device).type == "cuda"
    gc.collect()
    try:
        if gpu:
            torch.cuda.reset_peak_memory_stats()
        else:
            memory.reset_peak()
    except OSError:
        yield found
        return
    yield found
    if gpu:
        found["mib"] = round(torch.cuda.max_memory_allocated() / 2**20, 1)
        return
    found["mib"] = round(memory.mib("VmHWM"), 1)
