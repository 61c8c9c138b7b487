"""A whole search: what its row is made of, and that an epoch is timed."""

import dataclasses

import pytest
import torch

from edarts.bench import searches
from edarts.bench.pairs import Comparison
from edarts.bench.report import BenchRow, Scaling
from edarts.runs.progress import Progress

CPU = torch.device("cpu")
ROW = BenchRow("x", 2.0, 1.0, 2.0, 20.0, 10.0, 2.0, 1e-6, 1e-7, 64.0, 5.0)


def test_row_of_a_search(monkeypatch: pytest.MonkeyPatch) -> None:
    def compare(comparison: Comparison, rounds: int, device: torch.device) -> BenchRow:
        seconds = {"darts_weight_step": 2.0, "darts_arch_step": 3.0, "edarts_weight_step": 9.0}
        return dataclasses.replace(ROW, textbook_s=seconds[comparison.name])

    epochs = iter([7.0, 1.0, 4.0])
    monkeypatch.setattr(searches, "compare", compare)
    monkeypatch.setattr(searches, "epoch_seconds", lambda *_: next(epochs))
    row = searches.search_row(3, CPU)
    assert row.textbook_s == 50 * 390 * (2 + 3)
    assert row.ours_s == 50 * 4
    assert row.time_ratio == round(97_500 / 200, 1)


def test_one_thing_changes_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def epoch_seconds(images: int, device: torch.device, **changes: float) -> float:
        asked.append((images, changes.pop("data_fraction"), changes))
        return 1.234

    monkeypatch.setattr(searches, "epoch_seconds", epoch_seconds)
    threads = torch.get_num_threads()
    found = list(searches.scale(CPU, Progress(quiet=True)))
    assert found[0] == Scaling("images", 3000, 1.23)
    assert asked[:4] == [(n, 1.0, {}) for n in (3000, 6000, 12000)] + [(6000, 1.0, {"cells": 5})]
    assert torch.get_num_threads() == threads


def test_epoch_is_timed() -> None:
    assert 0 < searches.measure_epoch(64, "cpu", cells=3, channels=4) < 60
