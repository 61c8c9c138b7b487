"""What the processes that torchrun starts share out, average and agree on.

Every process computes the same thing on its own part of each batch, and what is learned from is
averaged: so all hold the same weights and architecture, bit for bit. The batch that a config names
is cut into parts; neither learning rate nor number of steps depends on the number of processes.
Batch norm has the statistics of a process's part; the running statistics that are kept are those of
the main process. DistributedDataParallel is not used: a supernet's forward takes the architecture's
weights, and which of its parameters take part changes from step to step. A process alone does none
of this. Number of processes, main process and barrier: `edarts.runs.processes`.
"""

import os
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from edarts.errors import EdartsError
from edarts.runs.processes import all_alive, group, is_main, rank, world_size


def join(cpu: bool) -> torch.device:
    """Join the group of processes; returns the device of this one.

    `cpu`: whether to compute on the CPU. Raises EdartsError if there are fewer GPUs than processes.
    """
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if not cpu and torch.cuda.device_count() < here:
        raise EdartsError(
            f"{here} processes for {torch.cuda.device_count()} GPUs: give --nproc-per-node that"
            " many, or --device cpu"
        )
    device: torch.device = group(cpu).device
    return device


def shard(*batch: Tensor) -> tuple[Tensor, ...]:
    """The part of each tensor (B, ...) of a batch that this process takes: B // world_size() rows.

    The parts are equal, so that the mean of the processes' means is that of all; the
    B % world_size() images left over wait for another epoch. Raises EdartsError if there is not one
    image for every process.
    """
    processes = world_size()
    if processes == 1:
        return batch
    part = len(batch[0]) // processes
    if part == 0:
        raise EdartsError(
            f"a batch of {len(batch[0])} images for {processes} processes; give a larger"
            " --batch-size or fewer processes"
        )
    return tuple(tensor[rank() :: processes][:part] for tensor in batch)


def gathered(mine: Tensor, count: int) -> Tensor:
    """(B, ...) of a batch of `count` images from the part that `shard` gave this process; zero for
    images that none took.
    """
    if world_size() == 1:
        return mine
    whole = mine.new_zeros(count, *mine.shape[1:])
    whole[rank() :: world_size()][: len(mine)] = mine
    return average([whole])[0] * world_size()


def average(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Means over the processes, of tensors of the same shapes on each; summed as one vector."""
    if world_size() == 1 or not tensors:
        return list(tensors)
    with all_alive():
        flat = torch.cat([tensor.detach().flatten() for tensor in tensors])
        torch.distributed.all_reduce(flat)
        parts = (flat / world_size()).split([tensor.numel() for tensor in tensors])
    return [part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True)]


def average_gradients(parameters: Sequence[Tensor]) -> None:
    """Replace every gradient that a parameter has by its mean over the processes."""
    if world_size() > 1:
        trained = [(p, p.grad) for p in parameters if p.grad is not None]
        for (p, _), mean in zip(trained, average([g for _, g in trained]), strict=True):
            p.grad = mean


def average_values(values: Mapping[str, float]) -> dict[str, float]:
    """Means over the processes, of numbers under the same names on each."""
    if world_size() == 1:
        return dict(values)
    vector = torch.tensor(list(values.values()), dtype=torch.float64, device=group().device)
    return dict(zip(values, average([vector])[0].tolist(), strict=True))


def of_main(values: Sequence[float]) -> list[float]:
    """The main process's numbers, on every process: what is decided by time has to be one thing."""
    if world_size() == 1:
        return list(values)
    vector = torch.tensor(list(values), dtype=torch.float64, device=group().device)
    mine = vector * world_size() if is_main() else torch.zeros_like(vector)
    found: list[float] = average([mine])[0].tolist()
    return found


def agree(flag: bool) -> bool:
    """Whether the flag is set on any process; all get the same answer."""
    return flag if world_size() == 1 else average_values({"flag": float(flag)})["flag"] > 0
