"""The space of DARTS: two cells on a topology, each edge with one operation (Liu et al. 2019).

A *topology* is a tuple of edges (source, node) in the order of DARTS' alpha rows: by node, then by
source. With more than two edges into a node the search also chooses which two to keep; with two
or fewer the topology is fixed and only operations are searched (eDARTS).
Depth and width are sizes of a supernet or network, not part of the space.
"""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, product
from math import comb, prod
from typing import TYPE_CHECKING, Any, ClassVar

from edarts import registry
from edarts.errors import UsageError, unknown
from edarts.space import operations as ops
from edarts.space.base import Chosen, Decisions, Image, SearchSpace, Size
from edarts.space.genotype import INPUTS, KINDS, Edge, Genotype

if TYPE_CHECKING:
    from torch import Tensor, nn

NODES = 4
KEPT = 2  # edges into a node of a derived cell
UNCHANGED = 0.05  # how often a mutation changes nothing (AmoebaNet)

Topology = tuple[tuple[int, int], ...]

ALL_EDGES: Topology = tuple((j, n) for n in range(INPUTS, INPUTS + NODES) for j in range(n))

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
class Options:
    """What can be chosen of the space."""

    operations: str = "all"
    """Candidate operations: SS1..SS8, all, or names with commas."""
    topology: str = "all"
    """Edges of a cell: all, an index 0..179, or sources such as "01 01 01 02"; NORMAL/REDUCE."""


@dataclass(frozen=True)
class DartsSpace(SearchSpace):
    """All genotypes with these operations on these edges.

    `operations`: the K candidates on every edge, in column order of the weights.
    `normal`, `reduce`: the E edges that each kind of supernet cell has, in row order. A genotype
    has two edges into every node, each with one operation, and concatenates all nodes.
    Raises UsageError for an unknown or repeated operation, for none but `none`, or for edges that
    do not go forward from an existing node.
    """

    Options: ClassVar[type] = Options
    Architecture: ClassVar[type] = Genotype
    groups: ClassVar[tuple[str, ...]] = KINDS
    loose_ends: ClassVar[bool] = False
    """Whether a supernet's cell gives out only the nodes that feed no other."""

    operations: tuple[str, ...] = ops.CANDIDATES
    normal: Topology = ALL_EDGES
    reduce: Topology = ALL_EDGES

    def __post_init__(self) -> None:
        for name in self.operations:
            ops.check(name)
        if len(set(self.operations)) < len(self.operations):
            raise UsageError(f"an operation is named twice: {', '.join(self.operations)}")
        if not self.eligible(KINDS[0]):
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

    @classmethod
    def of(cls, options: Any) -> "DartsSpace":
        """The space of `Options`."""
        return cls.parse(options.operations, options.topology)

    @classmethod
    def parse(cls, operations: str, topology: str = "all") -> "DartsSpace":
        """The space named by `operations` and `topology`.

        See `parse_operations` and `parse_topology`; for different cells NORMAL/REDUCE.
        Raises UsageError with the nearest names.
        """
        normal, _, reduce = topology.partition("/")
        return cls(
            parse_operations(operations), parse_topology(normal), parse_topology(reduce or normal)
        )

    @staticmethod
    def topologies() -> list[Topology]:
        """The 180 topologies: two distinct sources for each of four nodes, 1 x 3 x 6 x 10.

        Their index is that in this list: lexicographic, node 2 slowest (methods.md section
        15).
        """
        pairs = [combinations(range(n), KEPT) for n in range(INPUTS, INPUTS + NODES)]
        return [
            tuple((j, INPUTS + n) for n, pair in enumerate(choice) for j in pair)
            for choice in product(*pairs)
        ]

    # -- tables ----------------------------------------------------------------------------------

    def topology(self, group: str) -> Topology:
        """The edges that a cell of this kind may have."""
        return self.normal if group == "normal" else self.reduce

    def edges(self, group: str) -> Topology:
        return self.topology(group)

    def candidates(self, group: str) -> tuple[str, ...]:
        return self.operations

    def kept(self, group: str) -> int:
        return KEPT

    def _slots(self, rows: Sequence[int]) -> int:
        """How many edges a genotype has into a node which these rows enter."""
        return min(KEPT, len(rows))

    # -- networks --------------------------------------------------------------------------------

    def supernet(
        self,
        size: Size,
        image: Image,
        classes: int,
        *,
        channel_fraction: float = 1.0,
        mask: "Mapping[str, Tensor] | None" = None,
    ) -> "nn.Module":
        net: nn.Module = registry.locate("edarts.nn.supernet:Supernet")(
            self,
            **size.of_cells(),
            classes=classes,
            image=image,
            channel_fraction=channel_fraction,
            mask=mask,
        )
        return net

    def derive(self, chosen: Chosen) -> Genotype:
        return self.genotype(
            {
                kind: [Edge(self.operations[k], *self.edges(kind)[row]) for row, k in chosen[kind]]
                for kind in KINDS
            }
        )

    def chosen(self, architecture: Genotype) -> Chosen:
        found = {}
        for kind in KINDS:
            try:
                found[kind] = [
                    (self.edges(kind).index((source, node)), self.operations.index(operation))
                    for operation, source, node in architecture.edges(kind)
                ]
            except ValueError:
                raise UsageError(f"the space does not have this genotype: {architecture}") from None
        return found

    def genotype(self, edges: Mapping[str, Sequence[Edge]]) -> Genotype:
        """The genotype with these edges per kind; nodes without edges are not in its output."""
        normal, reduce = (tuple(edges[kind]) for kind in KINDS)
        return Genotype(normal, reduce, self._output(normal), self._output(reduce))

    def _output(self, edges: Sequence[Edge]) -> tuple[int, ...]:
        return tuple(sorted({edge.node for edge in edges}))

    def supports(self, architecture: Any) -> bool:
        """Whether every edge is a candidate, none is there twice, and the output is the space's.

        A node may have any number of edges.
        """
        return isinstance(architecture, Genotype) and all(
            self._supports_cell(kind, architecture.edges(kind), architecture.concat(kind))
            for kind in KINDS
        )

    def _supports_cell(self, kind: str, edges: Sequence[Edge], concat: tuple[int, ...]) -> bool:
        known = set(self.topology(kind))
        return (
            all(e.operation in self.operations and (e.source, e.node) in known for e in edges)
            and self._distinct(edges)
            and concat == self._output(edges)
        )

    def _distinct(self, edges: Sequence[Edge]) -> bool:
        return len({(edge.source, edge.node) for edge in edges}) == len(edges)

    def __contains__(self, architecture: object) -> bool:
        """Whether it is one of `size`: the space supports it, with two edges into every node."""
        if not isinstance(architecture, Genotype) or not self.supports(architecture):
            return False
        counts = {kind: Counter(edge.node for edge in architecture.edges(kind)) for kind in KINDS}
        return all(
            counts[kind][node] == self._slots(rows)
            for kind in KINDS
            for node, rows in self.incoming(kind).items()
        )

    def key(self) -> str:
        # Recorded studies have drawn their random cells by this text.
        return repr((self.operations, self.normal, self.reduce, not self.relaxable))

    def size(self) -> int:
        """How many genotypes the space holds."""
        return prod(
            self._ways(len(rows), len(self.eligible(kind)))
            for kind in KINDS
            for rows in self.incoming(kind).values()
        )

    def _ways(self, rows: int, operations: int) -> int:
        """How many sets of edges a node can have."""
        kept = min(KEPT, rows)
        return int(comb(rows, kept) * operations**kept)

    # -- drawing and changing --------------------------------------------------------------------

    def sample(self, rng: random.Random) -> Genotype:
        """A genotype of uniformly drawn edges and operations."""
        edges: dict[str, list[Edge]] = {}
        for kind in KINDS:
            topology = self.edges(kind)
            edges[kind] = [
                Edge(rng.choice(self.eligible(kind)), *topology[row])
                for rows in self.incoming(kind).values()
                for row in sorted(self._draw_rows(rows, rng))
            ]
        return self.genotype(edges)

    def _draw_rows(self, rows: Sequence[int], rng: random.Random) -> list[int]:
        return rng.sample(rows, self._slots(rows))

    def mutate(self, architecture: Genotype, rng: random.Random) -> Genotype:
        """AmoebaNet's mutation (Real et al. 2019, section 3.2), exactly one of three.

        With probability `UNCHANGED` the genotype itself; else, equally often, one edge gets another
        source, or one edge an operation drawn from all (perhaps its own). Kind of cell, node and
        edge are drawn uniformly, for a source among the nodes that have one to spare; a space
        without such nodes has mutations of operations only. The sources of a node stay different
        where the space has them so.
        """
        if rng.random() < UNCHANGED:
            return architecture
        kinds = [kind for kind in KINDS if self._rewirable(kind)]
        edges = {kind: list(architecture.edges(kind)) for kind in KINDS}
        if kinds and rng.random() < 0.5:
            kind = rng.choice(kinds)
            node = rng.choice(self._rewirable(kind))
            index = rng.choice([i for i, e in enumerate(edges[kind]) if e.node == node])
            taken = self._taken(edges[kind], edges[kind][index])
            free = [j for j, n in self.topology(kind) if n == node and j not in taken]
            edges[kind][index] = edges[kind][index]._replace(source=rng.choice(free))
        else:
            kind = rng.choice(KINDS)
            node = rng.choice(list(self.incoming(kind)))
            index = rng.choice([i for i, e in enumerate(edges[kind]) if e.node == node])
            operation = rng.choice(self.eligible(kind))
            edges[kind][index] = edges[kind][index]._replace(operation=operation)
        return self.genotype(edges)

    def _rewirable(self, kind: str) -> list[int]:
        """The nodes whose edges may come from elsewhere."""
        return [node for node, rows in self.incoming(kind).items() if len(rows) > self._slots(rows)]

    def _taken(self, edges: Sequence[Edge], edge: Edge) -> set[int]:
        """The sources that an edge must not get."""
        return {e.source for e in edges if e.node == edge.node}

    # -- decisions -------------------------------------------------------------------------------

    def decisions(self) -> Mapping[str, Sequence[int | str]]:
        """Per node of each kind of cell `KIND.NODE.sources`, the sorted pair of sources, where
        there is a choice, and an operation for each edge: `KIND.NODE.0`, `KIND.NODE.1`.
        """
        return self._decisions

    @cached_property
    def _decisions(self) -> dict[str, Sequence[int | str]]:
        found: dict[str, Sequence[int | str]] = {}
        for kind in KINDS:
            for node, ways in self._sources[kind].items():
                if len(ways) > 1:
                    found[f"{kind}.{node}.sources"] = tuple(map(_text, ways))
                for slot in range(len(ways[0])):
                    found[f"{kind}.{node}.{slot}"] = self.eligible(kind)
        return found

    @cached_property
    def _sources(self) -> dict[str, dict[int, list[tuple[int, ...]]]]:
        """Kind -> node -> the sets of sources that the node can have."""
        return {
            kind: {
                node: list(
                    combinations([self.edges(kind)[row][0] for row in rows], self._slots(rows))
                )
                for node, rows in self.incoming(kind).items()
            }
            for kind in KINDS
        }

    def encode(self, architecture: Genotype) -> dict[str, int | str]:
        decisions: dict[str, int | str] = {}
        for kind in KINDS:
            for node, edges in self._by_node(kind, architecture).items():
                for slot, edge in enumerate(edges):
                    decisions[f"{kind}.{node}.{slot}"] = edge.operation
                if f"{kind}.{node}.sources" in self._decisions:
                    decisions[f"{kind}.{node}.sources"] = _text([e.source for e in edges])
        return decisions

    def _by_node(self, kind: str, architecture: Genotype) -> dict[int, list[Edge]]:
        nodes: dict[int, list[Edge]] = {node: [] for node in self.incoming(kind)}
        for edge in architecture.edges(kind):
            nodes[edge.node].append(edge)
        return nodes

    def decode(self, decisions: Decisions) -> Genotype:
        edges: dict[str, list[Edge]] = {}
        for kind in KINDS:
            edges[kind] = []
            for node, ways in self._sources[kind].items():
                key = f"{kind}.{node}.sources"
                sources = map(int, str(decisions[key]).split()) if len(ways) > 1 else ways[0]
                edges[kind] += [
                    Edge(str(decisions[f"{kind}.{node}.{slot}"]), source, node)
                    for slot, source in enumerate(sources)
                ]
        return self.genotype(edges)


def _text(sources: Sequence[int]) -> str:
    return " ".join(map(str, sources))


def parse_operations(text: str) -> tuple[str, ...]:
    """SS1 to SS8 (the slides' subsets, each with skip connection and pools), `all` (DARTS' eight),
    or names with commas. Raises UsageError with the nearest names.
    """
    if text in SUBSETS:
        return (*_POOLS_AND_SKIP, *SUBSETS[text])
    if text == "all":
        return ops.CANDIDATES
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    for name in names:
        if name not in ops.names():
            raise unknown("operation", name, [*ops.names(), *SUBSETS, "all"])
    return names


def parse_eligible(text: str) -> tuple[str, ...]:
    """`parse_operations` without `none`, for spaces that have no use for it. Raises UsageError."""
    names = tuple(name for name in parse_operations(text) if name != "none")
    if not names:
        raise UsageError("the space has no operation but 'none'")
    return names


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
            return DartsSpace.topologies()[_index(text)]
        return tuple(
            (int(source), INPUTS + node) for node, group in enumerate(groups) for source in group
        )
    except (ValueError, IndexError):
        raise UsageError(
            f"topology '{text}': give 'all', an index 0..179, or sources like '01 01 01 02'"
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


PLUGIN = DartsSpace
