"""Aging and tournaments."""

import random

import optuna

from edarts import DartsSpace
from edarts.methods.blackbox.ledger import suggest
from edarts.methods.blackbox.regularized_evolution import Options, RegularizedEvolution
from edarts.space.base import Decisions


def test_the_oldest_dies_whatever_its_score() -> None:
    """With the whole population in the tournament, the parent is the best of the last P alone."""
    parents: list[Decisions] = []

    class Watched(DartsSpace):
        def mutate_decisions(
            self, decisions: Decisions, rng: random.Random
        ) -> dict[str, int | str]:
            parents.append(decisions)
            known = [trial.params for trial in study.trials]
            while (child := super().mutate_decisions(decisions, rng)) in known:
                pass
            return child

    space = Watched.parse("all", "7")
    sampler = RegularizedEvolution(space, 0, Options(population=4, tournament=60))
    study = optuna.create_study(sampler=sampler, direction="maximize")
    scores = [0.9, 0.1, 0.2, 0.3, 0.4, 0.1, 0.15, 0.1, 0.1, 0.1]
    study.optimize(lambda trial: (suggest(space, trial), scores[trial.number])[1], n_trials=10)
    trials = [trial.params for trial in study.trials]
    # The best ever, 0, is alive for trial 4 alone; then 4 is best, and dies after trial 8.
    assert [trials.index(dict(parent)) for parent in parents] == [0, 4, 4, 4, 4, 6]


def test_the_first_are_drawn_and_the_others_mutated() -> None:
    """Algorithm 1: as many random ones as the population has, then one mutation a trial."""
    space = DartsSpace.parse("all", "7")
    sampler = RegularizedEvolution(space, 3, Options(population=6, tournament=2))
    study = optuna.create_study(sampler=sampler, direction="maximize")
    study.optimize(lambda trial: (suggest(space, trial), trial.number)[1], n_trials=20)
    decisions = [trial.params for trial in study.trials]

    def apart(one: Decisions, other: Decisions) -> int:
        return sum(one[name] != other[name] for name in one)

    assert min(apart(a, b) for i, a in enumerate(decisions[:6]) for b in decisions[:i]) > 1
    for number in range(6, 20):
        alive = decisions[number - 6 : number]
        assert min(apart(decisions[number], other) for other in alive) <= 1
