"""The door to the compiled loops: importing numba costs a moment, so it is put off until needed."""

from typing import Any

import torch


def load_loops() -> Any:
    """The module of compiled loops, set to as many threads as torch uses."""
    from edarts.kernels import loops as module

    module.use_threads(torch.get_num_threads())
    return module
