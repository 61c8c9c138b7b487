"""The first compilation of the loops, in two processes: on one core it takes half a minute.

`python -m edarts.nn.kernels.first` compiles the gradient of separable stages, which takes as long
as all other loops, into their cache.
"""

import os
import subprocess
import sys

import numpy as np

from edarts.nn.kernels.compiled import load_loops


def begin_gradient() -> "subprocess.Popen[bytes] | None":
    """Compile it in a process of its own, if there is a second core; whoever needs it waits."""
    if (os.cpu_count() or 1) < 2:
        return None
    command = [sys.executable, "-P", "-m", __name__]  # -P: nothing from the user's folder
    quiet = subprocess.DEVNULL
    try:
        return subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet)
    except OSError:  # no room for another process: then it is compiled here
        return None


def compile_gradient() -> None:
    """Call it as `nodes.stage_backward` does, for no images."""

    def numbers(*shape: int) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
        return np.zeros(shape, np.float32)

    address, image = np.zeros(1, np.int64), numbers(0, 1, 1, 1)
    load_loops().separable_gradient(
        address, (0, 1, 1, 1), numbers(4, 1), numbers(1, 1, 1), numbers(1, 1), 1, 1, image, image,
        numbers(3, 1), address, np.ones(1, bool), numbers(1, 1, 1), numbers(1, 1), numbers(2, 1),
    )  # fmt: skip


if __name__ == "__main__":
    compile_gradient()
