"""`python -m faults.killed ROOT AT WORDS`: edarts WORDS, killed at file event AT below ROOT.

Event 0: never; the number of all events goes to the file ROOT.events, whose name is beside it.
"""

import os
import signal
import sys
from pathlib import Path

from faults.faulty import faults


def kill(name: str) -> BaseException:
    os.kill(os.getpid(), signal.SIGKILL)
    return SystemExit(name)


root, at, words = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
with faults(root, at or None, kill) as layer:
    from edarts.cli.main import main

    code = main(words)
root.with_name(f"{root.name}.events").write_text(str(len(layer.events)))
sys.exit(code)
