"""The space of ENAS' micro search: nodes of two pairs, of a source and an operation each, alike or
not (Pham et al. 2018; the space of NASNet and AmoebaNet, with sums only).

Five nodes; each takes any two of the inputs and the nodes before it, one perhaps twice, and the
cell gives out what no node reads. In a supernet the first pair of a node and its second have
weights of their own, as in ENAS' code, so every edge has two rows.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import comb
from typing import Any, ClassVar

from edarts.space.base import Chosen, Decisions
from edarts.space.darts import KEPT, DartsSpace, Topology, parse_operations
from edarts.space.genotype import INPUTS, KINDS, Edge, Genotype

ENAS_EDGES: Topology = tuple((j, n) for n in range(INPUTS, INPUTS + 5) for j in range(n))


@dataclass(frozen=True)
class Options:
    """What can be chosen of the space."""

    operations: str = "sep_conv_3x3,sep_conv_5x5,avg_pool_3x3,max_pool_3x3,skip_connect"
    """Candidate operations: SS1..SS8, all, or names with commas."""


@dataclass(frozen=True)
class EnasSpace(DartsSpace):
    """All genotypes whose nodes have two pairs of an edge and an operation.

    Only the nodes that feed no other are concatenated, so a cell is defined as a whole alone.
    """

    Options: ClassVar[type] = Options
    relaxable: ClassVar[bool] = False
    loose_ends: ClassVar[bool] = True

    normal: Topology = ENAS_EDGES
    reduce: Topology = ENAS_EDGES

    @classmethod
    def of(cls, options: Any) -> "EnasSpace":
        return cls(parse_operations(options.operations))

    def edges(self, group: str) -> Topology:
        """For each node its edges as the first of the pair, then its edges as the second."""
        return self._rows[group]

    @cached_property
    def _rows(self) -> dict[str, Topology]:
        found = {}
        for kind in KINDS:
            into: dict[int, list[tuple[int, int]]] = {}
            for edge in self.topology(kind):
                into.setdefault(edge[1], []).append(edge)
            found[kind] = tuple(edge for node in into.values() for edge in node * KEPT)
        return found

    def chosen(self, architecture: Genotype) -> Chosen:
        """Of the two edges into a node the one that comes first is taken for the first pair."""
        once = super().chosen(architecture)
        found = {}
        for kind, pairs in once.items():
            nodes: dict[int, list[tuple[int, int]]] = {}
            for row, column in pairs:
                nodes.setdefault(self.edges(kind)[row][1], []).append((row, column))
            found[kind] = [
                (row + slot * len(self.incoming(kind)[node]) // KEPT, column)
                for node, into in nodes.items()
                for slot, (row, column) in enumerate(into)
            ]
        return found

    def _slots(self, rows: Sequence[int]) -> int:
        return KEPT

    def _output(self, edges: Sequence[Edge]) -> tuple[int, ...]:
        read = {edge.source for edge in edges}
        return tuple(sorted({edge.node for edge in edges} - read))

    def _distinct(self, edges: Sequence[Edge]) -> bool:
        return True

    def _ways(self, rows: int, operations: int) -> int:
        return comb(rows // KEPT * operations + KEPT - 1, KEPT)

    def _draw_rows(self, rows: Sequence[int], rng: random.Random) -> list[int]:
        of_a_pair = len(rows) // KEPT
        drawn = sorted(rng.choices(rows[:of_a_pair], k=KEPT))
        return [row + slot * of_a_pair for slot, row in enumerate(drawn)]

    def _rewirable(self, kind: str) -> list[int]:
        return [node for node, rows in self.incoming(kind).items() if len(rows) > KEPT]

    def _taken(self, edges: Sequence[Edge], edge: Edge) -> set[int]:
        return {edge.source}

    def decisions(self) -> Mapping[str, Sequence[int | str]]:
        """Per node of each kind of cell and slot: `KIND.NODE.SLOT.source`, and its operation,
        `KIND.NODE.SLOT`.
        """
        return self._decisions

    @cached_property
    def _decisions(self) -> dict[str, Sequence[int | str]]:
        found: dict[str, Sequence[int | str]] = {}
        for kind in KINDS:
            for node, rows in self.incoming(kind).items():
                sources = tuple(self.edges(kind)[row][0] for row in rows[: len(rows) // KEPT])
                for slot in range(KEPT):
                    found[f"{kind}.{node}.{slot}.source"] = sources
                for slot in range(KEPT):
                    found[f"{kind}.{node}.{slot}"] = self.eligible(kind)
        return found

    def encode(self, architecture: Genotype) -> dict[str, int | str]:
        decisions: dict[str, int | str] = {}
        for kind in KINDS:
            for node, edges in self._by_node(kind, architecture).items():
                for slot, edge in enumerate(edges):
                    decisions[f"{kind}.{node}.{slot}"] = edge.operation
                    decisions[f"{kind}.{node}.{slot}.source"] = edge.source
        return decisions

    def decode(self, decisions: Decisions) -> Genotype:
        return self.genotype(
            {
                kind: [
                    Edge(
                        str(decisions[f"{kind}.{node}.{slot}"]),
                        int(decisions[f"{kind}.{node}.{slot}.source"]),
                        node,
                    )
                    for node in self.incoming(kind)
                    for slot in range(KEPT)
                ]
                for kind in KINDS
            }
        )


PLUGIN = EnasSpace
