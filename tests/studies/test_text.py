"""Numbers and verdicts in words."""

import pytest

from edarts.reporting.stats import Estimate
from edarts.studies.text import correlation, percent, verdict


def test_percent() -> None:
    assert percent(0.1234) == "12.34 %"
    assert percent(0.1234, signed=True) == "+12.34 points"
    assert percent(Estimate(-0.01, -0.02, 0.0, 3), signed=True) == "-1.00 points (-2.00 to +0.00)"
    assert percent(Estimate(0.5, None, None, 1)) == "50.00 %"
    assert percent(None) == "unknown"


@pytest.mark.parametrize(
    ("value", "p", "n", "words"),
    [
        (0.01, 0.01, 3, "significantly better (p = 0.01, paired over 3 seeds"),
        (-0.01, 0.01, 3, "significantly worse"),
        (0.01, 0.2, 3, "no significant difference (p = 0.2"),
        (0.01, None, 1, "from 1 seed, nothing can be concluded"),
        (0.01, None, 3, "equal over all 3 seeds, so no test applies"),
    ],
)
def test_verdict(value: float, p: float | None, n: int, words: str) -> None:
    text = verdict(Estimate(value, None, None, n, p), "8 cells", "5 cells")
    assert text.startswith("8 cells minus 5 cells: ")
    assert words in text


def test_correlation() -> None:
    assert correlation(Estimate(0.5, None, None, 2)) == "0.50"
    assert correlation(Estimate(0.5, 0.25, 0.75, 9)) == "0.50 (0.25 to 0.75)"
