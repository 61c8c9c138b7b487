"""The door to the compiled loops, and the rule of who may pass it.

Importing numba costs a moment, so it is put off until needed.
"""

import os
from functools import cache
from typing import Any

import torch
from torch import Tensor

_threads = [0]  # that the loops were last set to


def enabled() -> bool:
    """Whether fast paths may be taken; EDARTS_KERNELS=off takes none."""
    return os.environ.get("EDARTS_KERNELS", "on") != "off"


def fast(x: Tensor) -> bool:
    """The rule for every compiled loop: float32 on the CPU, with gradients."""
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and x.numel() > 0
        and torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and enabled()
    )


@cache
def _module() -> Any:
    from edarts.nn.kernels import loops

    return loops


def load_loops() -> Any:
    """The module of compiled loops, set to as many threads as torch uses."""
    module, threads = _module(), torch.get_num_threads()
    if threads != _threads[0]:
        module.use_threads(threads)
        _threads[0] = threads
    return module
