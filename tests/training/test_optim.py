"""Optimizer steps: clipping, learning rates, gradients of what a loss does not depend on."""

import math

import pytest
import torch
from torch import nn

from edarts import EdartsError
from edarts.training.optim import (
    accuracy,
    cosine,
    cross_entropy,
    descend,
    frozen,
    gradients,
    left_gradients,
    not_finite,
    set_lr,
    sgd,
    usable,
)


def test_descend_clips_the_gradient_s_norm() -> None:
    w = torch.tensor([3.0, 4.0], requires_grad=True)
    optimizer = torch.optim.SGD([w], lr=1.0)
    descend((w**2).sum() / 2, optimizer, 1.0, "here")  # the gradient is w, of norm 5
    assert w.tolist() == pytest.approx([3 - 3 / 5, 4 - 4 / 5])
    descend(w.sum(), optimizer, 100.0, "here")
    assert w.tolist() == pytest.approx([3 - 3 / 5 - 1, 4 - 4 / 5 - 1])


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_changes_nothing(value: float) -> None:
    w = torch.tensor([1.0], requires_grad=True)
    with pytest.raises(EdartsError, match=r"step 3: the loss became NaN or infinite.*--arch-lr"):
        descend(w.sum() * value, torch.optim.SGD([w], 0.1), 5.0, "step 3", "--arch-lr")
    assert w.item() == 1 and w.grad is None


def test_gradients_are_zero_where_nothing_depends() -> None:
    w, other = torch.ones(2, requires_grad=True), torch.ones(3, requires_grad=True)
    first, second = gradients((w**2).sum(), [w, other])
    assert first.tolist() == [2, 2] and second.tolist() == [0, 0, 0]
    (w * 3).sum().backward()
    assert [part.tolist() for part in left_gradients([w, other])] == [[3, 3], [0, 0, 0]]


def test_usable() -> None:
    assert usable([torch.ones(2), torch.zeros(1)])
    with pytest.raises(FloatingPointError):
        usable([torch.ones(2), torch.tensor([math.nan])])


def test_frozen_networks_get_no_gradient() -> None:
    net, x = nn.Linear(2, 1), torch.ones(1, 2, requires_grad=True)
    net.bias.requires_grad_(False)
    with frozen(net):
        loss = net(x).sum()
    loss.backward()
    assert x.grad is not None and net.weight.grad is None
    assert net.weight.requires_grad and not net.bias.requires_grad


def test_rates() -> None:
    optimizer = sgd(nn.Linear(2, 1), 0.1, 0.9, 3e-4)
    group = optimizer.param_groups[0]
    assert (group["lr"], group["momentum"], group["weight_decay"]) == (0.1, 0.9, 3e-4)
    set_lr(optimizer, 0.05)
    assert group["lr"] == 0.05
    assert cosine(0, 10, 0.1, 0.0) == 0.1
    assert cosine(10, 10, 0.1, 0.01) == pytest.approx(0.01)


def test_cross_entropy_and_accuracy() -> None:
    logits, labels = torch.tensor([[2.0, 0.0], [0.0, 0.0]]), torch.tensor([0, 1])
    expected = (math.log(1 + math.exp(-2)) + math.log(2)) / 2
    assert cross_entropy(logits, labels).item() == pytest.approx(expected)
    assert accuracy(logits, torch.tensor([0, 1])) == 0.5


def test_the_error_says_what_to_lower() -> None:
    assert "Try a lower --lr, in another --out" in str(not_finite("here"))
