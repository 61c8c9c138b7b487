"""Aging, tournaments, and the distribution of mutations."""

import random
from collections import Counter

import optuna
from edarts.space.encoding import CellEncoding, Choices, suggest
from scipy.stats import chisquare

from edarts import Space
from edarts.methods.blackbox import regularized_evolution
from edarts.space.genotype import KINDS, Genotype

PAIRS = Space.parse("all", "enas")


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
    again = 0.475 / len(PAIRS.searchable)
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
    assert set(options) == set(PAIRS.searchable)


def test_without_pairs_sources_stay_different() -> None:
    space, draw = Space(), random.Random(2)
    genotype = space.sample(draw)
    for _ in range(500):
        genotype = space.mutate(genotype, draw)
        assert genotype in space
    fixed = Space.parse("all", "7")
    start = fixed.sample(draw)
    for _ in range(100):
        after = fixed.mutate(start, draw)
        for kind in KINDS:
            assert [e[1:] for e in after.edges(kind)] == [e[1:] for e in start.edges(kind)]


def test_the_oldest_dies_whatever_its_score() -> None:
    """With the whole population in the tournament, the parent is the best of the last P alone."""
    encoding = CellEncoding(Space.parse("all", "7"))
    parents: list[Choices] = []

    class Watched(CellEncoding):
        def mutate(self, choices: Choices, generator: random.Random) -> dict[str, int | str]:
            parents.append(choices)
            known = [trial.params for trial in study.trials]
            while (child := super().mutate(choices, generator)) in known:
                pass
            return child

    sampler = regularized_evolution.PLUGIN(Watched(encoding.space), population=4, tournament=60)
    study = optuna.create_study(sampler=sampler, direction="maximize")
    scores = [0.9, 0.1, 0.2, 0.3, 0.4, 0.1, 0.15, 0.1, 0.1, 0.1]
    study.optimize(lambda trial: (suggest(encoding, trial), scores[trial.number])[1], n_trials=10)
    trials = [trial.params for trial in study.trials]
    # The best ever, 0, is alive for trial 4 alone; then 4 is best, and dies after trial 8.
    assert [trials.index(dict(parent)) for parent in parents] == [0, 4, 4, 4, 4, 6]
