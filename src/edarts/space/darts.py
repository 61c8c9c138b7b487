"""Space: the genotypes a search may return, as topologies x operations.

A *topology* is a tuple of edges (source, node) in the order of DARTS' alpha rows: by node, then by
source. With more than two edges into a node the search also chooses which two to keep; with two
or fewer the topology is fixed and only operations are searched (eDARTS).
Depth and width are sizes of a supernet or network, not part of the space.
"""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from math import comb, prod

from edarts.errors import UsageError, unknown
from edarts.space import operations as ops
from edarts.space.genotype import INPUTS, KINDS, Edge, Genotype

NODES = 4
KEPT = 2  # edges into a node of a derived cell
UNCHANGED = 0.05  # how often a mutation changes nothing (AmoebaNet)

Topology = tuple[tuple[int, int], ...]

ALL_EDGES: Topology = tuple((j, n) for n in range(INPUTS, INPUTS + NODES) for j in range(n))
ENAS_EDGES: Topology = tuple((j, n) for n in range(INPUTS, INPUTS + 5) for j in range(n))

_POOLS_AND_SKIP = ("max_pool_3x3", "avg_pool_3x3", "skip_connect")
# The slides' eight subsets; each also has skip connection and pooling.
SUBSETS = {
    "SS1": ("sep_conv_3x3", "dil_conv_3x3"),
    "SS2": ("sep_conv_5x5", "dil_conv_5x5"),
    "SS3": ("sep_conv_3x3", "sep_conv_5x5"),
    "SS4": ("dil_conv_3x3", "dil_conv_5x5"),
    "SS5": ("sep_conv_3x3", "dil_conv_5x5"),
    "SS6": ("sep_conv_5x5", "dil_conv_3x3"),
    "SS7": ("sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3"),
    "SS8": ("sep_conv_3x3", "sep_conv_5x5", "dil_conv_5x5"),
}


@dataclass(frozen=True)
class Space:
    """All genotypes with these operations on these edges.

    `operations`: the K candidates on every edge, in column order of the weights.
    `normal`, `reduce`: the E edges that each kind of supernet cell has, in row order.
    `pairs`: how a genotype draws on them. False (DARTS): every node has two edges, each with one
    operation, and all nodes are concatenated. True (ENAS): every node has two pairs of an edge and
    an operation, alike or not, and only the nodes that feed no other are concatenated.
    Raises UsageError for an unknown or repeated operation, for none but `none`, or for edges that
    do not go forward from an existing node.
    """

    operations: tuple[str, ...] = ops.CANDIDATES
    normal: Topology = ALL_EDGES
    reduce: Topology = ALL_EDGES
    pairs: bool = False

    def __post_init__(self) -> None:
        for name in self.operations:
            ops.check(name)
        if len(set(self.operations)) < len(self.operations):
            raise UsageError(f"an operation is named twice: {', '.join(self.operations)}")
        if not self.searchable:
            raise UsageError("the space has no operation but 'none'")
        for kind in KINDS:
            edges = tuple(sorted(self.topology(kind), key=lambda edge: (edge[1], edge[0])))
            nodes = {0, 1} | {node for _, node in edges}
            if len(set(edges)) < len(edges) or not edges:
                raise UsageError(f"the {kind} topology is empty or names an edge twice")
            for source, node in edges:
                if not 0 <= source < node or node < INPUTS or source not in nodes:
                    raise UsageError(f"the {kind} topology has no such edge: {source} -> {node}")
            object.__setattr__(self, kind, edges)

    def topology(self, kind: str) -> Topology:
        """The edges of the `kind` ("normal" or "reduce") supernet cell."""
        return self.normal if kind == "normal" else self.reduce

    @property
    def searchable(self) -> tuple[str, ...]:
        """The operations that a genotype may carry: all but `none`."""
        return tuple(name for name in self.operations if name != "none")

    def candidates(self, kind: str) -> list[Edge]:
        """All E x K candidate edges of a supernet cell, row by row of the weights."""
        return [Edge(op, j, n) for j, n in self.topology(kind) for op in self.operations]

    def incoming(self, kind: str) -> dict[int, list[int]]:
        """Node -> rows of the edges that enter it."""
        rows: dict[int, list[int]] = {}
        for row, (_, node) in enumerate(self.topology(kind)):
            rows.setdefault(node, []).append(row)
        return rows

    def concat(self, kind: str) -> tuple[int, ...]:
        """The nodes that a supernet's cell concatenates: all but the inputs."""
        return tuple(self.incoming(kind))

    def genotype(self, edges: Mapping[str, Sequence[Edge]]) -> Genotype:
        """The genotype with these edges per kind; nodes without edges are not in its output."""
        normal, reduce = (tuple(edges[kind]) for kind in KINDS)
        return Genotype(normal, reduce, self._output(normal), self._output(reduce))

    def _output(self, edges: Sequence[Edge]) -> tuple[int, ...]:
        read = {edge.source for edge in edges} if self.pairs else set()
        return tuple(sorted({edge.node for edge in edges} - read))

    def holds(self, genotype: Genotype) -> bool:
        """Whether every edge of `genotype` is a candidate, none is there twice unless in `pairs`,
        and its output is that of the space. A node may have any number of edges.
        """
        for kind in KINDS:
            edges = genotype.edges(kind)
            if not set(edges) <= set(self.candidates(kind)):
                return False
            if not self.pairs and len({(e.source, e.node) for e in edges}) < len(edges):
                return False
            if genotype.concat(kind) != self._output(edges):
                return False
        return True

    def __contains__(self, genotype: object) -> bool:
        """Whether `genotype` is one of `size`: the space `holds` it, with two edges into a node."""
        if not isinstance(genotype, Genotype) or not self.holds(genotype):
            return False
        counts = {kind: Counter(edge.node for edge in genotype.edges(kind)) for kind in KINDS}
        return all(
            counts[kind][node] == self._kept(rows)
            for kind in KINDS
            for node, rows in self.incoming(kind).items()
        )

    def _kept(self, rows: Sequence[int]) -> int:
        return KEPT if self.pairs else min(KEPT, len(rows))

    def size(self) -> int:
        """How many genotypes the space holds."""
        operations = len(self.searchable)
        return prod(
            comb(len(rows) * operations + KEPT - 1, KEPT)
            if self.pairs
            else comb(len(rows), kept := self._kept(rows)) * operations**kept
            for kind in KINDS
            for rows in self.incoming(kind).values()
        )

    def sample(self, generator: random.Random) -> Genotype:
        """A genotype of uniformly drawn edges and operations."""
        edges: dict[str, list[Edge]] = {}
        for kind in KINDS:
            topology = self.topology(kind)
            edges[kind] = [
                Edge(generator.choice(self.searchable), *topology[row])
                for rows in self.incoming(kind).values()
                for row in sorted(
                    generator.choices(rows, k=KEPT)
                    if self.pairs
                    else generator.sample(rows, self._kept(rows))
                )
            ]
        return self.genotype(edges)

    def mutate(self, genotype: Genotype, generator: random.Random) -> Genotype:
        """AmoebaNet's mutation (Real et al. 2019, section 3.2), exactly one of three.

        With probability `UNCHANGED` the genotype itself; else, equally often, one edge gets another
        source, or one edge an operation drawn from all (perhaps its own). Kind of cell, node and
        edge are drawn uniformly, for a source among the nodes that have one to spare; a space
        without such nodes has mutations of operations only. Without `pairs` the two sources of a
        node stay different.
        """
        if generator.random() < UNCHANGED:
            return genotype
        kinds = [kind for kind in KINDS if self._rewirable(kind)]
        edges = {kind: list(genotype.edges(kind)) for kind in KINDS}
        if kinds and generator.random() < 0.5:
            kind = generator.choice(kinds)
            node = generator.choice(self._rewirable(kind))
            place = generator.choice([i for i, e in enumerate(edges[kind]) if e.node == node])
            edge = edges[kind][place]
            taken = {edge.source}
            if not self.pairs:
                taken |= {e.source for e in edges[kind] if e.node == node}
            free = [j for j, n in self.topology(kind) if n == node and j not in taken]
            edges[kind][place] = edge._replace(source=generator.choice(free))
        else:
            kind = generator.choice(KINDS)
            node = generator.choice(list(self.incoming(kind)))
            place = generator.choice([i for i, e in enumerate(edges[kind]) if e.node == node])
            operation = generator.choice(self.searchable)
            edges[kind][place] = edges[kind][place]._replace(operation=operation)
        return self.genotype(edges)

    def _rewirable(self, kind: str) -> list[int]:
        """The nodes whose edges may come from elsewhere."""
        return [
            node
            for node, rows in self.incoming(kind).items()
            if len(rows) > (1 if self.pairs else self._kept(rows))
        ]

    # -- names -----------------------------------------------------------------------------------

    @staticmethod
    def topologies() -> list[Topology]:
        """The 180 topologies: two distinct sources for each of four nodes, 1 x 3 x 6 x 10.

        Their index is the place in this list: lexicographic, node 2 slowest (methods.md 15).
        """
        pairs = [combinations(range(n), KEPT) for n in range(INPUTS, INPUTS + NODES)]
        return [
            tuple((j, INPUTS + n) for n, pair in enumerate(choice) for j in pair)
            for choice in product(*pairs)
        ]

    @classmethod
    def parse(cls, operations: str, topology: str = "all") -> "Space":
        """The space named by `operations` and `topology`.

        `operations`: SS1 to SS8 (the slides' subsets, each with skip connection and pools), `all`
        (DARTS' eight), or names with commas. `topology`: see `parse_topology`; for different cells
        NORMAL/REDUCE; `enas`: two `pairs` into each of five nodes.
        Raises UsageError with the nearest names.
        """
        if operations in SUBSETS:
            names = (*_POOLS_AND_SKIP, *SUBSETS[operations])
        elif operations == "all":
            names = ops.CANDIDATES
        else:
            names = tuple(name.strip() for name in operations.split(",") if name.strip())
        known = ops.names()
        for name in names:
            if name not in known:
                raise unknown("operation", name, [*known, *SUBSETS, "all"])
        if topology.strip() == "enas":
            return cls(names, ENAS_EDGES, ENAS_EDGES, pairs=True)
        normal, _, reduce = topology.partition("/")
        return cls(names, parse_topology(normal), parse_topology(reduce or normal))


def parse_topology(text: str) -> Topology:
    """A topology from `all` (14 edges), an index 0..179, or the sources of each node.

    `"01 01 01 02"` reads: nodes 2, 3 and 4 take 0 and 1, node 5 takes 0 and 2.
    """
    text = text.strip()
    if text == "all":
        return ALL_EDGES
    try:
        groups = text.split()
        if len(groups) == 1 and len(text) <= 3:
            return Space.topologies()[_index(text)]
        return tuple(
            (int(source), INPUTS + node) for node, group in enumerate(groups) for source in group
        )
    except (ValueError, IndexError):
        raise UsageError(
            f"topology '{text}': give 'all', an index 0..179, sources like '01 01 01 02', or 'enas'"
        ) from None


def _index(text: str) -> int:
    index = int(text)
    if index < 0:
        raise IndexError(text)
    return index


def format_topology(topology: Topology) -> str:
    """The inverse of `parse_topology`: `all` or the sources of each node."""
    if topology == ALL_EDGES:
        return "all"
    nodes: dict[int, str] = {}
    for source, node in topology:
        nodes[node] = nodes.get(node, "") + str(source)
    return " ".join(nodes.values())
