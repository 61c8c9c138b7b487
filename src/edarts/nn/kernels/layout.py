"""A twin of torch.cat whose gradients stay channels-last and contiguous.

Autograd gives the parts of a concatenation views of its gradient; every operation that meets such a
tensor then takes its slow path.
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


def concat(parts: list[Tensor]) -> Tensor:
    """(B, C_i, H, W) each -> (B, sum of C_i, H, W)."""
    if torch.is_grad_enabled() and not torch.compiler.is_compiling():
        return _Concat.apply(*parts)  # type: ignore[no-any-return, no-untyped-call]
    return torch.cat(parts, dim=1)


def dense(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, H, W, C), contiguous; a view of channels-last memory."""
    return x.detach().permute(0, 2, 3, 1).contiguous()
