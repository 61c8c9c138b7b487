"""Losses, optimizer steps and learning rates that searching and training share."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from edarts.errors import NotFinite
from edarts.training import distributed
from edarts.training.scaling import scaler_now


def cross_entropy(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Mean cross entropy of logits (B, classes) and labels (B,).

    `smoothing`: share of each label that is spread evenly over all classes (Szegedy et al. 2016).
    """
    return nn.functional.cross_entropy(logits, labels, label_smoothing=smoothing)


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Share of right answers, 0..1."""
    return float((logits.detach().argmax(dim=-1) == labels).float().mean())


def sgd(
    net: nn.Module,
    lr: float,
    momentum: float,
    weight_decay: float,
    *,
    nesterov: bool = False,
    decay_all: bool = True,
) -> torch.optim.SGD:
    """SGD over all parameters at once; unless `decay_all`, biases and norms do not decay.

    Not `fused`: that fails where a parameter gets its first gradient after others (torch 2.13).
    """
    groups: Any = net.parameters()
    if not decay_all:
        parameters = [*net.parameters()]
        groups = [
            {"params": [p for p in parameters if p.dim() > 1]},
            {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
        ]
    return torch.optim.SGD(
        groups, lr, momentum, weight_decay=weight_decay, nesterov=nesterov, foreach=True
    )


def cosine(epoch: int, epochs: int, first: float, last: float) -> float:
    """Learning rate of `epoch`, or step, from 0: last + (first - last) (1 + cos(pi e / E)) / 2."""
    return last + 0.5 * (first - last) * (1 + math.cos(math.pi * epoch / epochs))


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Give every parameter group this learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = lr


def descend(
    loss: Tensor,
    optimizer: torch.optim.Optimizer,
    clip: float,
    step: str,
    hint: str = "--lr",
    *,
    carry: bool = False,
) -> None:
    """One optimizer step on `loss`, the gradient's norm clipped to `clip`.

    A parameter that the loss does not depend on rests; with `carry`, one that has had a gradient
    before is moved on by its momentum and decay.
    In fp16 the loss is scaled; if the scaled gradient overflows, the step is skipped and the scale
    lowered. Raises EdartsError, before any parameter changes, if the loss is NaN or infinite, or
    the gradient is though no scale is to blame. `step` names the step in that error, `hint` the
    options to lower.
    """
    if not math.isfinite(distributed.average_values({"loss": loss.item()})["loss"]):
        raise not_finite(step, hint)
    optimizer.zero_grad(set_to_none=True)
    scaler = scaler_now()
    scaler.scaled(loss).backward()
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    if carry:
        for parameter in parameters:
            if parameter.grad is None and parameter in optimizer.state:
                parameter.grad = torch.zeros_like(parameter)
    distributed.average_gradients(parameters)
    scaler.unscale(optimizer)
    norm = nn.utils.clip_grad_norm_(parameters, clip).item()
    if not math.isfinite(norm) and not scaler.may_overflow():
        raise not_finite(step, hint)
    scaler.step(optimizer)


def gradients(loss: Tensor, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """d loss / d inputs, zeros where the loss does not depend on one.

    In fp16 some may not be finite, where the scaled loss has overflowed: see `usable`.
    """
    scaler = scaler_now()
    found = torch.autograd.grad(
        scaler.scaled(loss), inputs, allow_unused=True, materialize_grads=True
    )
    return tuple(scaler.unscaled(gradient) for gradient in found)


def left_gradients(inputs: Sequence[Tensor]) -> list[Tensor]:
    """The gradients that `descend` has left in tensors which its optimizer does not hold.

    Zeros where its loss does not depend on one.
    """
    scaler = scaler_now()
    return [torch.zeros_like(x) if x.grad is None else scaler.unscaled(x.grad) for x in inputs]


def usable(found: Sequence[Tensor]) -> bool:
    """Whether gradients, the same on every process, are finite, so that a step may be taken.

    If not, in fp16, the step is to be skipped and the scale of the loss has been lowered. Raises
    FloatingPointError if no scale is to blame.
    """
    if all(bool(gradient.isfinite().all()) for gradient in found):
        return True
    scaler = scaler_now()
    if not scaler.may_overflow():
        raise FloatingPointError("gradient")
    scaler.lower()
    return False


@contextmanager
def frozen(net: nn.Module) -> Iterator[None]:
    """A forward pass in here prepares no gradient of the network's weights, and computes none."""
    trained = [p for p in net.parameters() if p.requires_grad]
    for p in trained:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in trained:
            p.requires_grad_(True)


def not_finite(step: str, hint: str = "--lr") -> NotFinite:
    """The error for a loss or gradient that is NaN or infinite at `step`."""
    return NotFinite(
        f"{step}: the loss became NaN or infinite; the last good checkpoint is kept."
        f" Try a lower {hint}, in another --out"
    )
