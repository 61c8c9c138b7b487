"""Tournaments among all, and nobody dies."""

import random
from typing import Any

import optuna
import pytest

from edarts.methods.blackbox.hierarchical_evolution import HierarchicalEvolution, Options
from edarts.methods.blackbox.ledger import suggest
from edarts.space.base import Decisions
from edarts.space.motifs import MotifSpace


class Watched(MotifSpace):
    """Keeps whom it was asked to mutate."""

    parents: list[Decisions]

    def mutate_decisions(self, decisions: Decisions, rng: random.Random) -> dict[str, int | str]:
        self.parents.append(dict(decisions))
        return super().mutate_decisions(decisions, rng)


def study_of(count: int, population: int, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Watched]:
    monkeypatch.setattr("edarts.space.motifs.SHAKES", 30)
    space = Watched(("skip_connect", "sep_conv_3x3"))
    object.__setattr__(space, "parents", [])
    sampler = HierarchicalEvolution(space, 0, Options(population=population))
    study = optuna.create_study(sampler=sampler, direction="maximize")
    # the first is the best of all, and the later the worse
    study.optimize(lambda trial: (suggest(space, trial), -trial.number)[1], n_trials=count)
    return study, space


def test_the_first_are_drawn_and_the_others_mutated(monkeypatch: pytest.MonkeyPatch) -> None:
    study, space = study_of(12, 5, monkeypatch)
    assert len(space.parents) == 12 - 5
    for trial, parent in zip(study.trials[5:], space.parents, strict=True):
        assert sum(trial.params[name] != parent[name] for name in parent) <= 1


def test_five_percent_of_all_compete_and_the_oldest_still_wins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study, space = study_of(60, 40, monkeypatch)
    drawn: list[int] = []
    sample = random.Random.sample

    def count(self: random.Random, population: Any, k: int, **rest: Any) -> Any:
        drawn.append(k)
        return sample(self, population, k, **rest)

    monkeypatch.setattr(random.Random, "sample", count)
    sampler = study.sampler
    trial = study.ask(sampler.infer_relative_search_space(study, study.trials[0]))
    assert drawn[0] == 3 == round(0.05 * 60)
    assert len(trial.params) == len(space.decisions())
    monkeypatch.setattr("edarts.methods.blackbox.hierarchical_evolution.SHARE", 1.0)
    space.parents.clear()
    sampler.propose(study, study.trials[-1], random.Random(0))
    assert space.parents == [study.trials[0].params]  # the oldest of 61, as nobody dies
