"""From weights to an architecture: edges that no input reaches are dropped."""

import random

from edarts import DartsSpace
from edarts.methods.oneshot.derive import connected
from edarts.space.genotype import Edge


def test_connected_drops_what_the_inputs_do_not_reach() -> None:
    space = DartsSpace()
    otherwise = space.sample(random.Random(0))
    skip = space.operations.index("skip_connect")

    def pairs(group: str, *edges: tuple[int, int]) -> list[tuple[int, int]]:
        return [(space.edges(group).index(edge), skip) for edge in edges]

    chosen = {"normal": pairs("normal", (3, 5), (2, 3), (0, 4)), "reduce": pairs("reduce", (2, 3))}
    genotype = space.derive(connected(space, chosen, space.chosen(otherwise)))
    assert genotype.normal == (Edge("skip_connect", 0, 4),)
    assert genotype.normal_concat == (4,)
    assert genotype.reduce == otherwise.reduce
