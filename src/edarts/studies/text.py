"""Numbers and verdicts in words, alike in all studies."""

from edarts.reporting import stats
from edarts.reporting.stats import Estimate

MEASURED = (
    "test accuracy: of the test split, which chose nothing; valid: of training images held out"
)
NO_RUN = "No run has ended."


def percent(value: Estimate | float | None, signed: bool = False) -> str:
    """0.1234 -> `12.34 %`, with the interval if there is one; in points if `signed`."""
    if value is None:
        return "unknown"
    number, unit = ("+.2f", "points") if signed else (".2f", "%")
    if not isinstance(value, Estimate):
        return f"{100 * value:{number}} {unit}"
    text = f"{100 * value.value:{number}} {unit}"
    if value.low is None or value.high is None:
        return text
    return f"{text} ({100 * value.low:{number}} to {100 * value.high:{number}})"


def significant(p: float | None) -> bool:
    """Whether a p value lies below 0.05, the level of all studies."""
    return p is not None and p < 1 - stats.LEVEL


def tested(difference: Estimate) -> str:
    """How a difference over seeds was tested; it must have a p value."""
    return f"p = {difference.p:.2g}, paired over {difference.n} seeds, Holm's correction"


def untested(difference: Estimate) -> str:
    """Why a difference over seeds, without a p value, allows no conclusion."""
    if difference.n < 2:
        return f"from {difference.n} seed, nothing can be concluded"
    return f"equal over all {difference.n} seeds, so no test applies"


def verdict(difference: Estimate, what: str, other: str) -> str:
    """A plain sentence on a difference of test accuracies, and on whether it is significant."""
    size = f"{what} minus {other}: {percent(difference, signed=True)}"
    if difference.p is None:
        return f"{size}; {untested(difference)}."
    if not significant(difference.p):
        return f"{size}: no significant difference ({tested(difference)})."
    better = "better" if difference.value > 0 else "worse"
    return f"{size}: significantly {better} ({tested(difference)})."


def correlation(estimate: Estimate) -> str:
    """0.5 -> `0.50`, with the interval if there is one."""
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.2f}"
    return f"{estimate.value:.2f} ({estimate.low:.2f} to {estimate.high:.2f})"
