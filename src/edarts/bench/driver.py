"""`edarts bench`: a group of comparisons, timed in turn in one process."""

from typing import Literal

from edarts.bench.comparisons import group as comparisons
from edarts.bench.measure import machine
from edarts.bench.report import BenchReport, LedgerReport
from edarts.bench.rows import compare
from edarts.bench.searches import scale, search_row
from edarts.errors import UsageError
from edarts.runs.progress import Progress
from edarts.training.loop import device_of

Group = Literal["step", "train", "search", "ledger"]


def bench(group: Group, rounds: int, device: str, progress: Progress) -> BenchReport | LedgerReport:
    """Run a group of comparisons; `rounds` is how often each side is timed.

    `step`: steps of searches; `train`: training steps of networks; `search`: a whole search, and
    how an epoch grows with its size; `ledger`: see `ledger.bench_ledger`. Raises UsageError if
    `rounds` is below 1, EdartsError if the two sides disagree.
    """
    if rounds < 1:
        raise UsageError(f"rounds must be at least 1, got {rounds}")
    if group == "ledger":
        from edarts.bench.ledger import bench_ledger

        return bench_ledger(rounds, progress)
    where, rows, scaling = device_of(device), [], []
    if group == "search":
        progress.say("bench: one epoch of the default search, on noise shaped like CIFAR-10")
        scaling = list(scale(where, progress))
        rows = [search_row(rounds, where)]
    for comparison in comparisons(group):
        progress.say(f"bench: {comparison.name}")
        rows.append(compare(comparison, rounds, where))
    return BenchReport(tuple(rows), tuple(scaling), machine(where))
