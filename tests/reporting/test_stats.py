"""Each statistic against an independent formula, or a published example."""

from itertools import combinations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from edarts.reporting import stats


def test_mean_has_students_interval() -> None:
    values = [0.90, 0.92, 0.97]
    sample = np.array(values)
    half = 4.302652729911275 * sample.std(ddof=1) / 3**0.5  # t(2) at 97.5 %
    found = stats.mean(values)
    assert (found.value, found.n) == (pytest.approx(0.93), 3)
    assert found.low == pytest.approx(0.93 - half)
    assert found.high == pytest.approx(0.93 + half)
    assert stats.mean([0.5]).low is None
    with pytest.raises(ValueError, match="no values"):
        stats.mean([])


def test_paired_is_the_paired_t_test() -> None:
    first, second = [0.9, 0.8, 0.85, 0.95], [0.88, 0.79, 0.80, 0.96]
    found = stats.paired(first, second)
    expected = scipy_stats.ttest_rel(first, second)
    assert found.p == pytest.approx(expected.pvalue)
    interval = expected.confidence_interval(0.95)
    assert (found.low, found.high) == (pytest.approx(interval.low), pytest.approx(interval.high))
    assert stats.paired([0.5], [0.4]).p is None
    assert stats.paired([0.5, 0.6], [0.5, 0.6]).p == 1.0
    assert stats.paired([0.5, 0.75], [0.25, 0.5]).p is None  # no spread: no test


def test_holm_rejects_what_the_step_down_procedure_rejects() -> None:
    generator = np.random.default_rng(0)
    for _ in range(50):
        p = generator.uniform(0, 0.1, 6)
        adjusted = stats.holm(p.tolist())
        for level in (0.01, 0.05, 0.2):
            rejected = set()
            for rank, place in enumerate(np.argsort(p)):
                if p[place] > level / (6 - rank):
                    break
                rejected.add(int(place))
            assert {i for i, a in enumerate(adjusted) if a is not None and a <= level} == rejected
    assert stats.holm([0.01, None, 0.02]) == [0.02, None, 0.02]
    assert stats.holm([]) == []


def test_agreement_counts_pairs() -> None:
    a, b = [1.0, 2, 3, 4, 5, 6], [2.0, 1, 3, 4, 6, 5]
    pairs = list(combinations(range(6), 2))
    signs = [np.sign((a[i] - a[j]) * (b[i] - b[j])) for i, j in pairs]
    found = stats.agreement(a, b)
    assert found.value == pytest.approx(sum(signs) / len(pairs))
    assert found.low is not None and found.high is not None
    assert found.low <= found.value <= found.high
    assert stats.agreement([1.0, 1, 1], [1.0, 2, 3]).p is None


def test_rank_correlation_is_that_of_ranks() -> None:
    a, b = [3.0, 1, 4, 1.5, 5], [0.1, 0.2, 0.9, 0.15, 2.0]
    ranks = [np.argsort(np.argsort(values)) for values in (a, b)]
    assert stats.rank_correlation(a, b).value == pytest.approx(np.corrcoef(*ranks)[0, 1])


def test_newcombes_example() -> None:
    """56/70 - 48/80, method 10: 0.0524 to 0.3339 (Newcombe 1998, table II a)."""
    found = stats.proportion_difference(56, 70, 48, 80)
    assert found.value == pytest.approx(0.2)
    assert found.low == pytest.approx(0.0524, abs=5e-5)
    assert found.high == pytest.approx(0.3339, abs=5e-5)


def test_regression_agrees_with_the_simple_one() -> None:
    generator = np.random.default_rng(1)
    x = generator.normal(size=20)
    y = 2 * x + generator.normal(size=20)
    (found,) = stats.regression(x[:, None], y.tolist()) or []
    expected = scipy_stats.linregress(x, y)
    assert found.value == pytest.approx(expected.slope)
    assert found.p == pytest.approx(expected.pvalue)
    half = expected.stderr * scipy_stats.t.ppf(0.975, 18)
    assert found.high == pytest.approx(expected.slope + half)
    assert stats.regression(np.ones((5, 1)), [1.0, 2, 3, 4, 5]) is None
    assert stats.regression(x[:2, None], [1.0, 2.0]) is None


def test_differ_needs_repeats() -> None:
    assert stats.differ([[1.0], [2.0]]) is None
    p = stats.differ([[1.0, 1.1, 0.9], [5.0, 5.1, 4.9]])
    assert p is not None and p < 1e-5
