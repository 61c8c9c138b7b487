"""The processes of one run that torchrun starts: which one writes, and what all agree on.

Every process (a rank) computes the same thing on its own part of each batch, and what is learned
from is averaged: so all hold the same weights and architecture, bit for bit. The batch that a
config names is cut into parts; neither learning rate nor number of steps depends on the number of
ranks. Batch norm has the statistics of a rank's part; running ones are kept of the first rank's.
DistributedDataParallel is not used: a supernet's forward takes the architecture's weights, and
which of its parameters take part changes from step to step. With one process nothing is done.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from edarts.errors import EdartsError

if TYPE_CHECKING:  # what only asks for the number of ranks need not load torch
    import torch
    from torch import Tensor


def count() -> int:
    """How many processes there are."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def first() -> bool:
    """Whether this is the one that writes and prints."""
    return _rank() == 0


def join(cpu: bool) -> "torch.device":
    """Meet the other processes; returns this one's device.

    Raises EdartsError if there are fewer GPUs than processes.
    """
    import torch

    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if not cpu and torch.cuda.device_count() < here:
        raise EdartsError(
            f"{here} processes for {torch.cuda.device_count()} GPUs: give --nproc-per-node that"
            " many, or --device cpu"
        )
    device: torch.device = _state(cpu).device
    return device


def share(*batch: "Tensor") -> "tuple[Tensor, ...]":
    """This rank's part of each tensor (B, ...) of a batch: B // count() rows.

    Equal parts, so that the mean of the ranks' means is that of all; the B % count() images left
    over wait for another epoch. Raises EdartsError if there is none for every rank.
    """
    ranks = count()
    if ranks == 1:
        return batch
    part = len(batch[0]) // ranks
    if part == 0:
        raise EdartsError(
            f"a batch of {len(batch[0])} images for {ranks} processes; give a larger --batch-size"
            " or fewer processes"
        )
    return tuple(tensor[_rank() :: ranks][:part] for tensor in batch)


def average(tensors: "Sequence[Tensor]") -> "list[Tensor]":
    """Means over the ranks, of tensors of the same shapes on each; summed as one vector."""
    if count() == 1 or not tensors:
        return list(tensors)
    import torch

    with _together():
        flat = torch.cat([tensor.detach().flatten() for tensor in tensors])
        torch.distributed.all_reduce(flat)
        parts = (flat / count()).split([tensor.numel() for tensor in tensors])
    return [part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True)]


def average_gradients(parameters: "Sequence[Tensor]") -> None:
    """Replace every gradient there is by its mean over the ranks."""
    if count() > 1:
        trained = [(p, p.grad) for p in parameters if p.grad is not None]
        for (p, _), mean in zip(trained, average([g for _, g in trained]), strict=True):
            p.grad = mean


def average_values(values: Mapping[str, float]) -> dict[str, float]:
    """Means over the ranks, of numbers under the same names on each."""
    if count() == 1:
        return dict(values)
    import torch

    device = _state().device
    mean = average([torch.tensor(list(values.values()), dtype=torch.float64, device=device)])
    return dict(zip(values, mean[0].tolist(), strict=True))


def agree(flag: bool) -> bool:
    """Whether it is set on any rank."""
    return flag if count() == 1 else average_values({"flag": float(flag)})["flag"] > 0


def wait() -> None:
    """Until all ranks are here."""
    if count() > 1:
        with _together():
            _state().wait_for_everyone()


def _rank() -> int:
    return int(os.environ.get("RANK", "0"))


def _state(cpu: bool | None = None) -> Any:
    """accelerate's view of the processes; it remembers the first call's."""
    from accelerate import PartialState

    with _together():
        return PartialState() if cpu is None else PartialState(cpu=cpu)


@contextmanager
def _together() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # torch.distributed's errors are such
        raise EdartsError(
            "another process of this run is gone; the last checkpoint is kept, the same command"
            " continues"
        ) from error
