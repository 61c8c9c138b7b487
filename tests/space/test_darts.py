"""DARTS' space: its topologies, what it supports and contains, and its tables."""

import random

import pytest

from edarts import DartsSpace, Genotype, Size, UsageError
from edarts.space import zoo
from edarts.space.darts import ALL_EDGES, Options, format_topology, parse_topology
from edarts.space.genotype import KINDS, Edge

NODE = ((0, 2), (1, 2))
SMALL = DartsSpace(("none", "skip_connect", "max_pool_3x3"), NODE, NODE)
V2 = zoo.get("darts.v2").genotype


def cell(*edges: tuple[str, int], concat: tuple[int, ...] = (2,)) -> Genotype:
    both = tuple(Edge(operation, source, 2) for operation, source in edges)
    return Genotype(both, both, concat, concat)


def test_topologies() -> None:
    topologies = DartsSpace.topologies()
    assert len(set(topologies)) == len(topologies) == 180
    # methods.md section 15: where the published cells stand under this index
    places = {"normal": 1, "reduce": 134}
    for kind, index in places.items():
        assert topologies[index] == tuple((e.source, e.node) for e in V2.edges(kind))
    v1 = zoo.get("darts.v1").genotype
    assert topologies[71] == tuple((e.source, e.node) for e in v1.reduce)


def test_topology_text() -> None:
    assert parse_topology("1") == parse_topology("01 01 01 02") == DartsSpace.topologies()[1]
    assert parse_topology("all") == ALL_EDGES
    assert format_topology(parse_topology("134")) == "01 12 02 12"
    for text in ("180", "-1", "x", ""):
        with pytest.raises(UsageError):
            DartsSpace.parse("all", text)


def test_space() -> None:
    space = DartsSpace.parse("SS3", "5/all")
    assert set(space.operations) == {
        *("sep_conv_3x3", "sep_conv_5x5"),
        *("skip_connect", "max_pool_3x3", "avg_pool_3x3"),
    }
    edges = DartsSpace.topologies()[0]
    assert DartsSpace(("skip_connect", "sep_conv_3x3"), edges, edges).size() == 4**8
    assert DartsSpace().size() == (180 * 7**8) ** 2
    for seed in range(20):
        genotype = space.sample(random.Random(seed))
        assert genotype in space
        assert genotype in DartsSpace()
    assert V2 in DartsSpace()
    assert V2 not in space
    with pytest.raises(UsageError, match="did you mean"):
        DartsSpace.parse("skip_conect")
    with pytest.raises(UsageError, match="twice"):
        DartsSpace(("skip_connect", "skip_connect"))
    with pytest.raises(UsageError, match="none"):
        DartsSpace(("none",))


def test_options_are_the_space() -> None:
    assert DartsSpace.of(Options()) == DartsSpace()
    assert DartsSpace.of(Options("SS3", "5/all")) == DartsSpace.parse("SS3", "5/all")
    assert hash(DartsSpace.of(Options("SS3"))) == hash(DartsSpace.parse("SS3"))


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ((), "the normal topology is empty or names an edge twice"),
        (((0, 2), (0, 2)), "the normal topology is empty or names an edge twice"),
        (((0, 2), (3, 4)), "the normal topology has no such edge: 3 -> 4"),
        (((0, 1),), "the normal topology has no such edge: 0 -> 1"),
        (((2, 2),), "the normal topology has no such edge: 2 -> 2"),
    ],
)
def test_edges_that_lead_nowhere_are_refused(
    edges: tuple[tuple[int, int], ...], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        DartsSpace(("skip_connect",), edges, NODE)


def test_tables() -> None:
    assert DartsSpace.groups == KINDS
    assert DartsSpace().shape("normal") == (14, 8)
    space = DartsSpace(("none", "skip_connect"), ((1, 3), (0, 2), (0, 3)), NODE)
    assert space.edges("normal") == ((0, 2), (0, 3), (1, 3))  # by node, then by source
    assert space.incoming("normal") == {2: [0], 3: [1, 2]}
    assert space.incoming("reduce") == {2: [0, 1]}
    assert space.candidates("normal") == ("none", "skip_connect")
    assert space.eligible("reduce") == ("skip_connect",)
    assert space.kept("normal") == 2


def test_supports_any_number_of_its_edges_and_contains_those_of_two() -> None:
    one, two = cell(("skip_connect", 0)), cell(("skip_connect", 0), ("max_pool_3x3", 1))
    assert SMALL.supports(one) and one not in SMALL
    assert SMALL.supports(two) and two in SMALL
    assert not SMALL.supports(cell(("sep_conv_3x3", 0)))
    assert not SMALL.supports(cell(("skip_connect", 0), ("max_pool_3x3", 0)))  # twice one edge
    assert not SMALL.supports(cell(("skip_connect", 0), concat=(0, 2)))
    assert not SMALL.supports("no genotype") and "no genotype" not in SMALL


def test_chosen_rows_and_columns_are_the_genotype() -> None:
    genotype = SMALL.derive({"normal": [(1, 2), (0, 1)], "reduce": [(0, 2)]})
    assert genotype.normal == (Edge("skip_connect", 0, 2), Edge("max_pool_3x3", 1, 2))
    assert genotype.reduce == (Edge("max_pool_3x3", 0, 2),)
    assert SMALL.chosen(genotype) == {"normal": [(0, 1), (1, 2)], "reduce": [(0, 2)]}
    weights = SMALL.weights_of(genotype)
    assert weights["normal"].tolist() == [[0, 1, 0], [0, 0, 1]]
    assert weights["reduce"].tolist() == [[0, 0, 1], [0, 0, 0]]
    with pytest.raises(UsageError, match="the space does not have this genotype"):
        SMALL.chosen(V2)


def test_chosen_inverts_derive() -> None:
    space = DartsSpace.parse("all", "all/134")
    for seed in range(20):
        genotype = space.sample(random.Random(seed))
        assert space.derive(space.chosen(genotype)) == genotype


@pytest.mark.parametrize("topology", ["all", "3", "01 012"])
def test_samples_are_in_the_space(topology: str) -> None:
    space = DartsSpace.parse("all", topology)
    for seed in range(20):
        genotype = space.sample(random.Random(seed))
        assert genotype in space
        assert all(genotype.count(kind, "none") == 0 for kind in KINDS)


def test_random_cells_of_recorded_studies_are_drawn_by_this_text() -> None:
    assert SMALL.key() == (
        "(('none', 'skip_connect', 'max_pool_3x3'), ((0, 2), (1, 2)), ((0, 2), (1, 2)), False)"
    )


def test_its_networks_need_a_size() -> None:
    for build in (SMALL.supernet, V2.build):
        with pytest.raises(UsageError, match="number of cells and of channels"):
            build(Size(cells=3), (3, 8, 8), 2)
