"""Max pooling as an autograd function that keeps nothing: backward looks for the maximum again."""

from typing import Any

import torch
from torch import Tensor

from edarts.kernels.compiled import load_loops
from edarts.kernels.layout import dense


class MaxPool(torch.autograd.Function):
    """k x k windows, k odd, stride s, padded by k // 2: (N, C, H, W) -> (N, C, H', W')."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: int, stride: int) -> Tensor:
        ctx.save_for_backward(x)
        ctx.kernel, ctx.stride = kernel, stride
        rows = dense(x)
        batch, height, width, channels = rows.shape
        y = torch.empty(batch, -(-height // stride), -(-width // stride), channels)
        load_loops().max_pool(rows.numpy(), kernel, stride, y.numpy(), y.numpy(), True)
        return y.permute(0, 3, 1, 2)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None, None]:
        rows = dense(*ctx.saved_tensors)
        found = torch.empty_like(rows)
        load_loops().max_pool(
            rows.numpy(), ctx.kernel, ctx.stride, dense(g).numpy(), found.numpy(), False
        )
        return found.permute(0, 3, 1, 2), None, None
