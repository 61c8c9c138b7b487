"""The door to the compiled loops, and the rules of who may take which fast path.

Importing numba costs a moment, so it is put off until needed.
"""

import mmap
import os
import threading
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

ROOM = 256 * 2**20  # bytes that loading the loops takes at most, about
FEW_PIXELS = 4096  # B * H * W, up to which `few_pixels` holds


class _Now(threading.local):
    """What this thread is making, if anything: a `Plan`; a `Tape` of the loops that it calls."""

    plan: Any = None
    tape: Any = None


now = _Now()
_say: list[Callable[[str], None]] = []
_threads = [0]  # that the loops were last set to


def enabled() -> bool:
    """Whether fast paths may be taken; EDARTS_KERNELS=off takes none."""
    return os.environ.get("EDARTS_KERNELS", "on") != "off"


def eager() -> bool:
    """Whether operations run at once, and are not recorded: traced, exported or compiled.

    What is recorded must hold for other sizes too, so no path may be chosen by size then.
    """
    tracing: bool = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    return not tracing and not torch.compiler.is_compiling()


def fast(*tensors: Tensor) -> bool:
    """The rule for every compiled loop: float32 on the CPU, with gradients."""
    return (
        all(x.is_cpu and x.dtype == torch.float32 and x.numel() > 0 for x in tensors)
        and torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and eager()
        and enabled()
    )


def few_pixels(x: Tensor) -> bool:
    """The rule for 1 x 1 convolutions: so few pixels (B, C, H, W) that a matrix product is faster.

    It starts quicker than a convolution does.
    """
    return (
        x.device.type == "cpu"
        and eager()
        and enabled()
        and x.shape[0] * x.shape[2] * x.shape[3] <= FEW_PIXELS
    )


def check_room() -> None:
    """Raises MemoryError where the loops cannot be loaded: LLVM ends the process without memory."""
    try:
        mmap.mmap(-1, ROOM).close()
    except OSError:
        raise MemoryError from None


@cache
def _module() -> Any:
    check_room()
    from edarts.nn.kernels import cache, loops

    cache.guard(loops.MODULES, _say[-1] if _say else None)
    loops.prepare()
    return loops


def load_loops(say: Callable[[str], None] | None = None) -> Any:
    """The module of compiled loops, set to as many threads as torch uses; a tape notes their calls.

    `say`: told, at the first time, when what was compiled before is damaged.
    """
    if say is not None:
        _say.append(say)
    module, threads = _module(), torch.get_num_threads()
    if threads != _threads[0]:
        module.use_threads(threads)
        _threads[0] = threads
    return module if now.tape is None else now.tape.noting(module)
