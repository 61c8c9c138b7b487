"""`python -m edarts.nn.kernels HALF`: compile that half of the loops, see `first`."""

import sys
from typing import Any

from llvmlite import binding

from edarts.nn.kernels import exercise
from edarts.nn.kernels.compiled import load_loops
from edarts.nn.kernels.first import GRADIENTS, HALVES, compile_gradients


def main(half: str) -> None:
    """Raises ValueError for what is no half."""
    # Loops unrolled by counts that are not known yet take a third of the time, and bring nothing.
    binding.set_option("", "-unroll-runtime=false")
    if half not in HALVES:
        raise ValueError(f"{half}: give one of {', '.join(HALVES)}")
    if half == "gradients":
        compile_gradients()
        return
    loops = load_loops()
    for name in GRADIENTS:
        setattr(loops, name, _nothing)
    exercise()


def _nothing(*arguments: Any) -> None:
    """What a loop would do."""


if __name__ == "__main__":
    main(sys.argv[1])
