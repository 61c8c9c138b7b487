"""ENAS' space: nodes of two pairs that may be alike; what no node reads is given out."""

import random

import pytest

from edarts import DartsSpace, EnasSpace, Genotype
from edarts.space.darts import parse_operations
from edarts.space.enas import ENAS_EDGES, Options
from edarts.space.genotype import KINDS, Edge

NODE = ((0, 2), (1, 2))


def cell(*edges: tuple[str, int]) -> Genotype:
    both = tuple(Edge(operation, source, 2) for operation, source in edges)
    return Genotype(both, both, (2,), (2,))


def test_pairs_may_repeat() -> None:
    space = EnasSpace(("skip_connect", "max_pool_3x3"), NODE, NODE)
    twice = cell(("skip_connect", 0), ("skip_connect", 0))
    assert twice in space
    assert cell(("skip_connect", 0)) not in space
    # The edges as the first pair, then as the second: each has weights of its own.
    assert space.weights_of(twice)["normal"].tolist() == [[1, 0], [0, 0], [1, 0], [0, 0]]
    drawn = {space.sample(random.Random(seed)) for seed in range(3000)}
    assert len(drawn) == space.size() == 10**2


def test_samples_are_in_the_space() -> None:
    space = EnasSpace(parse_operations("all"))
    assert space.topology("normal") == space.topology("reduce") == ENAS_EDGES
    assert sorted(space.edges("normal")) == sorted(2 * ENAS_EDGES)  # a row for each pair of a node
    for seed in range(20):
        genotype = space.sample(random.Random(seed))
        assert genotype in space
        assert all(genotype.count(kind, "none") == 0 for kind in KINDS)
        assert space.derive(space.chosen(genotype)) == genotype


def test_what_no_node_reads_is_given_out() -> None:
    space = EnasSpace(("skip_connect",))
    edges = [Edge("skip_connect", 1, node) for node in (2, 2, 3, 3, 4, 4)]
    edges += [Edge("skip_connect", 2, 5), Edge("skip_connect", 4, 5)]
    edges += [Edge("skip_connect", 5, 6), Edge("skip_connect", 5, 6)]
    genotype = space.genotype({"normal": edges, "reduce": edges})
    assert genotype.normal_concat == genotype.reduce_concat == (3, 6)
    assert genotype in space
    all_nodes = Genotype(genotype.normal, genotype.reduce, (2, 3, 4, 5, 6), (3, 6))
    assert not space.supports(all_nodes)


def test_options_are_the_space() -> None:
    assert EnasSpace.of(Options()).operations == (
        *("sep_conv_3x3", "sep_conv_5x5", "avg_pool_3x3", "max_pool_3x3", "skip_connect"),
    )
    assert EnasSpace.of(Options("SS1")) == EnasSpace(parse_operations("SS1"))
    assert not EnasSpace.relaxable and DartsSpace.relaxable
    assert EnasSpace(("skip_connect",), NODE, NODE) != DartsSpace(("skip_connect",), NODE, NODE)


@pytest.mark.parametrize("kind", KINDS)
def test_decisions_name_a_source_and_an_operation_for_each_slot(kind: str) -> None:
    decisions = EnasSpace.of(Options()).decisions()
    mine = {name: options for name, options in decisions.items() if name.startswith(kind)}
    assert len(mine) == 5 * 4 and len(decisions) == 40
    assert mine[f"{kind}.2.0.source"] == (0, 1)
    assert mine[f"{kind}.6.1.source"] == (0, 1, 2, 3, 4, 5)
    assert mine[f"{kind}.6.1"] == EnasSpace.of(Options()).operations
