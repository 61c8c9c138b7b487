"""Each statistic against an independent formula, a published example or a simulation."""

from itertools import combinations
from math import comb

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


@pytest.mark.parametrize("of", [1, 2, 7, 60, 359, 10_000])
def test_wilson_is_scipys_to_the_last_bit(of: int) -> None:
    for right in {0, 1, of // 3, of // 2, of - 1, of, *range(0, of, 37)}:
        expected = scipy_stats.binomtest(right, of).proportion_ci(method="wilson")
        assert stats.wilson(right, of) == (expected.low, expected.high)


def test_newcombes_example() -> None:
    """56/70 - 48/80, method 10: 0.0524 to 0.3339 (Newcombe 1998, table II a)."""
    found = stats.proportion_difference(56, 70, 48, 80)
    assert found.value == pytest.approx(0.2)
    assert found.low == pytest.approx(0.0524, abs=5e-5)
    assert found.high == pytest.approx(0.3339, abs=5e-5)


def answers(both: int, first: int, second: int, neither: int) -> list[np.ndarray]:
    """Whether each of two networks is right, by how many cases there are of each kind."""
    counts = (both, first, second, neither)
    first_is, second_is = [True, True, False, False], [True, False, True, False]
    return [np.repeat(kinds, counts) for kinds in (first_is, second_is)]


@pytest.mark.parametrize(
    ("counts", "value", "low", "high"),
    [
        # Altman, Machin, Bryant, Gardner: Statistics with Confidence (2000), p. 52
        ((14, 5, 0, 22), 0.122, 0.011, 0.226),
        # Fagerland, Lydersen, Laake (Statistics in Medicine 33, 2014), airway hyper-responsiveness
        ((1, 1, 7, 12), -0.286, -0.507, -0.026),
    ],
)
def test_paired_proportion_gives_published_intervals(
    counts: tuple[int, int, int, int], value: float, low: float, high: float
) -> None:
    found = stats.paired_proportion(*answers(*counts))
    assert found.value == pytest.approx(value, abs=1e-3)
    assert found.low == pytest.approx(low, abs=1e-3)
    assert found.high == pytest.approx(high, abs=1e-3)
    assert found.n == sum(counts)


def test_mcnemars_p_is_the_sum_of_binomial_terms() -> None:
    for both, first, second, neither in ((14, 5, 0, 22), (900, 40, 21, 39), (5, 3, 3, 1)):
        apart = first + second
        tail = sum(comb(apart, k) for k in range(min(first, second) + 1)) / 2**apart
        found = stats.paired_proportion(*answers(both, first, second, neither))
        assert found.p == pytest.approx(min(1.0, 2 * tail))
    assert stats.paired_proportion(*answers(7, 0, 0, 3)).p == 1.0


def test_uncorrelated_answers_have_the_interval_of_unrelated_samples() -> None:
    """With phi = 0 both of Newcombe's methods are one."""
    found = stats.paired_proportion(*answers(28, 12, 42, 18))
    unrelated = stats.proportion_difference(40, 100, 70, 100)
    assert found.value == pytest.approx(unrelated.value)
    assert (found.low, found.high) == pytest.approx((unrelated.low, unrelated.high))


def test_swapped_answers_give_the_mirrored_interval() -> None:
    first, second = answers(60, 20, 8, 12)
    found, mirrored = stats.paired_proportion(first, second), stats.paired_proportion(second, first)
    assert found.low is not None and found.high is not None
    assert (mirrored.low, mirrored.high) == pytest.approx((-found.high, -found.low))
    assert mirrored.p == pytest.approx(found.p)


@pytest.mark.parametrize("counts", [(10, 0, 0, 0), (0, 0, 0, 10), (0, 10, 0, 0), (5, 0, 0, 5)])
def test_extreme_answers_have_an_interval(counts: tuple[int, int, int, int]) -> None:
    found = stats.paired_proportion(*answers(*counts))
    assert found.low is not None and found.high is not None
    assert -1 <= found.low <= found.value <= found.high <= 1
    assert found.low < found.high


def test_answers_to_other_cases_are_refused() -> None:
    with pytest.raises(ValueError, match="not two samples"):
        stats.paired_proportion(np.ones(3, bool), np.ones(4, bool))
    with pytest.raises(ValueError, match="not two samples"):
        stats.paired_proportion(np.ones(0, bool), np.ones(0, bool))


@pytest.mark.parametrize(
    "shares", [(0.7, 0.08, 0.05, 0.17), (0.3, 0.2, 0.1, 0.4), (0.9, 0.04, 0.02, 0.04)]
)
def test_the_paired_interval_covers_the_truth(shares: tuple[float, ...]) -> None:
    """And it is narrower than that of unrelated samples, where the answers go together."""
    draws = np.random.default_rng(0).multinomial(200, shares, size=1500)
    truth = shares[1] - shares[2]
    covered, paired_width, unrelated_width = 0, 0.0, 0.0
    for both, first, second, neither in draws.tolist():
        found = stats.paired_proportion(*answers(both, first, second, neither))
        assert found.low is not None and found.high is not None
        covered += found.low <= truth <= found.high
        paired_width += found.high - found.low
        unrelated = stats.proportion_difference(both + first, 200, both + second, 200)
        assert unrelated.low is not None and unrelated.high is not None
        unrelated_width += unrelated.high - unrelated.low
    assert 0.93 <= covered / len(draws) <= 0.985
    assert paired_width < 0.9 * unrelated_width


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
