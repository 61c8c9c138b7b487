"""Disagreement is refused; the figures of a row come from the clock."""

import pytest
import torch
from torch import Tensor

from edarts import EdartsError
from edarts.bench import rows
from edarts.bench.pairs import Comparison, Pair, Triple

CPU = torch.device("cpu")
TINY = Comparison("tiny", "weight", cells=3, channels=4, batch=4)


def test_ratio_is_of_medians(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([4.0, 1.0, 6.0, 2.0, 50.0, 2.0])
    monkeypatch.setattr(rows, "seconds", lambda *_: next(times))
    monkeypatch.setattr(rows, "peak", lambda _, side, __: {"textbook": 30, "ours": 10}[side])
    row = rows.compare(TINY, 3, CPU)
    assert (row.textbook_s, row.ours_s, row.time_ratio) == (6.0, 2.0, 3.0)
    assert (row.memory_ratio, row.images_per_second) == (3.0, 2.0)


def test_disagreement_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    ones, almost = torch.ones(2), torch.ones(2) + 1e-6
    draws: list[slice] = []

    def agree(images: slice, ours: float, textbook: Tensor) -> list[Triple]:
        draws.append(images)
        return [(ones * ours, textbook, ones.double())]

    wrong = Pair(print, print, lambda part: agree(part, 1.01, almost), 20, 1)
    monkeypatch.setattr(rows, "make", lambda *_: wrong)
    with pytest.raises(EdartsError, match="tiny: the two sides differ"):
        rows.compare(TINY, 1, CPU)
    assert draws == [slice(0, 8), slice(8, 16), slice(16, 24)]
    # No farther from float64 than the textbook's float32 is: rounding.
    rounding = Pair(print, print, lambda part: agree(part, 1.01, ones * 0.99), 8, 1)
    assert min(rows.disagreement("x", rounding)) > 0.009
    # One of the draws agrees: what parted the others was rounding that decides, not a mistake.
    seldom = Pair(print, print, lambda p: agree(p, 1.01 if p.start == 0 else 1, almost), 16, 1)
    assert rows.disagreement("x", seldom)[0] < rows.TOLERANCE
