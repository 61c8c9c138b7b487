"""What a race has shown, in one sentence."""

from collections.abc import Sequence

from edarts.race.candidates import Candidate
from edarts.race.halving import Race
from edarts.reporting.stats import Estimate


def verdict(race: Race, ranked: Sequence[Candidate]) -> str:
    """Who is kept, and by how much the found cell and the best baseline differ."""
    winner = ranked[0]
    cells, plain = ([one for one in ranked if one.found is kind] for kind in (True, False))
    if len(ranked) == 1:
        who = "the found cell" if winner.found else f"a plain {winner.name}"
        return f"{who} was the only candidate; nothing was compared with it"
    if not cells or not plain:
        others = f"{len(ranked)} {'sizes of the found cell' if cells else 'plain networks'}"
        return f"{winner.name} is the best of {others}; nothing else was compared with it"
    ours, theirs = cells[0], plain[0]
    difference = race.difference(ours.name, theirs.name)
    assert difference is not None  # all have raced in the first round
    return _told(difference, theirs.name, winner)


def _told(difference: Estimate, baseline: str, winner: Candidate) -> str:
    assert difference.low is not None and difference.high is not None
    value, low, high = (100 * x for x in (difference.value, difference.low, difference.high))
    if winner.found and low > 0:
        return (
            f"the found cell beats {baseline} by {value:.1f} points ({low:.1f} to {high:.1f})"
            " at equal training time"
        )
    if not winner.found and high < 0:
        return (
            f"a plain {winner.name} is better here, by {-value:.1f} points ({-high:.1f} to"
            f" {-low:.1f}) at equal training time; it is what was kept"
        )
    kept = "the found cell" if winner.found else f"the plain {winner.name}"
    return (
        f"the found cell and {baseline} cannot be told apart here: {value:+.1f} points"
        f" ({low:+.1f} to {high:+.1f}) at equal training time; {kept} was kept"
    )
