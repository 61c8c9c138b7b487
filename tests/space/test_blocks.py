"""Cells that grow by blocks."""

import random

from edarts.space.blocks import BlockSpace

SPACE = BlockSpace(("skip_connect", "sep_conv_3x3", "max_pool_3x3"))


def test_one_block_cells_number_136_with_eight_operations() -> None:
    """2 x 2 x 8 x 8 up to swapping the halves (Liu et al. 2018)."""
    wide = BlockSpace(tuple(f"op{i}" for i in range(8)))
    assert len(list(wide.widened(()))) == 136
    cell = next(iter(wide.widened(())))
    assert len(list(wide.widened(cell))) == 24 * 25 // 2


def test_decisions_and_cells_are_inverse_and_what_does_not_count_is_dropped() -> None:
    draw = random.Random(0)
    for _ in range(50):
        decisions = SPACE.sample_decisions(draw)
        assert SPACE.decisions_of(SPACE.cell(decisions)) == decisions
        genotype = SPACE.decode(decisions)
        assert genotype.normal == genotype.reduce and genotype.normal_concat == (2, 3, 4, 5, 6)
    short = dict(decisions, blocks=1)
    assert len(SPACE.decode(short).normal) == 2
