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


class _EverySecond(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, offset: int) -> Tensor:
        ctx.shape, ctx.offset = x.shape, offset
        return x[:, :, offset::2, offset::2].contiguous(memory_format=torch.channels_last)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        spread = torch.empty(
            ctx.shape, dtype=g.dtype, device=g.device, memory_format=torch.channels_last
        ).zero_()
        spread[:, :, ctx.offset :: 2, ctx.offset :: 2] = g
        return spread, None


def concat(parts: list[Tensor]) -> Tensor:
    """(B, C_i, H, W) each -> (B, sum of C_i, H, W)."""
    if torch.is_grad_enabled() and not torch.compiler.is_compiling():
        return _Concat.apply(*parts)  # type: ignore[no-any-return, no-untyped-call]
    return torch.cat(parts, dim=1)


def every_second(x: Tensor, offset: int) -> Tensor:
    """(B, C, H, W) -> its rows and columns offset, offset + 2, ..."""
    if torch.is_grad_enabled() and not torch.compiler.is_compiling():
        return _EverySecond.apply(x, offset)  # type: ignore[no-any-return, no-untyped-call]
    return x[:, :, offset::2, offset::2]
