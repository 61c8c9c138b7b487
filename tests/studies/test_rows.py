"""What is computed from rows, against plain sums."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats as scipy_stats

from edarts.studies.row import Row
from edarts.studies.rows import (
    against,
    average,
    best_valid,
    column,
    done,
    groups,
    paired,
    right_answers,
    total,
)
from studies.fakes import fake, named


def test_failed_rows_and_missing_values_do_not_count() -> None:
    rows = named([fake("a", draw=1), fake("b"), Row("c", status="failed", reason="x")])
    ended = done(rows)
    assert [row.name for row in ended] == ["a", "b"]
    assert column(ended, "draw") == [1]
    assert average(ended, "nothing") is None
    assert total(ended, "parameters") == 2000
    assert {key: len(group) for key, group in groups(ended, "draw").items()} == {1: 1, None: 1}


def test_pairs_are_of_one_seed_whatever_the_order() -> None:
    first = [fake("a", seed, test=test) for seed, test in ((0, 0.5), (1, 0.75), (2, 0.6))]
    second = [fake("b", seed, test=test) for seed, test in ((2, 0.5), (1, 0.5), (3, 0.0))]
    found = paired(first, second, "test_accuracy")
    assert found is not None
    assert found.n == 2
    expected = scipy_stats.ttest_rel([0.75, 0.6], [0.5, 0.5])
    assert found.value == pytest.approx(0.175)
    assert found.p == pytest.approx(expected.pvalue)
    assert paired(first[:1], second, "test_accuracy") is None


def test_groups_against_a_base_are_corrected_together() -> None:
    draw = np.random.default_rng(0)
    rows = {
        name: [fake(name, seed, test=float(draw.normal(0.5, 0.01))) for seed in range(5)]
        for name in ("base", "x", "y")
    }
    found = against({name: rows[name] for name in ("x", "y")}, rows["base"])
    raw = {
        name: float(
            scipy_stats.ttest_rel(
                column(rows[name], "test_accuracy"), column(rows["base"], "test_accuracy")
            ).pvalue
        )
        for name in ("x", "y")
    }
    low, high = sorted(raw, key=lambda name: raw[name])
    assert found[low].p == pytest.approx(min(1.0, 2 * raw[low]))
    assert found[high].p == pytest.approx(max(min(1.0, 2 * raw[low]), raw[high]))


def test_the_best_is_that_of_the_held_out_images() -> None:
    rows = [fake("a", valid=0.6, test=0.9), fake("b", valid=0.7, test=0.1), Row("c")]
    assert best_valid(rows).name == "b"


def keep(folder: Path, name: str, answers: list[int], labels: list[int]) -> Row:
    """A row whose run kept predictions."""
    path = folder / "runs" / name
    path.mkdir(parents=True)
    probabilities = np.eye(3, dtype=np.float32)[answers]
    np.savez(path / "predictions.npz", probabilities=probabilities, labels=np.array(labels))
    return replace(fake(name), run=f"runs/{name}", folder=folder)


def test_right_answers_are_paired_by_image(tmp_path: Path) -> None:
    first = keep(tmp_path, "a", [0, 1, 2, 2], [0, 1, 2, 0])
    second = keep(tmp_path, "b", [0, 2, 1, 0], [0, 1, 2, 0])
    found = right_answers(first, second)
    assert found is not None
    assert found[0].tolist() == [True, True, True, False]
    assert found[1].tolist() == [True, False, False, True]


def test_other_or_no_predictions_are_not_paired(tmp_path: Path) -> None:
    first = keep(tmp_path, "a", [0, 1], [0, 1])
    assert right_answers(first, keep(tmp_path, "b", [0, 1], [1, 0])) is None  # other images
    assert right_answers(first, keep(tmp_path, "c", [0], [0])) is None
    assert right_answers(first, replace(first, run="runs/absent")) is None
    assert right_answers(first, replace(first, folder=None)) is None
    cut = keep(tmp_path, "d", [0, 1], [0, 1])
    path = tmp_path / "runs" / "d" / "predictions.npz"
    path.write_bytes(path.read_bytes()[:40])
    assert right_answers(first, cut) is None
