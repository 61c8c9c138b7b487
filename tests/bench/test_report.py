"""The JSON of a report has the keys that scripts read; the text has its columns."""

from edarts.bench.report import BenchReport, BenchRow, LedgerReport, LedgerRow, Machine, Scaling

MACHINE = Machine("a processor", 2, "2.13.0", "0.68.1", "2.4.0", "3.12.1", 416.2)
ROW = BenchRow("x_step", 10.553, 2.0221, 5.22, 9044.3, 2201.0, 4.11, 2e-3, 1.4e-3, 32.4, 57.0)


def test_bench() -> None:
    report = BenchReport((ROW,), (Scaling("cells", 5, 1.25),), MACHINE)
    (row,) = report.to_dict()["rows"]
    assert list(row) == [
        *("what", "textbook_s", "ours_s", "time_ratio", "textbook_mib", "ours_mib"),
        *("memory_ratio", "max_relative_error", "rounding", "images_per_second", "gflops"),
    ]
    assert list(report.to_dict()) == ["rows", "scaling", "machine"]
    assert report.to_dict()["scaling"] == [{"what": "cells", "value": 5, "epoch_s": 1.25}]
    machine, *_, line, scaling = report.summary().splitlines()
    assert "a processor, 2 threads, torch 2.13.0" in machine
    figures = ["10.553", "2.022", "5.22", "9044", "2201", "4.11", "2e-03", "1e-03", "32", "57.0"]
    assert line.split() == ["x_step", *figures]
    assert scaling.split() == ["cells", "5", "1.25", "s", "for", "an", "epoch"]


def test_ledger() -> None:
    report = LedgerReport(MACHINE, (LedgerRow("first ask, pnas, SQLite", 0.12345),))
    assert report.to_dict()["rows"] == [{"what": "first ask, pnas, SQLite", "seconds": 0.12345}]
    assert list(report.to_dict()["machine"])[-1] == "matrix_product_gflops"
    assert report.summary().splitlines()[1].split()[-2:] == ["0.1235", "s"]
