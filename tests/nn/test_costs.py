"""Costs: memory of chains computed by hand, the median time, limits."""

import itertools

import pytest
import torch
from torch import Tensor, nn

from edarts.config import Budget
from edarts.nn.baselines.linear import Linear
from edarts.nn.costs import WARM_UP, Costs, costs, milliseconds, peak_ram
from edarts.nn.operations import count_flops, count_parameters
from edarts.space import zoo
from edarts.space.base import Size


class Chain(nn.Module):
    """Convolutions in a row, each result dropped as soon as the next one is there."""

    def __init__(self, *channels: int) -> None:
        super().__init__()
        pairs = itertools.pairwise(channels)
        self.layers = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1, bias=False) for a, b in pairs)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


def test_ram_of_a_chain() -> None:
    """All weights, the image, and the two largest results in a row, four bytes each.

    8 x 8 pixels of 3, 16, 4 and 2 channels: most is alive while 16 become 4.
    """
    weights = 9 * (3 * 16 + 16 * 4 + 4 * 2)
    alive = 64 * (3 + 16 + 4)
    assert peak_ram(Chain(3, 16, 4, 2), (3, 8, 8)) == 4 * (weights + alive) / 1024
    assert peak_ram(Chain(3, 16, 4, 2), (3, 8, 8), "int8") == (weights + alive) / 1024
    # The order counts, not the sum: here most is alive at the end.
    alive = 64 * (3 + 4 + 16)
    weights = 9 * (3 * 2 + 2 * 4 + 4 * 16)
    assert peak_ram(Chain(3, 2, 4, 16), (3, 8, 8)) == 4 * (weights + alive) / 1024


def test_ram_of_a_branch() -> None:
    """What is still needed stays: a skip over two convolutions keeps its source alive."""

    class Skip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 8, 1, bias=False)
            self.body = Chain(8, 2, 8)

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            y: Tensor = x + self.body(x)
            return y

    weights = 3 * 8 + 9 * (8 * 2 + 2 * 8)
    alive = 16 * (3 + 8 + 8 + 8)  # image, source, body and sum
    assert peak_ram(Skip(), (3, 4, 4)) == 4 * (weights + alive) / 1024


def test_views_and_the_own_weights_count_once() -> None:
    network = Linear().build(Size(), (1, 4, 4), 3)
    assert peak_ram(network, (1, 4, 4)) == 4 * (16 * 3 + 3 + 16 + 3) / 1024


def test_the_median_of_one_image_on_one_thread() -> None:
    seen: list[int] = []

    class Spy(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            assert not self.training and not torch.is_grad_enabled()
            assert len(x) == 1
            seen.append(torch.get_num_threads())
            return x

    ticks = itertools.accumulate(itertools.cycle([0.0, 0.0, 1e-3, 5e-3]))
    network = Spy()
    threads = torch.get_num_threads()
    before = milliseconds(network, (3, 4, 4), now=lambda: next(ticks))
    assert before >= 0 and set(seen) == {1} and len(seen) > WARM_UP
    assert torch.get_num_threads() == threads and network.training


def test_only_what_is_limited_is_measured() -> None:
    network = zoo.get("darts.v2").architecture.build(Size(2, 4), (3, 16, 16), 5)
    plain = costs(network, (3, 16, 16), Budget())
    assert plain == Costs(count_parameters(network), count_flops(network, (3, 16, 16)))
    limited = costs(network, (3, 16, 16), Budget(max_ms=1.0, max_ram=9))
    assert limited.ms is not None and limited.ms > 0
    assert limited.ram == peak_ram(network, (3, 16, 16))


def test_limits() -> None:
    found = Costs(1000, 2000, 3.0, 4.0)
    assert found.within(Budget())
    assert found.within(Budget(max_parameters=1000, max_macs=2000, max_ms=3.31, max_ram=4))
    assert found.over(Budget(max_parameters=999, max_macs=2000)) == {"max_parameters": 1000}
    # A time is a tenth below its limit, as it will be another one when it is measured again.
    over = found.over(Budget(max_ms=3.2, max_ram=3))
    assert over == {"max_ms": pytest.approx(3.3), "max_ram": 4.0}


@pytest.mark.parametrize("kind", ["float32", "int8"])
def test_a_budget_is_written_down(kind: str) -> None:
    budget = Budget(minutes=2, max_ram=64, ram_type=kind)  # type: ignore[arg-type]
    assert budget.to_settings() == {"minutes": 2, "max_ram": 64, "ram_type": kind}
    assert (Budget().to_settings(), Budget().seconds, budget.seconds) == ({}, None, 120)
