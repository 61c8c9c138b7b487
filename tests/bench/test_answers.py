"""`bench answer`: what one image takes."""

import pytest

from edarts.bench import bench
from edarts.bench.answers import in_turn
from edarts.bench.report import AnswerReport


def test_the_answer_of_each_stem_equals_onnxruntimes() -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    report = bench("answer", rounds=1)
    assert isinstance(report, AnswerReport)
    assert [row.what for row in report.rows] == ["plain stem", "whitening stem"]
    for row in report.rows:
        assert row.error < 1e-5
        assert row.ratio == pytest.approx(row.onnxruntime_ms / row.ours_ms, abs=0.006)
        assert row.what in report.summary()


def test_sides_answer_in_turn_and_the_first_time_does_not_count() -> None:
    calls: list[str] = []
    found = in_turn({name: lambda name=name: calls.append(name) for name in ("a", "b")}, 2)
    assert set(found) == {"a", "b"}
    assert calls == (["a"] * 50 + ["b"] * 50) * 3
