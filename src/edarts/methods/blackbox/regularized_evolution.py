"""Regularized evolution: the best of a few of the youngest is mutated, and the oldest dies (Real et
al., AAAI 2019: AmoebaNet).

Algorithm 1: `population` genotypes are drawn uniformly; then, for every trial, `tournament` of the
population are drawn with replacement, the best of them is mutated (`Space.mutate`), and its child
takes the place of the oldest: the population is the last ones finished. The space is the paper's:
five nodes of two pairs, the operations of section 11 of its comparison, sums only.
Differences: with many workers a trial begins on what is finished then, and those drawn uniformly
are the first `population` trials, finished or not.
"""

import random
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial

from edarts.config import SearchConfig
from edarts.methods.blackbox.ledger import LedgerSampler, goodness, history
from edarts.space.encoding import CellEncoding, Encoding

DEFAULTS: dict[str, Any] = {
    "operations": "skip_connect,sep_conv_3x3,sep_conv_5x5,sep_conv_7x7,avg_pool_3x3,max_pool_3x3,"
    "dil_conv_3x3,conv_1x7_7x1",
    "topology": "enas",
    "population": 100,
    "tournament": 25,
}


def encoding(config: SearchConfig) -> CellEncoding:
    """The space that the config names."""
    return CellEncoding.of(config)


class RegularizedEvolution(LedgerSampler):
    """`population` (P) and `tournament` (S) as in Algorithm 1."""

    def __init__(
        self, encoding: Encoding, seed: int = 0, population: int = 100, tournament: int = 25
    ) -> None:
        super().__init__(encoding, seed)
        self.population, self.tournament = population, tournament

    def propose(
        self, study: Study, trial: FrozenTrial, draw: random.Random
    ) -> dict[str, int | str]:
        alive = history(study)[-self.population :]
        if trial.number < self.population or not alive:
            return self.encoding.sample(draw)
        fighters = draw.choices(alive, k=self.tournament)
        parent = max(fighters, key=lambda fighter: goodness(study, fighter))
        return self.encoding.mutate(parent.params, draw)


PLUGIN = RegularizedEvolution
