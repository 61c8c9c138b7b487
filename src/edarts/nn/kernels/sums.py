"""Gradients that compiled loops add up in place."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from edarts.nn.kernels.layout import add_to, dense, empty


class Sum:
    """Where the nodes that read a tensor add up its gradient, in place, in one backward pass.

    Autograd would take a new tensor from each of them and add those up.
    """

    def __init__(self) -> None:
        self._value: Tensor | None = None
        self._pass = -1

    def put(self, value: Tensor | None) -> None:
        """Keep the sum so far."""
        self._value, self._pass = value, torch._C._current_graph_task_id()

    def room(self, shape: Sequence[int]) -> tuple[Tensor, bool]:
        """The sum as (N, H, W, C), to add to and then to `put`; whether it is still empty."""
        known = self.take()
        return (empty(*shape), True) if known is None else (known.permute(0, 2, 3, 1), False)

    def take(self) -> Tensor | None:
        """What was kept in this pass; what another one left, as it ended before, is forgotten."""
        known = self._value if self._pass == torch._C._current_graph_task_id() else None
        self._value = None
        return known


class ForkFunction(torch.autograd.Function):
    """A tensor as it is; its gradient is the `Sum` of the nodes and what all others give."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, total: Sum) -> Tensor:
        ctx.total = total
        ctx.set_materialize_grads(False)
        return x.view_as(x)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Tensor | None) -> tuple[Tensor | None, None]:
        known = ctx.total.take()
        if known is None or g is None:
            return (g if known is None else known), None
        add_to(known.permute(0, 2, 3, 1), dense(g))
        return known, None
