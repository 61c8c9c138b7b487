"""Tells each method's largest difference to its authors' code as `pytest tests/golden` ends."""

import pytest

LARGEST = "largest difference"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    measured = {
        report.nodeid.partition("[")[2].rstrip("]"): dict(report.user_properties)[LARGEST]
        for report in reports
        if LARGEST in dict(report.user_properties)
    }
    if measured:
        terminalreporter.section(f"{LARGEST} to the authors' code, relative")
    for name, difference in sorted(measured.items()):
        terminalreporter.write_line(f"{name:20}{difference:.0e}")
