"""Memory at its peak, and measuring in a process of its own."""

from dataclasses import asdict

import pytest
import torch

from edarts import EdartsError
from edarts.bench import measure
from edarts.bench.pairs import Comparison, Pair

TINY = Comparison("tiny", "weight", cells=3, channels=4, batch=4)


def test_peak_counts_what_a_step_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = []

    def step() -> None:
        kept.append(torch.ones(64 * 2**18))  # 64 MiB

    monkeypatch.setattr(measure, "make", lambda *_: Pair(step, step, list, 1, 1))
    assert measure.measure_peak(asdict(TINY), "ours", "cpu") > 100


def test_process_of_its_own() -> None:
    assert measure.alone("math:dist", (0, 3), (4, 0)) == 5
    with pytest.raises(EdartsError, match="math:sqrt: measuring failed"):
        measure.alone("math:sqrt", -1)
