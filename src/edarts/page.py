"""The web page and plots of a run or study."""

from edarts.run import Run
from edarts.studies import Rows, Summary


def write_study(run: Run, summary: Summary, rows: Rows) -> None: ...
