"""The distribution of mutations, as AmoebaNet's paper has them."""

import random
from collections import Counter

from scipy.stats import chisquare

from edarts import DartsSpace, EnasSpace
from edarts.space import operations
from edarts.space.genotype import KINDS, Genotype

PAIRS = EnasSpace(operations.CANDIDATES)


def change(before: Genotype, after: Genotype) -> str:
    """What a mutation did to a genotype of `PAIRS`, whose output follows from its edges."""
    lost = Counter((k, e) for k in KINDS for e in before.edges(k))
    lost.subtract(Counter((k, e) for k in KINDS for e in after.edges(k)))
    differing = [(k, e) for (k, e), n in lost.items() for _ in range(abs(n))]
    if not differing:
        return "same"
    (kind, old), (other, new) = differing
    assert (kind, old.node) == (other, new.node)
    assert (old.operation == new.operation) != (old.source == new.source)
    return "operation" if old.source == new.source else "source"


def test_mutations_are_drawn_as_published() -> None:
    """Identity 0.05, else evenly; one operation in seven drawn is the same one again."""
    draw = random.Random(0)
    n, before = 10_000, PAIRS.sample(draw)
    counts = Counter(change(before, PAIRS.mutate(before, draw)) for _ in range(n))
    again = 0.475 / len(PAIRS.eligible("normal"))
    expected = {"same": 0.05 + again, "operation": 0.475 - again, "source": 0.475}
    test = chisquare([counts[k] for k in expected], [n * p for p in expected.values()])
    assert test.pvalue > 0.001, counts


def test_every_edge_and_operation_is_as_likely() -> None:
    draw = random.Random(1)
    before = PAIRS.sample(draw)
    places: Counter[tuple[str, int]] = Counter()
    options: Counter[str] = Counter()
    for _ in range(10_000):
        after = PAIRS.mutate(before, draw)
        for kind in KINDS:
            for edge in (Counter(after.edges(kind)) - Counter(before.edges(kind))).elements():
                places[kind, edge.node] += 1
                if change(before, after) == "operation":
                    options[edge.operation] += 1
    # Nodes without regard to their operations: the share of draws that change nothing is alike.
    assert len(places) == 10 and chisquare(list(places.values())).pvalue > 0.001
    assert set(options) == set(PAIRS.eligible("normal"))


def test_without_pairs_sources_stay_different() -> None:
    space, draw = DartsSpace(), random.Random(2)
    genotype = space.sample(draw)
    for _ in range(500):
        genotype = space.mutate(genotype, draw)
        assert genotype in space
    fixed = DartsSpace.parse("all", "7")
    start = fixed.sample(draw)
    for _ in range(100):
        after = fixed.mutate(start, draw)
        for kind in KINDS:
            assert [e[1:] for e in after.edges(kind)] == [e[1:] for e in start.edges(kind)]
