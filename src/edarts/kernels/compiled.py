"""The door to the compiled loops: importing numba costs a moment, so it is put off until needed."""

from functools import cache
from typing import Any

import torch

_threads = [0]  # that the loops were last set to


@cache
def _module() -> Any:
    from edarts.kernels import loops

    return loops


def load_loops() -> Any:
    """The module of compiled loops, set to as many threads as torch uses."""
    module, threads = _module(), torch.get_num_threads()
    if threads != _threads[0]:
        module.use_threads(threads)
        _threads[0] = threads
    return module
