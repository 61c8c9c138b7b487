"""Regularized evolution: the best of a few of the youngest is mutated, and the oldest dies (Real et
al., AAAI 2019: AmoebaNet).

Algorithm 1: `population` genotypes are drawn uniformly; then, for every trial, `tournament` of the
population are drawn with replacement, the best of them is mutated (`DartsSpace.mutate`), and its
child takes the place of the oldest: the population is the last ones finished. The space is the
paper's: five nodes of two pairs, the operations of section 11 of its comparison, sums only.
Every child is trained and fights with its own score, as in the paper; what is returned has the
highest mean of its scores.
Differences: with many workers a trial begins on what is finished then, and those drawn uniformly
are the first `population` trials, finished or not; the defaults are a fifth of the paper's 100 and
25, so that a search of 200 networks evolves for nine tenths of them.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from optuna.study import Study
from optuna.trial import FrozenTrial

from edarts.config import UNSET, Between
from edarts.methods.blackbox.base import LedgerOptions, LedgerSampler, Wanted
from edarts.methods.blackbox.ledger import goodness, history
from edarts.space.base import SearchSpace


@dataclass(frozen=True)
class Options(LedgerOptions):
    """What can be chosen of the method."""

    trials: Annotated[int, Between(1)] = UNSET
    """Architectures proposed in all; more than before continue a search. If not given, ten times
    the population."""
    population: Annotated[int, Between(1)] = 20
    """Architectures that live at once."""
    tournament: Annotated[int, Between(1)] = 5
    """How many of them compete to be the parent."""


class RegularizedEvolution(LedgerSampler):
    """`population` (P) and `tournament` (S) as in Algorithm 1."""

    Options: ClassVar[type] = Options
    SPACE: ClassVar[str] = "enas"
    PLANTED: ClassVar[Mapping[str, Any] | None] = {"space": "darts", "topology": "0"}
    DEFAULTS: ClassVar[Mapping[str, Any]] = {
        "operations": "skip_connect,sep_conv_3x3,sep_conv_5x5,sep_conv_7x7,avg_pool_3x3,"
        "max_pool_3x3,dil_conv_3x3,conv_1x7_7x1"
    }
    PAPER: ClassVar[Mapping[str, Any]] = {
        "trials": 20_000,
        "population": 100,
        "tournament": 25,
        "cells": 11,
        "channels": 24,
        "epochs": 25,
    }
    EARLIER: ClassVar[Mapping[str, Any]] = {
        **LedgerSampler.EARLIER,
        "population": 100,
        "tournament": 25,
    }

    @classmethod
    def wanted(cls, method: str, options: Any, space: SearchSpace) -> Wanted:
        return Wanted.of_population(options.population)

    def propose(
        self, study: Study, trial: FrozenTrial, draw: random.Random
    ) -> dict[str, int | str]:
        alive = history(study)[-self.options.population :]
        if trial.number < self.options.population or not alive:
            return self.space.sample_decisions(draw)
        fighters = draw.choices(alive, k=self.options.tournament)
        parent = max(fighters, key=lambda fighter: goodness(study, fighter))
        return self.space.mutate_decisions(parent.params, draw)


PLUGIN = RegularizedEvolution
