"""Devices and precisions: what a verb's Runtime is made of."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn

from edarts.errors import EdartsError, UsageError, unknown
from edarts.nn.kernels import warm_up
from edarts.runs.folder import Run
from edarts.runs.processes import world_size
from edarts.runs.progress import Progress
from edarts.runs.stop import Stop
from edarts.runtime import Runtime, Session
from edarts.training import distributed

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

Net = TypeVar("Net", bound=nn.Module)


def runtime(session: Session, run: Run | None = None, stop: Stop | None = None) -> Runtime:
    """Open the session's device: what a verb hands down to everything that it calls.

    Called once, before data are read or a run folder is opened: under torchrun this joins the group
    of processes, and a device or precision that is not here is refused at once. The run and the
    stop, known later, are put in by `dataclasses.replace`. Raises EdartsError, UsageError.
    """
    progress = session.progress or Progress()
    device = open_device(session.device, progress)
    with autocast(device, session.precision):
        pass
    return Runtime(
        device=device,
        seed=session.seed,
        run=run,
        progress=progress,
        stop=stop or Stop(),
        precision=session.precision,
        compile=session.compile,
    )


def open_device(name: str, progress: Progress | None = None) -> torch.device:
    """Get a device ready: `auto` is cuda, else mps, else cpu.

    On the CPU the compiled loops are loaded; `progress` is told if they have to be compiled first.
    Raises EdartsError for a device that is not there.
    """
    have = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = next(device for device, there in have.items() if there)
    if not have.get(name.split(":")[0], False):
        there = ", ".join(device for device, ok in have.items() if ok)
        raise EdartsError(f"device {name} is not here; this machine has: {there}")
    if name == "cpu":
        warm_up(progress.say if progress is not None else None)
    # Values near zero are common in late training and take the slow path of the processor.
    torch.set_flush_denormal(True)
    if world_size() > 1 and ":" not in name:
        return distributed.join(cpu=name == "cpu")
    return torch.device(name)


def place(net: Net, device: torch.device) -> Net:
    """Move a network to the device, its weights into channels-last memory; returns it."""
    if not all(_is_placed(tensor, device) for tensor in (*net.parameters(), *net.buffers())):
        net.to(device)
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return net


def _is_placed(tensor: Tensor, device: torch.device) -> bool:
    dense = tensor.dim() != 4 or tensor.is_contiguous(memory_format=torch.channels_last)
    return dense and tensor.device == device


@contextmanager
def autocast(device: torch.device, precision: str) -> Iterator[None]:
    """Convolutions and products in `precision` inside the block; weights and sums stay float32.

    `auto` is fp32: only a race tries others. Raises UsageError for a precision that is none of
    `PRECISIONS` or that the device lacks.
    """
    if precision not in ("auto", *PRECISIONS):
        raise unknown("precision", precision, ("auto", *PRECISIONS))
    if precision in ("auto", "fp32"):
        yield
        return
    if precision == "fp16" and device.type == "cpu":
        raise UsageError("precision fp16 needs a GPU; bf16 works here, fp32 is the fastest on most")
    # Its cache of cast weights lives as long as the block, so steps in it would change nothing.
    with torch.autocast(device.type, PRECISIONS[precision], cache_enabled=False):
        yield
