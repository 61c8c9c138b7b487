"""Where trials are scored: in this process, or in Ray's workers on this or many machines."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from edarts.errors import EdartsError, UsageError, one_line, reason_of
from edarts.genotype import Genotype

Score = Callable[[Genotype, int], float]


@dataclass(frozen=True)
class Outcome:
    """What scoring gave: a score, or the reason why there is none; and wall seconds."""

    score: float
    reason: str | None
    seconds: float


class Pool(Protocol):
    """Scores genotypes, `workers` at once."""

    workers: int

    def submit(self, genotype: Genotype, seed: int) -> int:
        """Begin to score; returns a ticket."""

    def wait(self) -> tuple[int, Outcome]:
        """The ticket and outcome of one that is done; waits for it."""


def score(objective: Score, genotype: Genotype, seed: int) -> Outcome:
    """The outcome of one scoring; what it raises becomes the reason."""
    start = time.monotonic()
    try:
        return Outcome(objective(genotype, seed), None, time.monotonic() - start)
    except Exception as error:  # a search outlives any single genotype
        return Outcome(float("nan"), reason_of(error), time.monotonic() - start)


class Inline:
    """One after the other, in this process."""

    workers = 1

    def __init__(self, objective: Score) -> None:
        self.objective = objective
        self._done: list[tuple[int, Outcome]] = []
        self._tickets = 0

    def submit(self, genotype: Genotype, seed: int) -> int:
        self._tickets += 1
        self._done.append((self._tickets, score(self.objective, genotype, seed)))
        return self._tickets

    def wait(self) -> tuple[int, Outcome]:
        return self._done.pop(0)


@contextmanager
def pool(objective: Score, workers: int, address: str | None) -> Iterator[Pool]:
    """`Inline`, or Ray's workers if there are many or an address is given."""
    if workers == 1 and address is None:
        yield Inline(objective)
    else:
        with ray_pool(objective, workers, address) as made:
            yield made


@contextmanager
def ray_pool(objective: Score, workers: int, address: str | None) -> Iterator[Pool]:
    """Ray's workers, on this machine (no address, or `local`) or a cluster.

    Each gets an even share of the threads that this process has, so that they do not fight. A
    worker that dies is started again and its trial done again. Raises UsageError if Ray is not
    installed, EdartsError if there is no cluster at the address.
    """
    try:
        import ray
    except ImportError:
        raise UsageError("--workers needs Ray: pip install 'edarts[distributed]'") from None
    threads = max(1, torch.get_num_threads() // workers)
    local = address in (None, "local")
    names = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "MKL_NUM_THREADS")
    try:
        ray.init(
            address=None if local else address,
            num_cpus=workers * threads if local else None,
            include_dashboard=False if local else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
            runtime_env={"env_vars": dict.fromkeys(names, str(threads))},
        )
    except Exception as error:  # Ray raises many kinds
        reason = one_line(error)[:200]
        raise EdartsError(f"--ray-address {address}: no cluster there: {reason}") from None
    try:
        yield RayPool(objective, workers, threads)
    finally:
        ray.shutdown()


class RayPool:
    """Scores in Ray's workers, each with `threads` processor threads; see `ray_pool`."""

    def __init__(self, objective: Score, workers: int, threads: int) -> None:
        import ray

        self.workers = workers
        self._objective = ray.put(objective)
        # A task whose worker or machine dies is begun again as often as need be.
        self._score = ray.remote(num_cpus=threads, max_retries=-1)(_score)
        self._threads = threads
        self._tickets: dict[Any, int] = {}
        self._last = 0

    def submit(self, genotype: Genotype, seed: int) -> int:
        self._last += 1
        task = self._score.remote(self._objective, genotype, seed, self._threads)
        self._tickets[task] = self._last
        return self._last

    def wait(self) -> tuple[int, Outcome]:
        import ray

        (done,), _ = ray.wait(list(self._tickets), num_returns=1)
        ticket = self._tickets.pop(done)
        try:
            return ticket, ray.get(done)
        except ray.exceptions.RayError as error:
            return ticket, Outcome(float("nan"), one_line(error)[:200], 0.0)


def _score(objective: Score, genotype: Genotype, seed: int, threads: int) -> Outcome:
    """In a worker."""
    torch.set_num_threads(threads)
    return score(objective, genotype, seed)
