"""The ranking of the surrogate."""

import random

import pytest
from scipy.stats import spearmanr

from edarts.methods.blackbox import pnas
from edarts.space.blocks import BlockSpace, Cell

SPACE = BlockSpace(("skip_connect", "sep_conv_3x3", "max_pool_3x3"))


@pytest.mark.parametrize("kind", ["mlp", "lstm"])
def test_the_surrogate_ranks_cells_of_more_blocks(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fitted on cells of one and two blocks, it ranks those of three by a known score."""
    monkeypatch.setattr(pnas, "STEPS", 60)
    monkeypatch.setattr(pnas, "ENSEMBLE", 2)
    draw = random.Random(0)

    def score(cell: Cell) -> float:
        halves = [half for block in cell for half in block]
        return 0.5 + 0.4 * sum({0: -1, 1: 1, 2: 0}[op] for _, op in halves) / len(halves)

    def cells(blocks: int, count: int) -> list[Cell]:
        return [SPACE.cell(SPACE.sample_decisions(draw) | {"blocks": blocks}) for _ in range(count)]

    known = [*SPACE.widened(()), *cells(2, 60)]
    surrogate = pnas.Surrogate(kind, SPACE, 0)  # type: ignore[arg-type]
    unseen = cells(3, 100)
    surrogate.fit(known, [score(c) for c in known])
    rank = spearmanr(surrogate.predict(unseen), [score(c) for c in unseen]).statistic
    assert rank > 0.7, rank
