"""What a space holds: two edges a node, or any number of them, or pairs that may repeat."""

import random

import pytest
import torch

from edarts import Genotype, Space
from edarts.methods.oneshot.base import connected, weights_of
from edarts.space.genotype import KINDS, Edge

NODE = ((0, 2), (1, 2))
SMALL = Space(("none", "skip_connect", "max_pool_3x3"), NODE, NODE)


def cell(*edges: tuple[str, int], concat: tuple[int, ...] = (2,)) -> Genotype:
    both = tuple(Edge(operation, source, 2) for operation, source in edges)
    return Genotype(both, both, concat, concat)


def test_holds_any_number_of_its_edges_and_contains_those_of_two() -> None:
    one, two = cell(("skip_connect", 0)), cell(("skip_connect", 0), ("max_pool_3x3", 1))
    assert SMALL.holds(one) and one not in SMALL
    assert SMALL.holds(two) and two in SMALL
    assert not SMALL.holds(cell(("sep_conv_3x3", 0)))
    assert not SMALL.holds(cell(("skip_connect", 0), ("max_pool_3x3", 0)))  # twice one edge
    assert not SMALL.holds(cell(("skip_connect", 0), concat=(0, 2)))


def test_pairs_may_repeat() -> None:
    space = Space(("skip_connect", "max_pool_3x3"), NODE, NODE, pairs=True)
    twice = cell(("skip_connect", 0), ("skip_connect", 0))
    assert twice in space
    assert cell(("skip_connect", 0)) not in space
    assert weights_of(space, twice, torch.device("cpu"))["normal"].tolist() == [[2, 0], [0, 0]]
    drawn = {space.sample(random.Random(seed)) for seed in range(3000)}
    assert len(drawn) == space.size() == 10**2


def test_connected_drops_what_the_inputs_do_not_reach() -> None:
    space = Space()
    otherwise = space.sample(random.Random(0))
    edges = {
        "normal": [
            Edge("skip_connect", 3, 5),
            Edge("skip_connect", 2, 3),
            Edge("skip_connect", 0, 4),
        ],
        "reduce": [Edge("skip_connect", 2, 3)],
    }
    genotype = connected(space, edges, otherwise)
    assert genotype.normal == (Edge("skip_connect", 0, 4),)
    assert genotype.normal_concat == (4,)
    assert genotype.reduce == otherwise.reduce


@pytest.mark.parametrize("topology", ["all", "3", "01 012", "enas"])
def test_samples_are_in_the_space(topology: str) -> None:
    space = Space.parse("all", topology)
    for seed in range(20):
        genotype = space.sample(random.Random(seed))
        assert genotype in space
        assert all(genotype.count(kind, "none") == 0 for kind in KINDS)
