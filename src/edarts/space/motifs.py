"""The space of hierarchical evolution: motifs of motifs (Liu et al., ICLR 2018; methods.md section
13).

A motif is a graph on ordered nodes, one source and one sink; its edges carry motifs of the level
below or nothing. Level 1 are the operations, level 2 has `MOTIFS` motifs of 4 nodes, level 3 one of
5 nodes: the cell. The reduction cell has the same motifs, the edges from its input with stride 2.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from edarts.errors import UsageError
from edarts.space.base import Decisions, DecisionSpace
from edarts.space.darts import parse_eligible
from edarts.space.genotype import Edge, Genotype

MOTIFS, NODES = (6, 1), (4, 5)  # of levels 2 and 3
SHAKES = 1000  # random mutations of a chain that a first cell is made by
NOTHING = "none"
SOURCE = 1  # the node of the cell that its source is: the output of the cell before it

Graph = list[tuple[int, int, str]]
"""Edges (source, target, label) between nodes 0 (the source) to n - 1 (the sink)."""


@dataclass(frozen=True)
class Options:
    """What can be chosen of the space."""

    operations: str = "conv_1x1,dil_conv_3x3,sep_conv_3x3,max_pool_3x3,avg_pool_3x3,skip_connect"
    """Candidate operations: SS1..SS8, all, or names with commas."""


@dataclass(frozen=True)
class MotifSpace(DecisionSpace):
    """Cells of motifs. Decision `LEVEL.MOTIF.TARGET.SOURCE` is the label of that edge of that
    motif.

    Labels of level 2 are operations, those of level 3 the numbers of motifs of level 2.
    """

    Options: ClassVar[type] = Options
    Architecture: ClassVar[type] = Genotype

    operations: tuple[str, ...]

    @classmethod
    def of(cls, options: Any) -> "MotifSpace":
        return cls(parse_eligible(options.operations))

    def decisions(self) -> Mapping[str, Sequence[int | str]]:
        return self._decisions

    @cached_property
    def _decisions(self) -> dict[str, Sequence[int | str]]:
        labels: tuple[Sequence[str], ...] = (self.operations, tuple(map(str, range(MOTIFS[0]))))
        return {
            f"{level + 2}.{motif}.{i}.{j}": (NOTHING, *labels[level])
            for level in range(2)
            for motif in range(MOTIFS[level])
            for i in range(1, NODES[level])
            for j in range(i)
        }

    @property
    def identity(self) -> str:
        """The operation of the chains that the first cells are made from."""
        return "skip_connect" if "skip_connect" in self.operations else self.operations[0]

    def graph(self, decisions: Decisions, level: int, motif: int) -> Graph:
        """The edges of a motif."""
        nodes = NODES[level - 2]
        names = ((j, i, f"{level}.{motif}.{i}.{j}") for i in range(1, nodes) for j in range(i))
        return [(j, i, str(decisions[key])) for j, i, key in names if decisions[key] != NOTHING]

    def decode(self, decisions: Decisions) -> Genotype:
        """The cell, flattened to operations. Raises UsageError if its sink is not reached."""
        motifs = {str(m): self.graph(decisions, 2, m) for m in range(MOTIFS[0])}
        edges = flatten(self.graph(decisions, 3, 0), NODES[1], motifs, NODES[0])
        if not edges:
            raise UsageError("the motifs do not connect the cell's input with its output")
        sink = max(edge.node for edge in edges)
        return Genotype(tuple(edges), tuple(edges), (sink,), (sink,))

    def sample_decisions(self, rng: random.Random) -> dict[str, int | str]:
        """A chain of identities after `SHAKES` mutations."""
        decisions: dict[str, int | str] = dict.fromkeys(self._decisions, NOTHING)
        for name in self._decisions:
            level, _, i, j = map(int, name.split("."))
            if i == j + 1:
                decisions[name] = self.identity if level == 2 else str(j % MOTIFS[0])
        for _ in range(SHAKES):
            self._change(decisions, rng)
        while not self._connected(decisions):
            self._change(decisions, rng)
        return decisions

    def mutate_decisions(self, decisions: Decisions, rng: random.Random) -> dict[str, int | str]:
        """One edge of one motif of one level, each drawn uniformly, with a label drawn from all."""
        while True:
            changed = {name: decisions[name] for name in self._decisions}
            self._change(changed, rng)
            if self._connected(changed):
                return changed

    def _change(self, decisions: dict[str, int | str], rng: random.Random) -> None:
        level = rng.randrange(2)
        motif = rng.randrange(MOTIFS[level])
        i = rng.randrange(1, NODES[level])
        name = f"{level + 2}.{motif}.{i}.{rng.randrange(i)}"
        decisions[name] = rng.choice(self._decisions[name])

    def _connected(self, decisions: Decisions) -> bool:
        try:
            self.decode(decisions)
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
    number = {node: SOURCE + index for index, node in enumerate(kept)}
    return [
        Edge(operation, number[source], number[target])
        for source, target, operation in raw
        if source in number and target in number
    ]


PLUGIN = MotifSpace
