"""What a network costs the machine that runs it: parameters, multiply-adds, time, memory."""

import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

from edarts.config.budget import Budget
from edarts.nn.operations import count_flops, count_parameters
from edarts.nn.planned import planned
from edarts.space.base import Image

WARM_UP, ROUNDS = 3, 15  # images before the time is taken, and those of which the median is taken
MARGIN = 1.1  # times over which a measured time may rise when it is measured again
BYTES = {"float32": 4, "int8": 1}


@dataclass(frozen=True)
class Costs:
    """`flops`: multiply-adds of one image. `ms`, `ram`: milliseconds and KiB; None: not asked."""

    parameters: int
    flops: int
    ms: float | None = None
    ram: float | None = None

    def within(self, budget: Budget) -> bool:
        """Whether no limit of the budget is exceeded."""
        return not self.over(budget)

    def over(self, budget: Budget) -> dict[str, float]:
        """The limits that are exceeded, and by what value."""
        values = self.by_limit()
        return {name: values[name] for name, most in budget.limits.items() if values[name] > most}

    def by_limit(self) -> dict[str, float]:
        """The value that each limit of a budget is about; of a measured time a little more."""
        found = {"max_parameters": self.parameters, "max_macs": self.flops}
        return {**found, "max_ms": MARGIN * (self.ms or 0.0), "max_ram": self.ram or 0.0}


def costs(network: nn.Module, image: Image, budget: Budget) -> Costs:
    """What the network costs for one image, evaluated; time and memory only if they are limited."""
    limits = budget.limits
    return Costs(
        count_parameters(network),
        count_flops(network, image),
        milliseconds(network, image) if "max_ms" in limits else None,
        peak_ram(network, image, budget.ram_type) if "max_ram" in limits else None,
    )


def milliseconds(
    network: nn.Module, image: Image, now: Callable[[], float] = time.perf_counter
) -> float:
    """Median milliseconds of the answer to one image on one thread, `planned`."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    taken = []
    try:
        with _evaluated(network), torch.no_grad():
            x, answer = torch.zeros(1, *image, device=_device(network)), planned(network)
            for _ in range(WARM_UP + ROUNDS):
                start = now()
                answer(x)
                if x.is_cuda:
                    torch.cuda.synchronize()
                taken.append(now() - start)
    finally:
        torch.set_num_threads(threads)
    return 1000 * statistics.median(taken[WARM_UP:])


def peak_ram(network: nn.Module, image: Image, number: str = "float32") -> float:
    """KiB of all weights and of the most results that are alive at once, for one image.

    `number`: float32 or int8, what a number takes. Results live as long as PyTorch keeps them in
    the order in which the network computes them; the image is one of them.
    """
    weights = [*network.parameters(), *network.buffers()]
    held = sum(t.numel() for t in weights)
    with _evaluated(network), torch.no_grad(), _Live(weights) as live:
        network(live.own(torch.zeros(1, *image, device=_device(network))))
    return float(BYTES[number] * (held + live.peak) / 1024)


class _Live(TorchDispatchMode):
    """Counts the numbers in what operations make, while somebody holds it, but not in `others`."""

    def __init__(self, others: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = 0
        self._others = {tensor.untyped_storage()._cdata for tensor in others}
        self._held: dict[int, tuple[StorageWeakRef, int]] = {}

    def own(self, tensor: Tensor) -> Tensor:
        """Count a tensor's storage until it is freed; returns the tensor."""
        storage = tensor.untyped_storage()
        if tensor.is_floating_point() and storage._cdata not in self._others:
            numbers = storage.nbytes() // tensor.element_size()
            self._held[storage._cdata] = StorageWeakRef(storage), numbers
        self._held = {k: held for k, held in self._held.items() if not held[0].expired()}
        self.peak = max(self.peak, sum(numbers for _, numbers in self._held.values()))
        return tensor

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for one in result if isinstance(result, tuple | list) else (result,):
            if isinstance(one, Tensor):
                self.own(one)
        return result


@contextmanager
def _evaluated(network: nn.Module) -> Iterator[None]:
    """The network is in evaluation mode inside the block, and as it was after it."""
    before = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(before)


def _device(network: nn.Module) -> torch.device:
    parameter = next(network.parameters(), None)
    return parameter.device if parameter is not None else torch.device("cpu")
