"""Processes of their own, in less than a second: forked from one that has imported the libraries.

Nothing of edarts is imported before the fork, so a process sees the environment, the folder and the
packages that it is given as a new one would. A test that needs another interpreter, another seed of
the hashes, or the start itself, uses subprocess.
"""

import multiprocessing
import os
import runpy
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

# What takes seconds to import; none of it starts threads by that.
HEAVY = [
    *("torch", "torch._dynamo", "numba", "scipy.linalg", "sqlalchemy", "optuna"),
    *("matplotlib.figure", "matplotlib.backends.backend_agg", "matplotlib.backends.backend_svg"),
]
_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(HEAVY)


class Forked:
    """`python WORDS`, begun at once: `-m MODULE` or a file, and its arguments.

    `out` and `err` are what it has printed so far; `packages` are folders that come first on its
    path. In a pipe its text could fill up and stop it, so it goes to files of `cwd`.
    """

    def __init__(
        self,
        words: Sequence[str],
        cwd: Path,
        env: Mapping[str, str] | None = None,
        packages: Sequence[Path] = (),
    ) -> None:
        self._name = (
            f"{words[1] if words[0] == '-m' else Path(words[0]).stem}-{time.monotonic_ns()}"
        )
        self._cwd = cwd
        arguments = list(words), cwd, self._name, dict(env or {}), list(map(str, packages))
        self._process = _server.Process(target=_run, args=arguments)
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def out(self) -> str:
        return (self._cwd / f"{self._name}.out").read_text(encoding="utf-8")

    @property
    def err(self) -> str:
        return (self._cwd / f"{self._name}.err").read_text(encoding="utf-8")

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def ended(self, seconds: float) -> bool:
        """Whether it ends within so many seconds."""
        self._process.join(seconds)
        return self.poll() is not None

    def wait(self, seconds: float = 240) -> int:
        """Its exit code; kills it and fails if it takes longer."""
        if not self.ended(seconds):
            self.kill()
            raise AssertionError(f"still running after {seconds} s: {self.err[-2000:]}")
        code = self.poll()
        assert code is not None
        return code


def _run(words: list[str], cwd: Path, name: str, env: dict[str, str], packages: list[str]) -> None:
    for descriptor, kind in ((1, "out"), (2, "err")):
        os.dup2(os.open(cwd / f"{name}.{kind}", os.O_WRONLY | os.O_CREAT), descriptor)
    os.chdir(cwd)
    os.environ.update(env)
    sys.path[:0] = packages
    if words[0] == "-m":
        sys.argv = words[1:]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = words
        runpy.run_path(words[0], run_name="__main__")
