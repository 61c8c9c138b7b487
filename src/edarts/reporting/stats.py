"""Statistics of runs: intervals, paired tests, Holm's correction, rank agreement, regression.

The unit is a run, or a seed: an interval over seeds speaks of other seeds on the same data split,
one over test images of other images for the same trained network.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Key = TypeVar("Key")

LEVEL = 0.95
RESAMPLES = 500


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval from `n` observations; None where they are too few for one.

    `p`: probability of a value as far from zero if the true one is zero.
    """

    value: float
    low: float | None
    high: float | None
    n: int
    p: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return dict(vars(self))


def mean(values: Sequence[float]) -> Estimate:
    """Mean with Student's t interval; no interval for fewer than two values.

    Raises ValueError for none at all.
    """
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

    p is None for fewer than two pairs, or when all differences are alike and not zero.
    """
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
    known = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, place) in enumerate(known):
        largest = max(largest, min(1.0, p * (len(known) - rank)))
        adjusted[place] = largest
    return adjusted


def corrected(estimates: Mapping[Key, Estimate]) -> dict[Key, Estimate]:
    """The estimates of one family with their p values adjusted by `holm`."""
    adjusted = holm([estimate.p for estimate in estimates.values()])
    return {
        key: replace(estimate, p=p)
        for (key, estimate), p in zip(estimates.items(), adjusted, strict=True)
    }


def agreement(first: Sequence[float], second: Sequence[float]) -> Estimate:
    """Kendall's tau-b of two rankings of the same things, and its p value; bootstrap interval."""
    return _correlation("kendalltau", first, second)


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> Estimate:
    """Spearman's rho of two properties, and its p value; bootstrap interval."""
    return _correlation("spearmanr", first, second)


def _correlation(name: str, first: Sequence[float], second: Sequence[float]) -> Estimate:
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
    """right/of - other_right/other_of with Newcombe's (1998) interval from Wilson's.

    For two trained networks on test images; it takes them as unrelated, so it is wide.
    """
    p, q = right / of, other_right / other_of
    mine = stats.binomtest(right, of).proportion_ci(LEVEL, "wilson")
    other = stats.binomtest(other_right, other_of).proportion_ci(LEVEL, "wilson")
    low = p - q - np.hypot(p - mine.low, other.high - q)
    high = p - q + np.hypot(mine.high - p, q - other.low)
    return Estimate(p - q, float(low), float(high), of)


def regression(columns: NDArray[np.float64], values: Sequence[float]) -> list[Estimate] | None:
    """Slope of each column (N, C) in a least-squares fit of `values` (N,) with a constant.

    t intervals and p values. None if there are too few rows, or columns that determine each other.
    """
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
    known = [group for group in groups if group]
    if len(known) < 2 or all(len(group) < 2 for group in known):
        return None
    p = float(stats.f_oneway(*known).pvalue)
    return p if np.isfinite(p) else None
