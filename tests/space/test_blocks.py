"""The space of PNAS: how cells grow, and decisions that are their blocks."""

import random

import pytest

from edarts import UsageError
from edarts.space.blocks import BlockSpace, Options
from edarts.space.genotype import Edge

SPACE = BlockSpace(("skip_connect", "sep_conv_3x3", "max_pool_3x3"))


def test_one_block_cells_number_136_with_eight_operations() -> None:
    """2 x 2 x 8 x 8 up to swapping the halves (Liu et al. 2018)."""
    wide = BlockSpace(tuple(f"op{i}" for i in range(8)))
    assert len(list(wide.widened(()))) == 136
    cell = next(iter(wide.widened(())))
    assert len(list(wide.widened(cell))) == 24 * 25 // 2
    assert len(BlockSpace.of(Options()).operations) == 8


def test_decisions_and_cells_are_inverse_and_what_does_not_count_is_dropped() -> None:
    draw = random.Random(0)
    for _ in range(50):
        decisions = SPACE.sample_decisions(draw)
        assert SPACE.decisions_of(SPACE.cell(decisions)) == decisions
        genotype = SPACE.decode(decisions)
        assert genotype.normal == genotype.reduce and genotype.normal_concat == (2, 3, 4, 5, 6)
    short = dict(decisions, blocks=1)
    assert len(SPACE.decode(short).normal) == 2


def test_a_block_is_a_node_of_two_edges() -> None:
    cell = (((0, 1), (1, 0)), ((1, 2), (2, 1)))
    assert SPACE.decode(SPACE.decisions_of(cell)).normal == (
        *(Edge("sep_conv_3x3", 0, 2), Edge("skip_connect", 1, 2)),
        *(Edge("max_pool_3x3", 1, 3), Edge("sep_conv_3x3", 2, 3)),
    )


def test_every_decision_is_among_its_options() -> None:
    draw = random.Random(0)
    options = SPACE.decisions()
    assert options["blocks"] == (1, 2, 3, 4, 5) and options["4.1.source"] == (0, 1, 2, 3, 4, 5)
    decisions = SPACE.sample_decisions(draw)
    for _ in range(100):
        decisions = SPACE.mutate_decisions(decisions, draw)
        assert list(decisions) == list(options)
        assert all(value in options[name] for name, value in decisions.items())


def test_a_mutation_changes_one_decision_that_counts() -> None:
    draw = random.Random(0)
    before = SPACE.sample_decisions(draw) | {"blocks": 2}
    changed = set()
    for _ in range(300):
        after = SPACE.mutate_decisions(before, draw)
        differing = [name for name in before if before[name] != after[name]]
        assert len(differing) <= 1
        changed |= set(differing)
    assert changed == {n for n in SPACE.decisions() if n[0] in "01"}


def test_none_has_no_use_here() -> None:
    assert BlockSpace.of(Options("none,skip_connect")).operations == ("skip_connect",)
    with pytest.raises(UsageError, match="no operation but 'none'"):
        BlockSpace.of(Options("none"))
