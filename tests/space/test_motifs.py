"""The space of motifs: they become the edge list that their drawing shows."""

import random

import pytest

from edarts import UsageError
from edarts.space.genotype import Edge
from edarts.space.motifs import NOTHING, Graph, MotifSpace, Options, flatten


def test_flattening_by_hand() -> None:
    """Two motifs in a row, the second a diamond: nodes 1 -> 2 -> {3, 4} -> 5."""
    line = [(0, 3, "conv_1x1")]
    diamond = [
        (0, 1, "max_pool_3x3"),
        (0, 2, "avg_pool_3x3"),
        (1, 3, "skip_connect"),
        (2, 3, "sep_conv_3x3"),
    ]
    edges = flatten([(0, 1, "a"), (1, 2, "b")], 3, {"a": line, "b": diamond}, 4)
    assert set(edges) == {
        Edge("conv_1x1", 1, 2),
        Edge("max_pool_3x3", 2, 3),
        Edge("avg_pool_3x3", 2, 4),
        Edge("skip_connect", 3, 5),
        Edge("sep_conv_3x3", 4, 5),
    }


def test_what_is_on_no_way_is_left_out() -> None:
    dead = [(0, 3, "conv_1x1"), (0, 1, "skip_connect"), (2, 3, "skip_connect")]
    assert flatten([(0, 2, "a"), (0, 1, "a")], 3, {"a": dead}, 4) == [Edge("conv_1x1", 1, 2)]
    assert flatten([(0, 1, "a")], 3, {"a": dead}, 4) == []


def ways(graph: Graph, sink: int, label: dict[str, int]) -> int:
    """Paths from node 0 to `sink`, those of a labelled edge counted by `label`."""
    counts = {0: 1}
    for node in range(1, sink + 1):
        counts[node] = sum(counts[j] * label[name] for j, i, name in graph if i == node)
    return counts[sink]


def test_flattening_keeps_the_number_of_paths() -> None:
    """Independently: paths of the flat cell are the cell's, times those of its motifs."""
    motifs = MotifSpace(("conv_1x1", "sep_conv_3x3", "skip_connect"))
    labels = dict.fromkeys(map(str, motifs.decisions()["2.0.1.0"]), 1)
    draw = random.Random(0)
    for _ in range(20):
        decisions = motifs.sample_decisions(draw)
        genotype = motifs.decode(decisions)
        each = {str(m): ways(motifs.graph(decisions, 2, m), 3, labels) for m in range(6)}
        counts = {1: 1}
        for edge in sorted(genotype.normal, key=lambda e: e.node):
            counts[edge.node] = counts.get(edge.node, 0) + counts[edge.source]
        (sink,) = genotype.normal_concat
        assert counts[sink] == ways(motifs.graph(decisions, 3, 0), 4, each)


def test_a_mutation_changes_one_label_at_most() -> None:
    motifs = MotifSpace(("conv_1x1", "skip_connect"))
    draw = random.Random(0)
    before = motifs.sample_decisions(draw)
    changed = set()
    for _ in range(300):
        after = motifs.mutate_decisions(before, draw)
        differing = [n for n in motifs.decisions() if before[n] != after[n]]
        assert len(differing) <= 1
        changed |= {n[0] for n in differing}
    assert changed == {"2", "3"}


def test_decisions_are_the_labels_of_all_edges() -> None:
    """Six motifs of 4 nodes have 6 edges each, the cell of 5 nodes has 10."""
    decisions = MotifSpace.of(Options()).decisions()
    assert len(decisions) == 6 * 6 + 10
    assert decisions["2.5.3.2"] == (NOTHING, *MotifSpace.of(Options()).operations)
    assert decisions["3.0.4.0"] == (NOTHING, *"012345")


def test_motifs_that_do_not_connect_are_no_cell() -> None:
    motifs = MotifSpace(("conv_1x1",))
    with pytest.raises(UsageError, match="do not connect the cell's input with its output"):
        motifs.decode(dict.fromkeys(motifs.decisions(), NOTHING))
    assert motifs.identity == "conv_1x1" and MotifSpace.of(Options()).identity == "skip_connect"
