"""Pool: where calls of one function are made, in this process or in Ray's workers.

The function is called with other arguments each time: it is the objective of a black-box search,
or does a run of a study. Ray's workers are processes of this machine or of a cluster.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from edarts.errors import EdartsError, Interrupted, UsageError, one_line, reason_of
from edarts.runs.stop import kept

Function = Callable[..., Any]


@dataclass(frozen=True)
class Outcome:
    """What a call gave: its value, or NaN and the reason why it failed; `seconds`: wall time."""

    value: Any
    reason: str | None
    seconds: float

    @property
    def score(self) -> float:
        """The value as a number, where the function is an objective."""
        return float(self.value)


class Pool(Protocol):
    """Makes calls of a function, `workers` of them at once."""

    workers: int

    def submit(self, *arguments: Any) -> int:
        """Begin a call with these arguments; returns its ticket, by which `wait` tells its end."""

    def ready(self, seconds: float) -> bool:
        """Whether a call has ended, so that `wait` returns at once; waits for one so long."""

    def wait(self) -> tuple[int, Outcome]:
        """The ticket and outcome of a call that has ended; waits until there is one."""

    def stop(self, seconds: float) -> None:
        """Ask the calls that still go on to stop, as Ctrl-C would; waits so long at most."""


def call(function: Function, *arguments: Any) -> Outcome:
    """The outcome of one call. What it raises becomes the reason, except Interrupted."""
    start = time.monotonic()
    try:
        return Outcome(function(*arguments), None, time.monotonic() - start)
    except Interrupted:
        raise
    except Exception as error:  # the work outlives any single call
        return Outcome(float("nan"), reason_of(error), time.monotonic() - start)


class Inline:
    """The pool of one worker: calls are made in this process, one after the other."""

    workers = 1

    def __init__(self, function: Function) -> None:
        self.function = function
        self._done: list[tuple[int, Outcome]] = []
        self._tickets = 0

    def submit(self, *arguments: Any) -> int:
        self._tickets += 1
        self._done.append((self._tickets, call(self.function, *arguments)))
        return self._tickets

    def ready(self, seconds: float) -> bool:
        return bool(self._done)

    def wait(self) -> tuple[int, Outcome]:
        return self._done.pop(0)

    def stop(self, seconds: float) -> None:
        """Does nothing: whoever can call this has no call going on."""


@contextmanager
def pool(function: Function, workers: int, address: str | None) -> Iterator[Pool]:
    """`Inline` for one worker without an address, else `ray_pool`."""
    if workers == 1 and address is None:
        yield Inline(function)
    else:
        with ray_pool(function, workers, address) as made:
            yield made


@contextmanager
def ray_pool(function: Function, workers: int, address: str | None) -> Iterator[Pool]:
    """Ray's workers, on this machine (no address, or `local`) or a cluster.

    Each gets an even share of the threads that this process has, so that they do not fight. A
    worker that dies is started again and its call made again. Raises UsageError if Ray is not
    installed, EdartsError if there is no cluster at the address or none can be started here.
    """
    try:
        import ray
    except ImportError:
        raise UsageError(
            "--workers needs Ray: in a clone, pip install -c constraints.txt -e '.[distributed]'"
        ) from None
    import torch

    threads = max(1, torch.get_num_threads() // workers)
    local = address in (None, "local")
    names = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "MKL_NUM_THREADS")
    try:
        with kept():  # Ray would end the process at once at SIGTERM
            ray.init(
                address="local" if local else address,  # never a cluster that happens to run here
                num_cpus=workers * threads if local else None,
                include_dashboard=False if local else None,
                log_to_driver=False,
                logging_level=logging.ERROR,
                runtime_env={"env_vars": dict.fromkeys(names, str(threads))},
            )
    except Exception as error:  # Ray raises many kinds
        reason = one_line(error)[:200]
        what = "Ray does not start here" if local else f"--ray-address {address}: no cluster there"
        raise EdartsError(f"{what}: {reason}") from None
    try:
        yield RayPool(function, workers, threads)
    finally:
        ray.shutdown()


class RayPool:
    """Calls in Ray's workers, each with `threads` processor threads; see `ray_pool`."""

    def __init__(self, function: Function, workers: int, threads: int) -> None:
        import ray

        self.workers = workers
        self._function = ray.put(function)
        # A task whose worker or machine dies is begun again as often as need be.
        self._call = ray.remote(num_cpus=threads, max_retries=-1)(_call)
        self._threads = threads
        self._tickets: dict[Any, int] = {}
        self._last = 0

    def submit(self, *arguments: Any) -> int:
        self._last += 1
        task = self._call.remote(self._function, self._threads, *arguments)
        self._tickets[task] = self._last
        return self._last

    def ready(self, seconds: float) -> bool:
        import ray

        return bool(ray.wait(list(self._tickets), num_returns=1, timeout=seconds)[0])

    def wait(self) -> tuple[int, Outcome]:
        import ray

        (done,), _ = ray.wait(list(self._tickets), num_returns=1)
        ticket = self._tickets.pop(done)
        try:
            return ticket, ray.get(done)
        except ray.exceptions.RayError as error:
            return ticket, Outcome(float("nan"), one_line(error)[:200], 0.0)

    def stop(self, seconds: float) -> None:
        import ray

        tasks = list(self._tickets)
        for task in tasks:
            ray.cancel(task)
        if tasks:
            ray.wait(tasks, num_returns=len(tasks), timeout=seconds)


def _call(function: Function, threads: int, *arguments: Any) -> Outcome:
    """What a worker of Ray's does: one call, with so many processor threads."""
    import torch

    torch.set_num_threads(threads)
    return call(function, *arguments)
