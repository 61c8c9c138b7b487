"""The sentence that says who won: every case, its numbers, and whose interval excludes zero."""

import pytest

from edarts.nn.baselines.linear import Linear
from edarts.nn.costs import Costs
from edarts.race.candidates import Candidate
from edarts.race.halving import Race, Trial
from edarts.race.verdict import verdict
from edarts.space.base import Size

N = 1000


def candidate(name: str) -> Candidate:
    return Candidate(name, Linear(), Size(), Costs(1, 1), name.startswith("found"))


def race(**right: int) -> Race:
    """A race of one round, in which each has the first so many of `N` images right."""
    found = Race.of(None, lambda state: None)  # type: ignore[arg-type]
    found.trials = [
        Trial(name, 1, 1, 1.0, 1.0, 0.0, tuple(int(n < count) for n in range(N)))
        for name, count in right.items()
    ]
    return found


@pytest.mark.parametrize(
    ("found", "plain", "said"),
    [
        (950, 930, "the found cell beats resnet8 by 2.0 points (1.1 to 3.0) at equal training"),
        (930, 950, "a plain resnet8 is better here, by 2.0 points (1.1 to 3.0) at equal training"),
        (931, 930, "the found cell and resnet8 cannot be told apart here: +0.1 points (-0.3 to"),
        (930, 931, "the found cell and resnet8 cannot be told apart here: -0.1 points (-0.5 to"),
    ],
)
def test_who_is_better(found: int, plain: int, said: str) -> None:
    ranked = [candidate("found"), candidate("resnet8")]
    if plain > found:
        ranked.reverse()
    text = verdict(race(found=found, resnet8=plain), ranked)
    assert text.startswith(said)
    kept = "the found cell was kept" if found > plain else "kept"
    assert kept in text or "beats" in text


def test_the_best_of_each_kind_are_compared() -> None:
    ranked = [candidate(name) for name in ("convnet", "found_b", "resnet8", "found_a")]
    text = verdict(race(convnet=900, found_b=800, resnet8=700, found_a=600), ranked)
    assert text.startswith("a plain convnet is better here, by 10.0 points")


def test_nothing_to_compare_with() -> None:
    alone = verdict(race(), [candidate("found")])
    assert alone == "the found cell was the only candidate; nothing was compared with it"
    assert verdict(race(), [candidate("linear")]).startswith("a plain linear was the only")
    two = [candidate("a"), candidate("b")]
    assert verdict(race(a=2, b=1), two) == (
        "a is the best of 2 plain networks; nothing else was compared with it"
    )
    sizes = [candidate("found-8"), candidate("found-4")]
    assert "the best of 2 sizes of the found cell" in verdict(race(), sizes)
