"""The groups of `edarts bench` that time steps: comparisons, timed in turn in one process."""

from edarts.bench.comparisons import group as comparisons
from edarts.bench.measure import machine
from edarts.bench.report import BenchReport
from edarts.bench.rows import compare
from edarts.bench.searches import scale, search_row
from edarts.runs.progress import Progress
from edarts.training.device import open_device


def bench_steps(group: str, rounds: int, device: str, progress: Progress) -> BenchReport:
    """The rows of `step`, `train` or `search`, each side timed `rounds` times on `device`.

    Raises EdartsError if the two sides of a comparison disagree, or the device is not there.
    """
    where, rows, scaling = open_device(device, progress), [], []
    if group == "search":
        progress.say("bench: one epoch of the default search, on noise shaped like CIFAR-10")
        scaling = list(scale(where, progress))
        rows = [search_row(rounds, where)]
    every = comparisons(group)
    for number, comparison in enumerate(every, start=1):
        progress.say(f"bench: {comparison.name} ({number} of {len(every)})")
        rows.append(compare(comparison, rounds, where))
    return BenchReport(tuple(rows), tuple(scaling), machine(where))
