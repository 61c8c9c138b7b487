"""What rounding gains and loses is said plainly."""

from pathlib import Path

import pytest

from edarts.reporting.exported import ExportReport, Measured
from edarts.reporting.stats import Estimate


def report(size: int, time: float, points: float, p: float) -> ExportReport:
    """Of int8 with these bytes, milliseconds and change of accuracy, beside 1,000 bytes, 1 ms."""
    exact, rounded = Measured(1000, 1.0, 1e-7, 100), Measured(size, time, 0.1, 100)
    change = Estimate(points / 100, points / 100 - 0.01, points / 100 + 0.01, 100, p)
    files = (Path("model.int8.onnx"), Path("predict.py"))
    return ExportReport("onnx", files, Path("run"), rounded, exact, change)


@pytest.mark.parametrize(
    ("made", "verdict"),
    [
        (report(250, 0.5, -0.1, 0.9), "int8 gains: it is 4 times smaller and 2 times faster"),
        (
            report(250, 0.5, -3.0, 0.001),
            "int8 loses: it is less accurate by 3.00 points; it is 4 times smaller and 2 times"
            " faster",
        ),
        (
            report(2000, 3.0, 0.5, 0.5),
            "int8 loses: it is 2 times larger and 3 times slower, and gains nothing",
        ),
        (report(1000, 1.02, 0.0, 1.0), "int8 gains nothing"),
        (report(1000, 1.0, 2.0, 0.01), "int8 gains: it is more accurate by 2.00 points"),
    ],
)
def test_verdict(made: ExportReport, verdict: str) -> None:
    assert made.verdict() == verdict
    assert verdict in made.summary()
    assert made.to_dict()["verdict"] == verdict


def test_an_exact_format_has_no_verdict() -> None:
    measured = Measured(1000, 0.25, 3e-7, 100, Estimate(0.9, 0.8, 0.95, 100))
    made = ExportReport("torch", (Path("model.pt2"),), Path("run"), measured)
    assert made.verdict() == ""
    lines = made.summary().splitlines()
    assert lines == [
        "files             model.pt2",
        "bytes             1,000",
        "time              0.25 ms for one image, on this machine",
        "difference        3.0e-07 at most, of a probability to the model's, over 100 test images",
        "test accuracy     90.00%, 95 % interval 80.00% to 95.00% (100 images)",
    ]
    assert made.to_dict() == {
        "format": "torch",
        "files": ["model.pt2"],
        "run": "run",
        "bytes": 1000,
        "milliseconds": 0.25,
        "difference": 3e-7,
        "images": 100,
        "test_accuracy": 0.9,
        "test_accuracy_ci95": [0.8, 0.95],
    }


def test_a_format_that_cannot_be_run_names_its_files() -> None:
    made = ExportReport("numbers", (Path("a.txt"), Path("b.txt")), Path("run"))
    assert [line.split() for line in made.summary().splitlines()] == [["files", "a.txt"], ["b.txt"]]
