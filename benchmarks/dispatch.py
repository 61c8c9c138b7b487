"""What PyTorch takes to call a kernel and its backward pass: `python benchmarks/dispatch.py`.

Compares an autograd function, as the kernels are, with the same registered as a custom operator
(torch.library). Both do next to nothing, so the time is that of the call: medians, in turn.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

ROUNDS = 1000


class Product(torch.autograd.Function):
    """x * w."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
        ctx.save_for_backward(x, w)
        return x * w

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor]:
        x, w = ctx.saved_tensors
        return g * w, g * x


@torch.library.custom_op("dispatch::product", mutates_args=())
def product(x: Tensor, w: Tensor) -> Tensor:
    """x * w."""
    return x * w


@torch.library.custom_op("dispatch::product_gradient", mutates_args=())
def product_gradient(g: Tensor, x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of x and w."""
    return g * w, g * x


product.register_autograd(
    lambda ctx, g: product_gradient(g, *ctx.saved_tensors),
    setup_context=lambda ctx, inputs, output: ctx.save_for_backward(*inputs),
)


def main() -> None:
    """Print both medians."""
    x, w = (torch.ones(16, requires_grad=True) for _ in range(2))
    ways: dict[str, Callable[..., Tensor]] = {
        "autograd function": Product.apply,
        "custom operator": product,
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, call in ways.items():
            start = time.perf_counter()
            call(x, w).sum().backward()
            times[name].append(time.perf_counter() - start)
    for name, taken in times.items():
        print(f"{name:17}  {statistics.median(taken) * 1e6:.0f} us")


if __name__ == "__main__":
    main()
