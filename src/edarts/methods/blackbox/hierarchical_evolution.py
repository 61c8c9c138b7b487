"""Hierarchical evolution: motifs of motifs are mutated, nobody ever dies (Liu et al., ICLR 2018).

A motif is a graph on ordered nodes, one source and one sink; its edges carry motifs of the level
below or nothing. Level 1 are the operations, level 2 has `MOTIFS` motifs of 4 nodes, level 3 one of
5 nodes: the cell. A mutation gives one edge of one motif another label. The first `population`
genotypes are chains of identities with `SHAKES` random mutations each; then the best of 5 % of all
finished ones is mutated (methods.md section 13, most of it from memory).
Differences: a node sums its edges, as in all cells here, in place of concatenating them; the cell
reads the cell before it alone (node 1); the reduction cell has the same motifs, the edges from its
input with stride 2; the depthwise convolution is the dilated one; motifs that connect source and
sink in no way are drawn again.
"""

import random
from collections.abc import Mapping, Sequence
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial

from edarts.config import SearchConfig, given
from edarts.errors import UsageError
from edarts.methods.blackbox.ledger import LedgerSampler, goodness, history
from edarts.space.darts import Space
from edarts.space.encoding import Choices, Encoding
from edarts.space.genotype import INPUTS, Edge, Genotype

DEFAULTS: dict[str, Any] = {
    "operations": "conv_1x1,dil_conv_3x3,sep_conv_3x3,max_pool_3x3,avg_pool_3x3,skip_connect",
    "population": 200,
}
REASONS = {"topology": "its motifs are the topology"}

MOTIFS, NODES = (6, 1), (4, 5)  # of levels 2 and 3
SHAKES = 1000
SHARE = 0.05  # of all finished trials, in a tournament
NOTHING = "none"
SOURCE = INPUTS - 1  # the node of the cell that its source is

Graph = list[tuple[int, int, str]]
"""Edges (source, target, label) between nodes 0 (the source) to n - 1 (the sink)."""


class Motifs:
    """The encoding: `LEVEL.MOTIF.TARGET.SOURCE` is the label of that edge of that motif.

    Labels of level 2 are operations, those of level 3 the numbers of motifs of level 2.
    """

    def __init__(self, operations: Sequence[str]) -> None:
        labels: tuple[Sequence[str], ...] = (tuple(operations), tuple(map(str, range(MOTIFS[0]))))
        self.decisions: dict[str, Sequence[int | str]] = {
            f"{level + 2}.{motif}.{i}.{j}": (NOTHING, *labels[level])
            for level in range(2)
            for motif in range(MOTIFS[level])
            for i in range(1, NODES[level])
            for j in range(i)
        }
        self.identity = "skip_connect" if "skip_connect" in operations else operations[0]

    def graph(self, choices: Choices, level: int, motif: int) -> Graph:
        """The edges of a motif."""
        nodes = NODES[level - 2]
        names = ((j, i, f"{level}.{motif}.{i}.{j}") for i in range(1, nodes) for j in range(i))
        return [(j, i, str(choices[key])) for j, i, key in names if choices[key] != NOTHING]

    def decode(self, choices: Choices) -> Genotype:
        """The cell, flattened to operations. Raises UsageError if its sink is not reached."""
        motifs = {str(m): self.graph(choices, 2, m) for m in range(MOTIFS[0])}
        edges = flatten(self.graph(choices, 3, 0), NODES[1], motifs, NODES[0])
        if not edges:
            raise UsageError("the motifs do not connect the cell's input with its output")
        sink = max(edge.node for edge in edges)
        return Genotype(tuple(edges), tuple(edges), (sink,), (sink,))

    def sample(self, generator: random.Random) -> dict[str, int | str]:
        """A chain of identities after `SHAKES` mutations."""
        choices: dict[str, int | str] = dict.fromkeys(self.decisions, NOTHING)
        for name in self.decisions:
            level, _, i, j = map(int, name.split("."))
            if i == j + 1:
                choices[name] = self.identity if level == 2 else str(j % MOTIFS[0])
        for _ in range(SHAKES):
            self._change(choices, generator)
        while not self._whole(choices):
            self._change(choices, generator)
        return choices

    def mutate(self, choices: Choices, generator: random.Random) -> dict[str, int | str]:
        """One edge of one motif of one level, each drawn uniformly, with a label drawn from all."""
        while True:
            changed = {name: choices[name] for name in self.decisions}
            self._change(changed, generator)
            if self._whole(changed):
                return changed

    def _change(self, choices: dict[str, int | str], generator: random.Random) -> None:
        level = generator.randrange(2)
        motif = generator.randrange(MOTIFS[level])
        i = generator.randrange(1, NODES[level])
        name = f"{level + 2}.{motif}.{i}.{generator.randrange(i)}"
        choices[name] = generator.choice(self.decisions[name])

    def _whole(self, choices: Choices) -> bool:
        try:
            self.decode(choices)
        except UsageError:
            return False
        return True


def flatten(cell: Graph, nodes: int, motifs: Mapping[str, Graph], size: int) -> list[Edge]:
    """The edge list of a graph of motifs, each of `size` nodes; empty if the sink is not reached.

    The source becomes node `SOURCE`, every motif brings its inner nodes, and what lies on no way
    from source to sink is left out; the sink is the last node.
    """
    raw: list[tuple[tuple[int, ...], tuple[int, ...], str]] = []  # in an order that goes forward
    for j, i, label in cell:
        for a, b, operation in motifs[label]:
            ends = [(j,) if n == 0 else (i,) if n == size - 1 else (i - 1, j, n) for n in (a, b)]
            raw.append((ends[0], ends[1], operation))
    reached: set[tuple[int, ...]] = {(0,)}
    useful: set[tuple[int, ...]] = {(nodes - 1,)}
    order = sorted({end for source, target, _ in raw for end in (source, target)})
    for node in order:
        if any(source in reached and target == node for source, target, _ in raw):
            reached.add(node)
    for node in reversed(order):
        if any(target in useful and source == node for source, target, _ in raw):
            useful.add(node)
    kept = [node for node in order if node in reached & useful]
    if (nodes - 1,) not in kept or (0,) not in kept:
        return []
    number = {node: SOURCE + place for place, node in enumerate(kept)}
    return [
        Edge(operation, number[source], number[target])
        for source, target, operation in raw
        if source in number and target in number
    ]


def encoding(config: SearchConfig) -> Motifs:
    """Motifs over the config's operations."""
    return Motifs(Space.parse(given(config.operations)).searchable)


class HierarchicalEvolution(LedgerSampler):
    """`population`: how many genotypes are drawn before any is mutated."""

    def __init__(self, encoding: Encoding, seed: int = 0, population: int = 200) -> None:
        super().__init__(encoding, seed)
        self.population = population

    def propose(
        self, study: Study, trial: FrozenTrial, draw: random.Random
    ) -> dict[str, int | str]:
        everybody = history(study)
        if trial.number < self.population or not everybody:
            return self.encoding.sample(draw)
        fighters = draw.sample(everybody, max(1, round(SHARE * len(everybody))))
        parent = max(fighters, key=lambda fighter: goodness(study, fighter))
        return self.encoding.mutate(parent.params, draw)


PLUGIN = HierarchicalEvolution
