"""Twins of torch.cat and of strided slicing whose gradients stay channels-last and contiguous.

Autograd gives the parts of a concatenation views of its gradient, and a slice a gradient in plain
layout; every operation that meets such a tensor then takes its slow path.
"""

from typing import Any

import torch
from torch import Tensor


class _Concat(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *parts: Tensor) -> Tensor:
        ctx.sizes = [part.shape[1] for part in parts]
        return torch.cat(parts, dim=1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, ...]:
        return tuple(
            part.contiguous(memory_format=torch.channels_last) for part in g.split(ctx.sizes, dim=1)
        )


class _Halves(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        ctx.shape = x.shape
        even, odd = (x[:, :, offset::2, offset::2] for offset in (0, 1))
        return (
            even.contiguous(memory_format=torch.channels_last),
            odd.contiguous(memory_format=torch.channels_last),
        )

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, even: Tensor, odd: Tensor) -> Tensor:
        batch, channels, height, width = ctx.shape
        spread = even.new_empty(batch, height // 2, 2, width // 2, 2, channels)
        spread[:, :, 0, :, 0] = even.permute(0, 2, 3, 1)
        spread[:, :, 1, :, 1] = odd.permute(0, 2, 3, 1)
        spread[:, :, 0, :, 1] = 0
        spread[:, :, 1, :, 0] = 0
        return spread.view(batch, height, width, channels).permute(0, 3, 1, 2)


def concat(parts: list[Tensor]) -> Tensor:
    """(B, C_i, H, W) each -> (B, sum of C_i, H, W)."""
    if torch.is_grad_enabled() and not torch.compiler.is_compiling():
        return _Concat.apply(*parts)  # type: ignore[no-any-return, no-untyped-call]
    return torch.cat(parts, dim=1)


def halves(x: Tensor) -> tuple[Tensor, Tensor]:
    """(B, C, H, W), H and W even -> its even rows and columns, and its odd ones."""
    if torch.is_grad_enabled() and not torch.compiler.is_compiling():
        return _Halves.apply(x)  # type: ignore[no-any-return, no-untyped-call]
    return x[:, :, ::2, ::2], x[:, :, 1::2, 1::2]


def dense(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, H, W, C), contiguous; a view of channels-last memory."""
    return x.detach().permute(0, 2, 3, 1).contiguous()
