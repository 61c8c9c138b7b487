"""Successive halving: the best of planted candidates, equal seconds, a race that is killed."""

from collections.abc import Mapping
from typing import Any

import pytest

from edarts.nn.baselines.linear import Linear
from edarts.nn.costs import Costs
from edarts.race.candidates import Candidate
from edarts.race.halving import Pace, Race, Trial, kept, plan, rounds_of
from edarts.reporting.stats import paired_proportion, wilson
from edarts.space.base import Size

IMAGES = 200
PLANTED = {"found-8": 0.70, "found-4": 0.6, "a": 0.5, "b": 0.9, "c": 0.65, "d": 0.2}


class Planted:
    """Whose accuracies are known; an epoch of the n-th candidate takes n + 1 seconds."""

    def __init__(self, accuracies: Mapping[str, float], stop_after: int | None = None) -> None:
        self.accuracies, self.stop_after = accuracies, stop_after
        self.trained: list[tuple[int, str, int, float]] = []

    def pace(self, candidate: Candidate) -> Pace:
        return Pace(1.0 + list(self.accuracies).index(candidate.name), "fp32")

    def train(self, candidate: Candidate, pace: Pace, round: int, plan: tuple[int, float]) -> Trial:
        if self.stop_after is not None and len(self.trained) >= self.stop_after:
            raise KeyboardInterrupt
        epochs, share = plan
        self.trained.append((round, candidate.name, epochs, share))
        right = round_half(self.accuracies[candidate.name] * IMAGES)
        answers = tuple(int(n < right) for n in range(IMAGES))
        return Trial(
            candidate.name, round, epochs, share, epochs * share * pace.seconds, 1e-3, answers
        )


def round_half(value: float) -> int:
    return int(value + 0.5)


def entrants(names: Mapping[str, float] = PLANTED) -> list[Candidate]:
    return [
        Candidate(name, Linear(), Size(), Costs(1000 + n, 10), name.startswith("found"))
        for n, name in enumerate(names)
    ]


def nothing(state: Mapping[str, Any]) -> None:
    """Keeps nothing."""


def test_a_planted_best_candidate_wins() -> None:
    trainer = Planted(PLANTED)
    race = Race.of(trainer, nothing)
    ranked = race.run(entrants(), 720.0, most=100)
    # The third that is kept are b and found-8: the best of each kind, too.
    assert [one.name for one in ranked] == ["b", "found-8", "c", "found-4", "a", "d"]
    assert [(r, name) for r, name, *_ in trainer.trained] == [
        *((1, name) for name in PLANTED),
        (2, "b"),
        (2, "found-8"),
    ]


def test_all_of_a_round_get_the_same_seconds() -> None:
    race = Race.of(Planted(PLANTED), nothing)
    race.run(entrants(), 720.0, most=100)
    assert [trial.seconds for trial in race.trials if trial.round == 1] == pytest.approx([60] * 6)
    second = [trial for trial in race.trials if trial.round == 2]
    assert [(t.name, t.epochs) for t in second] == [("b", 45), ("found-8", 100)]
    assert second[0].seconds == 180.0  # half of the 720 seconds, for two


def test_the_best_of_each_kind_stays() -> None:
    names = {"found-8": 0.1, "a": 0.9, "b": 0.8, "c": 0.7, "d": 0.6, "e": 0.5, "f": 0.4}
    order = [*entrants(names)[1:], entrants(names)[0]]
    assert [one.name for one in kept(order)] == ["a", "b", "c", "found-8"]
    plain = entrants({"a": 1, "b": 1})
    assert kept(plain) == plain[:1]


@pytest.mark.parametrize("after", range(8))
def test_a_killed_race_continues_to_the_same_end(after: int) -> None:
    whole = Race.of(Planted(PLANTED), nothing)
    expected = whole.run(entrants(), 720.0, most=100)
    saved: dict[str, Any] = {}
    killed = Race.of(Planted(PLANTED, after), saved.update)
    with pytest.raises(KeyboardInterrupt):
        killed.run(entrants(), 720.0, most=100)
    trainer = Planted(PLANTED)
    again = Race.of(trainer, saved.update, saved)
    assert again.run(entrants(), 5.0, most=100) == expected  # the seconds of before count
    assert len(trainer.trained) == 8 - after
    assert again.to_dict() == whole.to_dict() == saved


def test_of_equals_the_smaller_one_wins() -> None:
    names = {"a": 0.7, "b": 0.7}
    for order in (entrants(names), entrants(names)[::-1]):
        assert Race.of(Planted(names), nothing).run(order, 10.0, most=9)[0].name == "a"


def test_one_candidate_does_not_race() -> None:
    trainer = Planted(PLANTED)
    assert len(Race.of(trainer, nothing).run(entrants()[:1], 99.0, most=9)) == 1
    assert trainer.trained == []


def test_rounds() -> None:
    assert [rounds_of(n) for n in (1, 2, 3, 4, 6, 9, 10, 27, 28)] == [0, 1, 1, 2, 2, 2, 3, 3, 4]


def test_too_little_time_is_shared_out_over_images() -> None:
    assert plan(10.0, 1.0, 40) == (10, 1.0)
    assert plan(100.0, 1.0, 40) == (40, 1.0)
    assert plan(2.0, 1.0, 40) == (2, 1.0)
    assert plan(1.0, 1.0, 40) == (2, 0.5)
    assert plan(1.0, 100.0, 40) == (2, 0.005)
    assert plan(5.0, 10.0, 1) == (1, 0.5)
    epochs, share = plan(0.0, 1.0, 40)
    assert (epochs, share) == (2, 1e-3)


def test_the_pace_is_that_of_the_longest_training_if_that_is_faster() -> None:
    race = Race.of(Planted({"a": 0.5}), nothing)
    (one,) = entrants({"a": 0.5})
    assert race.pace(one).seconds == 1.0
    race.trials += [
        Trial("a", 1, 2, 0.5, 3.0, 0.1, (1,)),
        Trial("a", 2, 4, 1.0, 10.0, 0.1, (1,)),
    ]
    assert race.pace(one) == Pace(1.0, "fp32")
    race.paces["a"] = Pace(4.0, "fp32")
    assert race.pace(one) == Pace(2.5, "fp32")


def test_the_difference_is_paired_in_the_last_common_round() -> None:
    race = Race.of(Planted({}), nothing)
    answers = {("a", 1): (1, 0, 1, 1), ("b", 1): (0, 0, 1, 1), ("a", 2): (1, 1, 1, 1)}
    race.trials = [Trial(name, r, 1, 1.0, 1.0, 0.1, right) for (name, r), right in answers.items()]
    right = [[bool(x) for x in answers[name, 1]] for name in "ab"]
    assert race.difference("a", "b") == paired_proportion(*right)  # type: ignore[arg-type]
    assert race.difference("a", "x") is None
    last = race.last("a")
    assert last is not None and last.round == 2
    low, high = wilson(4, 4)
    assert (last.accuracy.value, last.accuracy.low, last.accuracy.high) == (1.0, low, high)
