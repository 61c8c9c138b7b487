"""Pooling, and the even and odd pixels of a map, as autograd functions of compiled loops.

Max pooling keeps nothing: backward looks for the maximum again. Where the source was forked,
backward adds to its `Sum`.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from edarts.nn.kernels.compiled import fast, load_loops, now
from edarts.nn.kernels.layout import dense, empty
from edarts.nn.kernels.sums import Sum


class MaxPoolFunction(torch.autograd.Function):
    """k x k windows, k odd, stride s, padded by k // 2: (N, C, H, W) -> (N, C, H', W')."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: int, stride: int, total: Sum | None) -> Tensor:
        ctx.save_for_backward(x)
        ctx.kernel, ctx.stride, ctx.total = kernel, stride, total
        rows = dense(x)
        batch, height, width, channels = rows.shape
        y = empty(batch, -(-height // stride), -(-width // stride), channels)
        load_loops().max_pool(rows.numpy(), kernel, stride, y.numpy(), y.numpy(), True, True)
        return y.permute(0, 3, 1, 2)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, None, None, None]:
        rows = dense(*ctx.saved_tensors)
        out, fresh = (ctx.total or Sum()).room(rows.shape)
        load_loops().max_pool(
            rows.numpy(), ctx.kernel, ctx.stride, dense(g).numpy(), out.numpy(), False, fresh
        )
        return given_to(ctx.total, out), None, None, None


class AveragePoolFunction(torch.autograd.Function):
    """k x k windows, k odd, stride s, of what of them lies in x: (N, C, H, W) -> (N, C, H', W')."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: int, stride: int, total: Sum | None) -> Tensor:
        rows = dense(x)
        ctx.shape, ctx.kernel, ctx.stride, ctx.total = rows.shape, kernel, stride, total
        batch, height, width, channels = rows.shape
        y = empty(batch, -(-height // stride), -(-width // stride), channels)
        load_loops().average_pool(rows.numpy(), kernel, stride, y.numpy(), y.numpy(), True, True)
        return y.permute(0, 3, 1, 2)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, None, None, None]:
        out, fresh = (ctx.total or Sum()).room(ctx.shape)
        load_loops().average_pool(
            out.numpy(), ctx.kernel, ctx.stride, dense(g).numpy(), out.numpy(), False, fresh
        )
        return given_to(ctx.total, out), None, None, None


class HalvesFunction(torch.autograd.Function):
    """Even rows and columns, and odd ones, with zeros past the end: ceil(H / 2) of each."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, total: Sum | None) -> tuple[Tensor, Tensor]:
        ctx.total = total
        rows = dense(x)
        batch, height, width, channels = ctx.shape = rows.shape
        even, odd = (empty(batch, -(-height // 2), -(-width // 2), channels) for _ in range(2))
        load_loops().halves(rows.numpy(), even.numpy(), odd.numpy(), True, True)
        return even.permute(0, 3, 1, 2), odd.permute(0, 3, 1, 2)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, even: Tensor, odd: Tensor) -> tuple[Tensor | None, None]:
        out, fresh = (ctx.total or Sum()).room(ctx.shape)
        even, odd = dense(even), dense(odd)
        load_loops().halves(out.numpy(), even.numpy(), odd.numpy(), False, fresh)
        return given_to(ctx.total, out), None


class MeanFunction(torch.autograd.Function):
    """The mean of all pixels, after a ReLU if `rectified`: (N, C, H, W) -> (N, C)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rectified: bool, total: Sum | None) -> Tensor:
        ctx.save_for_backward(x)
        ctx.rectified, ctx.total = rectified, total
        rows = dense(x)
        y = empty(len(x), x.shape[1])
        load_loops().pixel_means(rows.numpy(), rectified, y.numpy(), y.numpy(), True, True)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, None, None]:
        rows = dense(*ctx.saved_tensors)
        out, fresh = (ctx.total or Sum()).room(rows.shape)
        load_loops().pixel_means(
            rows.numpy(), ctx.rectified, g.contiguous().numpy(), out.numpy(), False, fresh
        )
        return given_to(ctx.total, out), None, None


def given_to(total: Sum | None, rows: Tensor) -> Tensor | None:
    """Put a gradient (N, H, W, C) into the sum; without one it is autograd's."""
    gradient = rows.permute(0, 3, 1, 2)
    if total is None:
        return gradient
    total.put(gradient)
    return None


def max_pool2d(x: Tensor, kernel: int, stride: int, total: Sum | None = None) -> Tensor:
    """(B, C, H, W) -> (B, C, ceil(H / s), ceil(W / s)): the largest of each window, k odd.

    `total`: where the gradient of x goes, if it was forked.
    """
    if now.plan is not None:
        return now.plan.pool("max", x, kernel, stride)  # type: ignore[no-any-return]
    if fast(x):
        return MaxPoolFunction.apply(x, kernel, stride, total)  # type: ignore[no-any-return, no-untyped-call]
    return functional.max_pool2d(x, kernel, stride, kernel // 2)


def average_pool2d(x: Tensor, kernel: int, stride: int, total: Sum | None = None) -> Tensor:
    """(B, C, H, W) -> (B, C, ceil(H / s), ceil(W / s)): the mean of what each window has of x.

    `kernel`: odd. `total`: where the gradient of x goes, if it was forked.
    """
    if now.plan is not None:
        return now.plan.pool("average", x, kernel, stride)  # type: ignore[no-any-return]
    if fast(x):
        return AveragePoolFunction.apply(x, kernel, stride, total)  # type: ignore[no-any-return, no-untyped-call]
    return functional.avg_pool2d(x, kernel, stride, kernel // 2, count_include_pad=False)


def global_mean(x: Tensor, rectified: bool) -> Tensor:
    """(B, C, H, W) -> (B, C): the mean of all pixels, after a ReLU if `rectified`."""
    if now.plan is not None:
        return now.plan.global_mean(x, rectified)  # type: ignore[no-any-return]
    return functional.adaptive_avg_pool2d(torch.relu(x) if rectified else x, 1).flatten(1)


def halves(x: Tensor, total: Sum | None = None) -> tuple[Tensor, Tensor]:
    """(B, C, H, W) -> its even rows and columns, and odd ones, with zeros past its end."""
    if now.plan is not None:
        return now.plan.halves(x)  # type: ignore[no-any-return]
    if fast(x):
        return HalvesFunction.apply(x, total)  # type: ignore[no-any-return, no-untyped-call]
    height, width = x.shape[-2:]
    if height % 2 or width % 2:
        x = functional.pad(x, (0, width % 2, 0, height % 2))
    return x[:, :, ::2, ::2], x[:, :, 1::2, 1::2]
