"""GDAS: one operation an edge, drawn by softmax, with the gradient of the soft draw."""

import pytest
import torch

from edarts import DartsSpace, SearchConfig, Supernet
from edarts.methods.oneshot import driver as oneshot
from edarts.methods.oneshot import gdas
from edarts.nn.cells import Cell


def learner() -> gdas.GDAS:
    config, space, _ = oneshot.resolve_config(SearchConfig("gdas"), 50_000, 10)
    torch.manual_seed(0)
    return gdas.PLUGIN(space, config, torch.device("cpu"))


def test_draws_are_one_hot_and_follow_the_probabilities() -> None:
    torch.manual_seed(0)
    p = torch.tensor([0.5, 0.3, 0.2])
    for temperature in (10.0, 0.1):
        draws = gdas.straight_through(p.log().expand(20_000, 3), temperature)
        assert set(draws.unique().tolist()) == {0.0, 1.0}  # exact: zeros are skipped
        torch.testing.assert_close(draws.mean(0), p, atol=0.015, rtol=0)


def test_gradient_is_the_soft_draws() -> None:
    slope = torch.tensor([[0.3, -1.0, 2.0]], dtype=torch.float64)
    p = torch.tensor([[0.5, 0.3, 0.2]], dtype=torch.float64).requires_grad_()
    torch.manual_seed(7)
    (mine,) = torch.autograd.grad((gdas.straight_through(p.log(), 2.0) * slope).sum(), p)
    torch.manual_seed(7)
    noise = -torch.empty(1, 3).exponential_().log()
    soft = ((p.log() + noise) / 2.0).softmax(-1)
    (expected,) = torch.autograd.grad((soft * slope).sum(), p)
    torch.testing.assert_close(mine, expected)


def test_only_drawn_operations_are_computed() -> None:
    method = learner()
    net = Supernet(DartsSpace(), cells=3, channels=4, classes=2)
    weights = method.weights(training=True)
    net(torch.randn(2, 3, 8, 8), weights).sum().backward()
    for kind, cell in zip(net.kinds, net.cells, strict=True):
        assert isinstance(cell, Cell)
        for slot, weight in zip(cell.slots, weights[kind].flatten().tolist(), strict=True):
            for p in cell.operations[slot].parameters() if slot is not None else ():
                assert (p.grad is not None) == (weight > 0)


def test_cooling() -> None:
    method = learner()
    assert method.temperature == 10
    temperatures = []
    for epoch in (0, 120, 239):
        method.begin_epoch(None, epoch)  # type: ignore[arg-type]
        temperatures.append(method.temperature)
    assert temperatures == pytest.approx([10, 10 - 9.9 * 120 / 239, 0.1])
