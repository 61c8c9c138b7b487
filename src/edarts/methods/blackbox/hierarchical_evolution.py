"""Hierarchical evolution: motifs of motifs are mutated, nobody ever dies (Liu et al., ICLR 2018).

A motif is a graph on ordered nodes, one source and one sink; its edges carry motifs of the level
below or nothing. Level 1 are the operations, level 2 has `MOTIFS` motifs of 4 nodes, level 3 one of
5 nodes: the cell. A mutation gives one edge of one motif another label. The first `population`
genotypes are chains of identities with `SHAKES` random mutations each; then the best of 5 % of all
finished ones is mutated (methods.md section 13, most of it from memory).
Differences: a node sums its edges, as in all cells here, in place of concatenating them; the cell
reads the cell before it alone (node 1); the reduction cell has the same motifs, the edges from its
input with stride 2; the depthwise convolution is the dilated one; motifs that connect source and
sink in no way are drawn again; the population is a fifth of the paper's 200.
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

SHARE = 0.05  # of all finished trials, in a tournament


@dataclass(frozen=True)
class Options(LedgerOptions):
    """What can be chosen of the method."""

    trials: Annotated[int, Between(1)] = UNSET
    """Architectures proposed in all; more than before continue a search. If not given, ten times
    the population."""
    population: Annotated[int, Between(1)] = 40
    """How many genotypes are drawn before any is mutated."""


class HierarchicalEvolution(LedgerSampler):
    """Mutates the best of a tournament among all that were ever scored."""

    Options: ClassVar[type] = Options
    SPACE: ClassVar[str] = "motifs"
    PLANTED: ClassVar[Mapping[str, Any] | None] = {"trials": 800, "edges": 20}
    PAPER: ClassVar[Mapping[str, Any]] = {"trials": 7000, "population": 200}
    EARLIER: ClassVar[Mapping[str, Any]] = {**LedgerSampler.EARLIER, "population": 200}
    REASONS: ClassVar[Mapping[str, str]] = {"topology": "its motifs are the topology"}

    @classmethod
    def wanted(cls, method: str, options: Any, space: SearchSpace) -> Wanted:
        return Wanted.of_population(options.population)

    def propose(
        self, study: Study, trial: FrozenTrial, draw: random.Random
    ) -> dict[str, int | str]:
        everybody = history(study)
        if trial.number < self.options.population or not everybody:
            return self.space.sample_decisions(draw)
        fighters = draw.sample(everybody, max(1, round(SHARE * len(everybody))))
        parent = max(fighters, key=lambda fighter: goodness(study, fighter))
        return self.space.mutate_decisions(parent.params, draw)


PLUGIN = HierarchicalEvolution
