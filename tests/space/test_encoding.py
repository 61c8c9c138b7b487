"""Choices and genotypes are inverse; digests forget the numbers of nodes and nothing else."""

import random
from itertools import permutations

import pytest
from edarts.space.encoding import CellEncoding

from edarts import Genotype, Space
from edarts.space.genotype import Edge


@pytest.mark.parametrize("topology", ["all", "7", "enas", "01 012"])
def test_decode_inverts_encode(topology: str) -> None:
    encoding = CellEncoding(Space.parse("all", topology))
    draw = random.Random(0)
    for _ in range(50):
        genotype = encoding.space.sample(draw)
        choices = encoding.encode(genotype)
        assert list(choices) and set(choices) == set(encoding.decisions)
        assert all(choices[name] in options for name, options in encoding.decisions.items())
        assert encoding.decode(choices) == genotype


def renumbered(genotype: Genotype, order: tuple[int, ...]) -> Genotype | None:
    """Its normal cell with node 2 + i called 2 + order[i], if edges still go forward."""
    name = {0: 0, 1: 1} | {2 + i: 2 + n for i, n in enumerate(order)}
    edges = tuple(Edge(o, name[a], name[b]) for o, a, b in genotype.normal)
    if any(edge.source >= edge.node for edge in edges):
        return None
    concat = tuple(sorted(name[n] for n in genotype.normal_concat))
    return Genotype(edges, genotype.reduce, concat, genotype.reduce_concat)


def test_digests_are_equal_exactly_for_renumbered_cells() -> None:
    """Against all permutations of the nodes, in a small space of pairs, dead nodes aside."""
    nodes = tuple((j, n) for n in (2, 3, 4) for j in range(n))
    space = Space(("skip_connect", "max_pool_3x3"), nodes, ((0, 2),), pairs=True)
    draw = random.Random(0)
    genotypes = {
        Genotype(g.normal, ((Edge("skip_connect", 0, 2)),), (2, 3, 4), (2,))
        for g in (space.sample(draw) for _ in range(800))
    }
    classes: dict[str, set[Genotype]] = {}
    for genotype in genotypes:
        classes.setdefault(genotype.digest(), set()).add(genotype)
    for genotype in genotypes:
        others = {renumbered(genotype, order) for order in permutations(range(3))} - {None}
        assert classes[genotype.digest()] == others & genotypes
    assert any(len(members) > 1 for members in classes.values())


def test_dead_nodes_do_not_count() -> None:
    one = Genotype.from_dict(
        {"normal": [["skip_connect", 0, 2]], "normal_concat": [2]}
        | {"reduce": [["skip_connect", 0, 2]], "reduce_concat": [2]}
    )
    more = Genotype((*one.normal, Edge("skip_connect", 2, 3)), one.reduce, (2,), (2,))
    assert one != more and one.digest() == more.digest()
    assert one.digest() != Genotype(one.normal, (Edge("skip_connect", 1, 2),), (2,), (2,)).digest()
