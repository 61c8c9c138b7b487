"""The first compilation of the loops, in two processes beside this one: it takes half a minute.

They compile half of the loops each, into their cache. They are processes of their own for a second
reason: LLVM's options hold for all that a process compiles, for what its user compiles too.
"""

import subprocess
import sys

import numpy as np

from edarts.nn.kernels.compiled import load_loops

GRADIENTS = ("separable_gradient", "max_pool", "average_pool")
HALVES = ("gradients", "others")


def compile_beside() -> None:
    """Compile all loops; where no process can be started, that is left to whoever needs them."""
    quiet, started = subprocess.DEVNULL, []
    for half in HALVES:
        # -P: nothing from the user's folder.
        command = [sys.executable, "-P", "-m", "edarts.nn.kernels", half]
        try:
            started.append(subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet))
        except OSError:  # no room for another process
            break
    for process in started:
        process.wait()


def compile_gradients() -> None:
    """Call some as `nodes.stage_backward` and `pools` do, for no images: see `GRADIENTS`."""

    def numbers(*shape: int) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
        return np.zeros(shape, np.float32)

    address, image = np.zeros(1, np.int64), numbers(0, 1, 1, 1)
    loops = load_loops()
    loops.separable_gradient(
        address, (0, 1, 1, 1), numbers(4, 1), numbers(1, 1, 1), numbers(1, 1), 1, 1, image, image,
        numbers(3, 1), address, np.ones(1, bool), numbers(1, 1, 1), numbers(1, 1), numbers(2, 1),
    )  # fmt: skip
    for pool in (loops.max_pool, loops.average_pool):
        pool(image, 3, 1, image, image, False, True)
