"""Widening cells, and the ranking of the surrogate."""

import random

import pytest
from scipy.stats import spearmanr

from edarts.methods.blackbox import pnas

SPACE = pnas.Blocks(("skip_connect", "sep_conv_3x3", "max_pool_3x3"))


def test_one_block_cells_number_136_with_eight_operations() -> None:
    """2 x 2 x 8 x 8 up to swapping the halves (Liu et al. 2018)."""
    wide = pnas.Blocks([f"op{i}" for i in range(8)])
    assert len(list(wide.widened(()))) == 136
    cell = next(iter(wide.widened(())))
    assert len(list(wide.widened(cell))) == 24 * 25 // 2


def test_choices_and_cells_are_inverse_and_what_does_not_count_is_dropped() -> None:
    draw = random.Random(0)
    for _ in range(50):
        choices = SPACE.sample(draw)
        assert SPACE.choices(SPACE.cell(choices)) == choices
        genotype = SPACE.decode(choices)
        assert genotype.normal == genotype.reduce and genotype.normal_concat == (2, 3, 4, 5, 6)
    short = dict(choices, blocks=1)
    assert len(SPACE.decode(short).normal) == 2


@pytest.mark.parametrize("kind", ["mlp", "lstm"])
def test_the_surrogate_ranks_cells_of_more_blocks(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fitted on cells of one and two blocks, it ranks those of three by a known score."""
    monkeypatch.setattr(pnas, "STEPS", 60)
    monkeypatch.setattr(pnas, "ENSEMBLE", 2)
    draw = random.Random(0)

    def score(cell: pnas.Cell) -> float:
        halves = [half for block in cell for half in block]
        return 0.5 + 0.4 * sum({0: -1, 1: 1, 2: 0}[op] for _, op in halves) / len(halves)

    def cells(blocks: int, count: int) -> list[pnas.Cell]:
        return [SPACE.cell(SPACE.sample(draw) | {"blocks": blocks}) for _ in range(count)]

    known = [*SPACE.widened(()), *cells(2, 60)]
    surrogate = pnas.Surrogate(kind, SPACE, 0)  # type: ignore[arg-type]
    unseen = cells(3, 100)
    surrogate.fit(known, [score(c) for c in known])
    rank = spearmanr(surrogate.predict(unseen), [score(c) for c in unseen]).statistic
    assert rank > 0.7, rank
