"""One row: both sides must agree on logits and gradients, then they are timed in turn.

They must agree to 1e-4 where float32 allows it. In deep networks it does not: ReLUs and max pools
whose outcome rounding decides make the textbook differ from its own float64 by more. There ours
must be no farther from that float64 than ten times the textbook's distance. A mistake shows on any
images, a rounding that decides only on some, so one of a few draws of images has to agree.
"""

import statistics

import torch
from torch import Tensor

from edarts.bench.comparisons import make
from edarts.bench.measure import WARM, peak, seconds
from edarts.bench.pairs import Comparison, Pair
from edarts.bench.report import BenchRow
from edarts.errors import EdartsError

TOLERANCE = 1e-4  # relative, of logits and gradients in float32
CHECKED = 8  # images that both sides are compared on
DRAWS = 4  # of so many images, until they agree
ROUNDING = 10  # times the textbook's own distance from float64
SIDES = ("textbook", "ours")


def compare(comparison: Comparison, rounds: int, device: torch.device) -> BenchRow:
    """Check that both sides agree, then time them in turn: A B A B ..., medians of `rounds`.

    Raises EdartsError if they do not agree.
    """
    pair = make(comparison, device)
    error, rounding = disagreement(comparison.name, pair)
    theirs, ours = _medians(pair, rounds, device)
    peaks = [peak(comparison, side, device) for side in SIDES]
    return BenchRow(
        what=comparison.name,
        textbook_s=round(theirs, 5),
        ours_s=round(ours, 5),
        time_ratio=round(theirs / ours, 2),
        textbook_mib=round(peaks[0], 1),
        ours_mib=round(peaks[1], 1),
        memory_ratio=round(peaks[0] / max(peaks[1], 1e-9), 2),
        max_relative_error=float(f"{error:.2e}"),
        rounding=float(f"{rounding:.2e}"),
        images_per_second=round(pair.batch / ours, 1),
        gflops=round(pair.flops / ours / 1e9, 1),
    )


def _medians(pair: Pair, rounds: int, device: torch.device) -> tuple[float, float]:
    """Seconds of a step of the textbook's, and of ours."""
    for _ in range(WARM):
        pair.ours()
    pair.textbook()  # the first step fills the optimizer's state
    textbook, ours = [], []
    for _ in range(rounds):
        textbook.append(seconds(pair.textbook, device))
        ours.append(seconds(pair.ours, device))
    return statistics.median(textbook), statistics.median(ours)


def disagreement(name: str, pair: Pair) -> tuple[float, float]:
    """Largest relative difference of the two sides, and of the textbook to its own float64.

    Raises EdartsError if on every draw the first is neither below the tolerance nor rounding.
    """
    least = float("inf")
    for start in range(0, min(DRAWS * CHECKED, pair.batch), CHECKED):
        triples = pair.agree(slice(start, start + CHECKED))
        errors = [relative_error(ours, book) for ours, book, _ in triples]
        roundings = [relative_error(book, exact) for _, book, exact in triples]
        if all(
            error <= TOLERANCE or relative_error(ours, exact) <= ROUNDING * rounding
            for (ours, _, exact), error, rounding in zip(triples, errors, roundings, strict=True)
        ):
            return max(errors), max(roundings)
        least = min(least, max(errors))
    raise EdartsError(f"{name}: the two sides differ by {least:.1e}, more than {TOLERANCE:g}")


def relative_error(ours: Tensor, textbook: Tensor) -> float:
    """Norm of the difference over the norm of the textbook's."""
    difference, size = (ours - textbook).detach().norm(), textbook.detach().norm()
    return float(difference / size.clamp_min(1e-30))
