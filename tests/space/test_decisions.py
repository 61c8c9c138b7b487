"""Decisions and architectures are inverse; digests forget the numbers of nodes and nothing else."""

import random
from itertools import permutations

import pytest

from edarts import DartsSpace, EnasSpace, Genotype, UsageError
from edarts.space import operations
from edarts.space.base import DecisionSpace, SearchSpace
from edarts.space.blocks import BlockSpace
from edarts.space.genotype import Edge
from edarts.space.motifs import MotifSpace

NAMES = ("skip_connect", "sep_conv_3x3", "max_pool_3x3")
CELLS: dict[str, SearchSpace] = {
    "all": DartsSpace(),
    "7": DartsSpace.parse("all", "7"),
    "01 012": DartsSpace.parse("all", "01 012"),
    "enas": EnasSpace(operations.CANDIDATES),
}
GROWN: dict[str, DecisionSpace] = {"blocks": BlockSpace(NAMES), "motifs": MotifSpace(NAMES)}
SPACES = {**CELLS, **GROWN}


@pytest.mark.parametrize("name", CELLS)
def test_decode_inverts_encode(name: str) -> None:
    space = CELLS[name]
    draw = random.Random(0)
    for _ in range(50):
        genotype = space.sample(draw)
        decisions = space.encode(genotype)
        assert list(decisions) and set(decisions) == set(space.decisions())
        assert all(decisions[name] in options for name, options in space.decisions().items())
        assert space.decode(decisions) == genotype


@pytest.mark.parametrize("name", SPACES)
def test_drawn_and_changed_decisions_stand_for_an_architecture(name: str) -> None:
    space, draw = SPACES[name], random.Random(0)
    changes = set()
    decisions = space.sample_decisions(draw)
    for _ in range(50):
        changed = space.mutate_decisions(decisions, draw)
        assert set(changed) == set(space.decisions())
        assert all(changed[name] in options for name, options in space.decisions().items())
        assert isinstance(space.decode(changed), Genotype)
        changes.add(sum(decisions[name] != changed[name] for name in changed))
        decisions = changed
    # One decision; of a cell with a new source, all of the node, whose edges are sorted anew.
    assert 1 in changes and max(changes) <= (4 if name in CELLS else 1)


@pytest.mark.parametrize("name", SPACES)
def test_sample_is_that_of_drawn_decisions(name: str) -> None:
    space = SPACES[name]
    for seed in range(5):
        drawn = space.sample_decisions(random.Random(seed))
        assert space.decode(drawn) == space.sample(random.Random(seed))


@pytest.mark.parametrize("name", GROWN)
def test_grown_cells_do_not_tell_their_decisions(name: str) -> None:
    space = GROWN[name]
    with pytest.raises(UsageError, match="do not tell their decisions"):
        space.encode(space.sample(random.Random(0)))


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
    space = EnasSpace(("skip_connect", "max_pool_3x3"), nodes, ((0, 2),))
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
