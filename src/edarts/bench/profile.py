"""Where the time of a step goes: `edarts bench profile`.

Each compiled loop is timed as it is called, and what it computes and moves is counted from its
arguments; PyTorch's profiler gives the rest. Beside each stands how near it comes to the roofline
(Williams et al. 2009), the least seconds in which this machine could do its operations, or move its
bytes (`peaks`); and how many threads were at work, by the seconds that it takes with one.
"""

import mmap
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod
from typing import Any

import torch
from torch.autograd.profiler import profile as autograd_profile

from edarts.bench.comparisons import GROUPS, group, make
from edarts.bench.measure import WARM, machine, seconds
from edarts.bench.pairs import Comparison, Step
from edarts.bench.report import ProfileReport, ProfileRow, Roofs, StepProfile
from edarts.errors import EdartsError
from edarts.nn.kernels.compiled import load_loops
from edarts.runs import memory
from edarts.runs.progress import Progress
from edarts.training.device import open_device

LOOPS = (
    "separable",
    "separable_gradient",
    "weighted_sum",
    "product_sums",
    "norm_gradient",
    "max_pool",
    "average_pool",
    "pixel_means",
    "halves",
    "moments",
)
TOUCHED = 2**14  # pages of memory, to see what one takes
FUNCTIONS = (
    "TapeFunction",
    "NodeFunction",
    "MaxPoolFunction",
    "AveragePoolFunction",
    "MeanFunction",
    "HalvesFunction",
    "ForkFunction",
)


@dataclass
class Tally:
    """What a loop has done: its calls, their seconds, operations and bytes."""

    calls: int = 0
    seconds: float = 0.0
    flops: int = 0
    bytes: int = 0


@dataclass
class Tallies:
    """One for each loop that was called."""

    of: dict[str, Tally] = field(default_factory=dict)

    def add(self, name: str, took: float, arguments: tuple[Any, ...]) -> None:
        tally = self.of.setdefault(name, Tally())
        flops, moved = work(name, arguments)
        tally.calls += 1
        tally.seconds += took
        tally.flops += flops
        tally.bytes += moved


def work(name: str, arguments: tuple[Any, ...]) -> tuple[int, int]:
    """(operations, bytes) of a call of a loop, by its arguments: see `loops`.

    Two operations for each multiply-add of a convolution, none for what is done on the way; bytes
    that have to be read or written once.
    """
    if name == "separable":
        _, shape, _, wide, narrow, _, _, y, _ = arguments
        source = prod(shape) // shape[3] * len(wide)
        return 2 * _multiply_adds(wide, narrow, y), 4 * (source + y.size)
    if name == "separable_gradient":
        _, shape, _, wide, narrow, _, _, y, grad, _, dx, fresh, _, dp, _ = arguments
        once = _multiply_adds(wide, narrow, y)
        again = y.size // y.shape[3] * wide.size  # the depthwise result, which was not kept
        adds = (once if len(dx) else 0) + (once + again if dp.size else 0)
        source = prod(shape) // shape[3] * len(wide)
        written = prod(shape) * (len(dx) + int((~fresh).sum()))
        return 2 * adds, 4 * (source + y.size + grad.size + written)
    if name == "weighted_sum":
        addresses, _, out, fresh = arguments
        return 0, 4 * out.size * (len(addresses) + (1 if fresh else 2))
    if name == "product_sums":
        grad, addresses, *_ = arguments
        return 0, 4 * grad.size * (len(addresses) + 1)
    # Max pooling hands its result over twice where it goes forward.
    arrays = {id(a): a.nbytes for a in arguments if getattr(a, "ndim", 0) in (1, 4)}
    return 0, sum(arrays.values())


def _multiply_adds(wide: Any, narrow: Any, y: Any) -> int:
    """Of a depthwise (C, k, k) and a 1 x 1 convolution (D, C) whose result is y (N, H, W, D)."""
    return int(y.size // y.shape[3] * (wide.size + narrow.size))


@contextmanager
def counted(loops: Any) -> Iterator[Tallies]:
    """Times every loop that is called meanwhile."""
    plain, tallies = {name: getattr(loops, name) for name in LOOPS}, Tallies()

    def timed(name: str, loop: Callable[..., Any]) -> Callable[..., None]:
        def call(*arguments: Any) -> None:
            start = time.perf_counter()
            loop(*arguments)
            tallies.add(name, time.perf_counter() - start, arguments)

        return call

    try:
        for name, loop in plain.items():
            setattr(loops, name, timed(name, loop))
        yield tallies
    finally:
        for name, loop in plain.items():
            setattr(loops, name, loop)


def bench_profile(rounds: int, device: str, progress: Progress) -> ProfileReport:
    """Every step of `step` and `train`, `rounds` times. Raises EdartsError where there is a GPU."""
    where = open_device(device, progress)
    if where.type != "cpu":
        raise EdartsError("bench profile times the compiled loops: it needs --device cpu")
    # Not before it is asked for: numba takes a while to load.
    from edarts.bench.peaks import computing, copying

    every = [comparison for name in GROUPS for comparison in group(name)]
    steps = []
    for number, comparison in enumerate(every, start=1):
        progress.say(f"bench: {comparison.name} ({number} of {len(every)})")
        # Before each, as others who use the machine slow it down for minutes.
        roofs = Roofs(round(computing(), 1), round(copying(), 1))
        steps.append(profile(comparison, rounds, where, roofs))
    return ProfileReport(tuple(steps), machine(where))


def profile(comparison: Comparison, rounds: int, device: torch.device, roofs: Roofs) -> StepProfile:
    """Where the seconds of our side of a comparison go."""
    step = make(comparison, device).ours
    for _ in range(WARM):
        step()
    before = memory.pages()
    with counted(load_loops()) as tallies:
        whole = statistics.mean(seconds(step, device) for _ in range(rounds))
    asked = (memory.pages() - before) // rounds
    with one_thread(), counted(load_loops()) as alone:
        for _ in range(rounds):
            step()
    rows = [
        _row(name, tally, alone.of[name].seconds / tally.seconds, rounds, whole, roofs)
        for name, tally in tallies.of.items()
    ]
    rows.sort(key=lambda row: -row.seconds)
    in_loops = sum(row.seconds for row in rows)
    for name, share in _rest(step, in_loops / whole).items():
        took = round(share * whole, 5)
        rows.append(ProfileRow(name, 0, took, round(share, 4), None, None, None, None))
    known = round(sum(row.share for row in rows), 3)
    return StepProfile(
        comparison.name,
        roofs,
        round(whole, 5),
        tuple(rows),
        known,
        asked,
        round(asked * seconds_of_page(), 5),
    )


@contextmanager
def one_thread() -> Iterator[None]:
    """Loops and PyTorch use one thread meanwhile."""
    usual = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(usual)


def seconds_of_page() -> float:
    """What handing out one page takes: the first write to it."""
    with mmap.mmap(-1, TOUCHED * mmap.PAGESIZE) as fresh:
        before, start = memory.pages(), time.perf_counter()
        for place in range(0, len(fresh), mmap.PAGESIZE):
            fresh[place] = 1
        took, handed = time.perf_counter() - start, memory.pages() - before
        start = time.perf_counter()
        for place in range(0, len(fresh), mmap.PAGESIZE):
            fresh[place] = 1
        return max(0.0, took - (time.perf_counter() - start)) / max(1, handed)


def _row(
    name: str,
    tally: Tally,
    threads: float,
    rounds: int,
    whole: float,
    roofs: Roofs,
) -> ProfileRow:
    took, flops, moved = tally.seconds / rounds, tally.flops / rounds, tally.bytes / rounds
    least = max(flops / roofs.gflops, moved / roofs.gbytes) / 1e9
    return ProfileRow(
        what=name,
        calls=tally.calls // rounds,
        seconds=round(took, 5),
        share=round(took / whole, 4),
        gflops=round(flops / took / 1e9, 1),
        gbytes=round(moved / took / 1e9, 1),
        roofline=round(least / took, 3),
        threads=round(threads, 2),
    )


def _rest(step: Step, in_loops: float) -> dict[str, float]:
    """Shares of a step's time outside the loops, whose share is `in_loops`, by PyTorch's profiler.

    What lies between its events is Python: modules, and the method.
    """
    with autograd_profile(use_kineto=False) as watched:  # kineto talks on the way
        start = time.perf_counter()
        step()
        whole = time.perf_counter() - start
    around, operators, engine = 0.0, 0.0, 0.0
    for event in watched.key_averages():
        share = event.self_cpu_time_total / 1e6 / whole
        if event.key.startswith("aten::"):
            operators += share
        elif event.key.startswith(FUNCTIONS):
            around += share
        else:
            engine += share
    return {
        "around the loops": max(0.0, around - in_loops),
        "operators of PyTorch": operators,
        "autograd, optimizer": engine,
        "Python between them": max(0.0, 1 - around - operators - engine),
    }
