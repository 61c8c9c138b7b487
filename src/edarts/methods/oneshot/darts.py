"""DARTS: softmax over operations, alpha and weights trained in turn (Liu et al., ICLR 2019).

As in the authors' code (methods.md section 1), both orders. One difference that no result depends
on: the forward passes at perturbed weights (second order) update the norms' running statistics,
which a supernet in training never reads.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from edarts.config import SearchConfig
from edarts.errors import UsageError
from edarts.methods.oneshot.alphas import Alphas, FirstOrder, valid_loss
from edarts.methods.oneshot.base import Batch
from edarts.space.base import SearchSpace
from edarts.training import distributed
from edarts.training.optim import cross_entropy, frozen, gradients


@dataclass(frozen=True)
class Options:
    """What can be chosen of the method."""

    order: Literal[1, 2] = 1
    """1 takes the gradient at the current weights, 2 after a virtual training step."""


class Darts(FirstOrder):
    """alpha (E, K) for each group; weights are its softmax, `none` included."""

    Options: ClassVar[type] = Options
    PAPER: ClassVar[Mapping[str, Any]] = {"order": 2}

    def __init__(self, space: SearchSpace, config: SearchConfig, device: torch.device) -> None:
        super().__init__(space, config, device)
        self.order: int = config.options.order
        if self.order == 2 and config.arch_update == "joint":
            raise UsageError("order 2 looks ahead to a validation loss; arch_update=joint has none")
        if self.order == 2 and config.nesterov:
            raise UsageError("order 2 looks ahead by a step of plain momentum: leave out nesterov")

    def arch_step(
        self,
        net: nn.Module,
        train_batch: Batch,
        valid_batch: Batch,
        weight_optimizer: torch.optim.Optimizer,
    ) -> dict[str, float]:
        """Adam on the validation loss, at the weights (order 1) or one step ahead (order 2)."""
        if self.order == 1:
            return super().arch_step(net, train_batch, valid_batch, weight_optimizer)
        gradient, metrics = second_order(
            net, self.alphas, train_batch, valid_batch, weight_optimizer
        )
        self.alphas.step(gradient)
        return metrics


def second_order(
    net: nn.Module,
    alphas: Alphas,
    train_batch: Batch,
    valid_batch: Batch,
    weight_optimizer: torch.optim.Optimizer,
) -> tuple[tuple[Tensor, ...], dict[str, float]]:
    """The gradient through one virtual step of SGD (Liu et al. 2019, eq. 7 and 8).

    With xi, mu, lambda and the momentum m of `weight_optimizer`:
    w' = w - xi (mu m + grad_w L_train(w) + lambda w); v = grad L_valid(w'); eps = 0.01 / |v|;
    gradient = grad_alpha L_valid(w') - xi (grad_alpha L_train(w + eps v)
    - grad_alpha L_train(w - eps v)) / (2 eps). w is restored exactly from a copy.
    """
    images, labels = train_batch
    group = weight_optimizer.param_groups[0]
    xi, mu, decay = group["lr"], group["momentum"], group["weight_decay"]
    weights = list(net.parameters())
    saved = [weight.detach().clone() for weight in weights]

    def train_loss(mixture: dict[str, Tensor]) -> Tensor:
        return cross_entropy(net(images, mixture), labels)

    @torch.no_grad()
    def move_to(direction: list[Tensor] | None, scale: float = 0.0) -> None:
        for index, (weight, origin) in enumerate(zip(weights, saved, strict=True)):
            weight.copy_(origin if direction is None else origin.add(direction[index], alpha=scale))

    fixed = {group: value.detach() for group, value in alphas.softmax().items()}
    virtual = []
    for weight, gradient in zip(weights, _gradients(train_loss(fixed), weights), strict=True):
        momentum = weight_optimizer.state.get(weight, {}).get("momentum_buffer")
        direction = gradient.add(weight.detach(), alpha=decay)
        virtual.append(direction if momentum is None else direction.add(momentum, alpha=mu))
    move_to(virtual, -xi)
    loss, metrics = valid_loss(net, alphas.softmax(), valid_batch)
    both = _gradients(loss, [*weights, *alphas.values.values()])
    v, direct = both[: len(weights)], tuple(both[len(weights) :])
    norm = float(torch.stack([torch.linalg.vector_norm(part) for part in v]).norm())
    if norm == 0:  # then the second term vanishes too
        move_to(None)
        return direct, metrics
    eps = 0.01 / norm
    move_to(v, eps)
    with frozen(net):
        plus = alphas.gradient(train_loss(alphas.softmax()))
    move_to(v, -eps)
    with frozen(net):
        minus = alphas.gradient(train_loss(alphas.softmax()))
    move_to(None)
    return tuple(
        g - xi * (p - m) / (2 * eps) for g, p, m in zip(direct, plus, minus, strict=True)
    ), metrics


def _gradients(loss: Tensor, inputs: Sequence[Tensor]) -> list[Tensor]:
    # All ranks look ahead to the same weights.
    return distributed.average(gradients(loss, inputs))


PLUGIN = Darts
