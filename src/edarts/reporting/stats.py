"""Statistics of runs: intervals, paired tests, Holm's correction, rank agreement, regression.

The unit is a run, or a seed: an interval over seeds speaks of other seeds on the same data split,
one over test images of other images for the same trained network. SciPy is imported where it is
needed, for a study's --help has no need of it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Key = TypeVar("Key")

LEVEL = 0.95
RESAMPLES = 500


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval, `low` to `high`, from `n` observations.

    The interval is None where the observations are too few for one. `p`: the probability of a value
    at least as far from zero if the true one is zero; None where nothing was tested.
    """

    value: float
    low: float | None
    high: float | None
    n: int
    p: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: the fields by name."""
        return dict(vars(self))


def mean(values: Sequence[float]) -> Estimate:
    """Mean with Student's t interval; no interval for fewer than two values.

    Raises ValueError for none at all.
    """
    from scipy import stats

    if not values:
        raise ValueError("no values")
    sample = np.asarray(values, dtype=float)
    middle = float(sample.mean())
    if len(sample) < 2:
        return Estimate(middle, None, None, len(sample))
    half = float(stats.sem(sample) * stats.t.ppf((1 + LEVEL) / 2, len(sample) - 1))
    return Estimate(middle, middle - half, middle + half, len(sample))


def paired(first: Sequence[float], second: Sequence[float]) -> Estimate:
    """Mean of first - second with its t interval and the p value of the paired t test.

    p is None for fewer than two pairs, and where all differences are equal but not zero: the t test
    needs a spread.
    """
    from scipy import stats

    differences = np.asarray(first, dtype=float) - np.asarray(second, dtype=float)
    estimate = mean(differences.tolist())
    p: float | None = None
    if len(differences) >= 2:
        if np.ptp(differences) > 0:
            p = float(stats.ttest_1samp(differences, 0.0).pvalue)
        elif differences[0] == 0:
            p = 1.0
    return Estimate(estimate.value, estimate.low, estimate.high, estimate.n, p)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Adjusted p values (Holm 1979): below a level, they keep the family's error there.

    None stays None, and does not count.
    """
    known = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, index) in enumerate(known):
        largest = max(largest, min(1.0, p * (len(known) - rank)))
        adjusted[index] = largest
    return adjusted


def corrected(estimates: Mapping[Key, Estimate]) -> dict[Key, Estimate]:
    """The estimates of one family with their p values adjusted by `holm`."""
    adjusted = holm([estimate.p for estimate in estimates.values()])
    return {
        key: replace(estimate, p=p)
        for (key, estimate), p in zip(estimates.items(), adjusted, strict=True)
    }


def agreement(first: Sequence[float], second: Sequence[float]) -> Estimate:
    """Kendall's tau-b of two rankings of the same things, its p value and a bootstrap interval.

    Neither is given for fewer than three things, or where all of one ranking are equal.
    """
    return _correlation("kendalltau", first, second)


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> Estimate:
    """Spearman's rho of two properties, its p value and a bootstrap interval, as `agreement`."""
    return _correlation("spearmanr", first, second)


def _correlation(name: str, first: Sequence[float], second: Sequence[float]) -> Estimate:
    from scipy import stats

    measure = getattr(stats, name)
    a, b = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return Estimate(0.0, None, None, len(a))
    result = measure(a, b)
    draws = np.random.default_rng(0).integers(0, len(a), (RESAMPLES, len(a)))
    values = [
        measure(a[rows], b[rows]).statistic
        for rows in draws
        if np.ptp(a[rows]) > 0 and np.ptp(b[rows]) > 0
    ]
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(float(result.statistic), float(low), float(high), len(a), float(result.pvalue))


def proportion_difference(right: int, of: int, other_right: int, other_of: int) -> Estimate:
    """right/of - other_right/other_of of two unrelated samples, without a p value.

    Interval: method 10 of Newcombe (Interval estimation for the difference between independent
    proportions, Statistics in Medicine 17, 1998, 873-890), from Wilson's intervals. For two
    networks on the same test images it is too wide as a rule: see `paired_proportion`.
    """
    below, above = _wilson_distances(right, of)
    other_below, other_above = _wilson_distances(other_right, other_of)
    difference = right / of - other_right / other_of
    return Estimate(
        difference,
        difference - math.hypot(below, other_above),
        difference + math.hypot(above, other_below),
        of,
    )


def paired_proportion(right_first: NDArray[np.bool_], right_second: NDArray[np.bool_]) -> Estimate:
    """Share of right answers of the first minus that of the second, on the same N cases.

    `right_first`, `right_second`: (N,), whether each answers the case right. Interval: method 10 of
    Newcombe (Improved confidence intervals for the difference between binomial proportions based on
    paired data, Statistics in Medicine 17, 1998, 2635-2650): Wilson's intervals of both, joined by
    the correlation of the answers. p: the exact test of McNemar (1947) on the cases in which only
    one of the two is right. Raises ValueError for no cases, or samples of different length.
    """
    from scipy import stats

    first, second = np.asarray(right_first, dtype=bool), np.asarray(right_second, dtype=bool)
    if first.ndim != 1 or first.shape != second.shape or not len(first):
        raise ValueError(f"not two samples of the same cases: {first.shape}, {second.shape}")
    count = len(first)
    both, neither = int((first & second).sum()), int((~first & ~second).sum())
    only_first, only_second = int((first & ~second).sum()), int((~first & second).sum())
    below, above = _wilson_distances(both + only_first, count)
    other_below, other_above = _wilson_distances(both + only_second, count)
    phi = _corrected_phi(both, only_first, only_second, neither)
    difference = (only_first - only_second) / count
    low = below**2 - 2 * phi * below * other_above + other_above**2
    high = above**2 - 2 * phi * above * other_below + other_below**2
    apart = only_first + only_second
    return Estimate(
        difference,
        difference - math.sqrt(max(0.0, low)),
        difference + math.sqrt(max(0.0, high)),
        count,
        float(stats.binomtest(only_first, apart).pvalue) if apart else 1.0,
    )


def share(right: int, of: int) -> Estimate:
    """right/of with Wilson's interval."""
    return Estimate(right / of, *wilson(right, of), of)


def wilson(right: int, of: int) -> tuple[float, float]:
    """95 % interval of the share right/of (Wilson, JASA 22, 1927, 209-212).

    The same bits as scipy's, whose statistics take half a second to import.
    """
    z, p = 1.959963984540054, right / of  # the normal distribution's 97.5 % quantile
    scale = 2 * (of + z**2)
    centre = (2 * of * p + z**2) / scale
    half = z / scale * math.sqrt(4 * of * p * (1 - p) + z**2)
    low = 0.0 if right == 0 else max(0.0, centre - half)
    return low, 1.0 if right == of else min(1.0, centre + half)


def _wilson_distances(right: int, of: int) -> tuple[float, float]:
    """How far the ends of Wilson's interval lie below and above right/of."""
    low, high = wilson(right, of)
    return right / of - low, high - right / of


def _corrected_phi(both: int, only_first: int, only_second: int, neither: int) -> float:
    """The correlation of two yes-no answers, with Newcombe's continuity correction; 0 if one of
    the two has only one kind of answer."""
    margins = (both + only_first, only_second + neither, both + only_second, only_first + neither)
    if not all(margins):
        return 0.0
    excess: float = both * neither - only_first * only_second
    if excess > 0:
        excess = max(0.0, excess - sum((both, only_first, only_second, neither)) / 2)
    return excess / math.sqrt(math.prod(margins))


def regression(columns: NDArray[np.float64], values: Sequence[float]) -> list[Estimate] | None:
    """Slope of each column (N, C) in a least-squares fit of `values` (N,) with a constant.

    t intervals and p values. None if there are too few rows, or columns that determine each other.
    """
    from scipy import stats

    y = np.asarray(values, dtype=float)
    design = np.column_stack([np.ones(len(y)), columns])
    free = len(y) - design.shape[1]
    if free < 1 or np.linalg.matrix_rank(design) < design.shape[1]:
        return None
    inverse = np.linalg.inv(design.T @ design)
    slopes = inverse @ design.T @ y
    residual = y - design @ slopes
    errors = np.sqrt(np.diag(inverse) * float(residual @ residual) / free)
    half = errors * stats.t.ppf((1 + LEVEL) / 2, free)
    with np.errstate(divide="ignore", invalid="ignore"):
        p = 2 * stats.t.sf(np.abs(slopes / errors), free)
    return [
        Estimate(
            float(slopes[k]),
            float(slopes[k] - half[k]),
            float(slopes[k] + half[k]),
            len(y),
            float(p[k]) if np.isfinite(p[k]) else None,
        )
        for k in range(1, design.shape[1])
    ]


def differ(groups: Sequence[Sequence[float]]) -> float | None:
    """p value of the F test that all groups have one mean; None if no group has two values."""
    from scipy import stats

    known = [group for group in groups if group]
    if len(known) < 2 or all(len(group) < 2 for group in known):
        return None
    p = float(stats.f_oneway(*known).pvalue)
    return p if np.isfinite(p) else None


def conformal_quantile(values: Sequence[float], share: float) -> float:
    """The number that a further value does not exceed with a probability of at least `share`.

    The values and the further one are drawn alike: the ceil((n + 1) share)-th smallest of n (Vovk,
    Gammerman and Shafer 2005); infinite if there are too few for that.
    """
    rank = math.ceil((len(values) + 1) * share - 1e-9)
    return sorted(values)[rank - 1] if rank <= len(values) else math.inf
