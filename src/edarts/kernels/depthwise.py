"""The backward pass of depthwise convolutions on the CPU.

Two replacements for oneDNN's, which takes 2 to 40 times as long as its own forward pass:
- the input's gradient at stride 1 is a forward convolution with the mirrored kernel; for dilated
  kernels at stride 2 too, after spreading the gradient out with zeros;
- the weight's gradient of 5 x 5 and dilated kernels, and of any kernel on small maps, is summed by
  compiled loops over channels-last rows.
"""

from functools import cache
from typing import Any

import torch
from numpy import empty, float32
from torch import Tensor
from torch.nn import functional

CHUNKS = 16  # partial sums; a fixed number, so that the result does not depend on the threads
SMALL_MAP = 4  # pixels; on maps up to this size oneDNN's weight gradient is the slower one


@cache
def _compiled() -> Any:
    """The loops, compiled on first use and cached on disk; importing numba costs a moment too."""
    import numba
    import numpy as np

    @numba.njit(parallel=True, cache=True, fastmath={"contract", "nsz", "arcp"})
    def weight_gradient(x, g, partial, k, s, d):  # type: ignore[no-untyped-def]
        """x (N, H, W, C), g (N, OH, OW, C) -> partial (CHUNKS, k * k, OW * C), to be summed.

        Every padded row is split into its s phases, so that the innermost loop runs over adjacent
        numbers whatever the stride; four rows are added at once, to save traffic.
        """
        count, height, width, channels = x.shape
        rows, columns = g.shape[1], g.shape[2]
        pad = d * (k - 1) // 2
        length = columns * channels
        phase_length = (columns + (d * (k - 1)) // s + 1) * channels
        for q in numba.prange(partial.shape[0]):
            total = partial[q]
            total[:] = 0
            padded = np.zeros((height + 2 * pad + s, s, phase_length), np.float32)
            for n in range(q * count // partial.shape[0], (q + 1) * count // partial.shape[0]):
                for h in range(height):
                    for w in range(width):
                        phase = (w + pad) % s
                        place = ((w + pad) // s) * channels
                        if place + channels <= phase_length:
                            for c in range(channels):
                                padded[h + pad, phase, place + c] = x[n, h, w, c]
                out = g[n].reshape(rows * length)
                for h in range(0, rows - 3, 4):
                    g0 = out[h * length : (h + 1) * length]
                    g1 = out[(h + 1) * length : (h + 2) * length]
                    g2 = out[(h + 2) * length : (h + 3) * length]
                    g3 = out[(h + 3) * length : (h + 4) * length]
                    for i in range(k):
                        row = h * s + i * d
                        for j in range(k):
                            phase = (j * d) % s
                            start = ((j * d) // s) * channels
                            t = total[i * k + j]
                            x0 = padded[row, phase, start : start + length]
                            x1 = padded[row + s, phase, start : start + length]
                            x2 = padded[row + 2 * s, phase, start : start + length]
                            x3 = padded[row + 3 * s, phase, start : start + length]
                            for m in range(length):
                                t[m] += (
                                    g0[m] * x0[m] + g1[m] * x1[m] + g2[m] * x2[m] + g3[m] * x3[m]
                                )
                for h in range(rows - rows % 4, rows):
                    g0 = out[h * length : (h + 1) * length]
                    for i in range(k):
                        for j in range(k):
                            start = ((j * d) // s) * channels
                            t = total[i * k + j]
                            x0 = padded[h * s + i * d, (j * d) % s, start : start + length]
                            for m in range(length):
                                t[m] += g0[m] * x0[m]

    return numba, weight_gradient


@torch.library.custom_op("edarts::depthwise_weight_gradient", mutates_args=())
def depthwise_weight_gradient(
    x: Tensor, g: Tensor, kernel: int, stride: int, dilation: int
) -> Tensor:
    """x (N, C, H, W), g (N, C, OH, OW), float32 -> gradient (C, 1, k, k) of the kernel."""
    numba, loops = _compiled()
    numba.set_num_threads(min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS))
    channels, columns = g.shape[1], g.shape[3]
    rows_x, rows_g = (t.detach().permute(0, 2, 3, 1).contiguous().numpy() for t in (x, g))
    partial = empty((CHUNKS, kernel * kernel, columns * channels), float32)
    loops(rows_x, rows_g, partial, kernel, stride, dilation)
    total = torch.from_numpy(partial).sum(0).view(kernel * kernel, columns, channels).sum(1)
    return total.t().reshape(channels, 1, kernel, kernel).contiguous()


@depthwise_weight_gradient.register_fake
def _(x: Tensor, g: Tensor, kernel: int, stride: int, dilation: int) -> Tensor:
    return x.new_empty(g.shape[1], 1, kernel, kernel)


class DepthwiseConv(torch.autograd.Function):
    """conv2d with groups = C, padding dilation (k - 1) / 2, and the backward pass of this file."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, dilation: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.dilation = stride, dilation
        ctx.padding = dilation * (weight.shape[-1] - 1) // 2
        return functional.conv2d(x, weight, None, stride, ctx.padding, dilation, weight.shape[0])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, weight = ctx.saved_tensors
        kernel, stride, dilation = weight.shape[-1], ctx.stride, ctx.dilation
        by_forward = stride == 1 or dilation > 1
        by_loops = kernel > 3 or dilation > 1 or g.shape[2] * g.shape[3] <= SMALL_MAP
        need_x, need_weight = ctx.needs_input_grad[:2]
        grad_x = grad_weight = None
        if need_x and by_forward:
            grad_x = _by_mirrored_kernel(x, g, weight, stride, dilation, ctx.padding)
        if need_weight and by_loops:
            grad_weight = depthwise_weight_gradient(x, g, kernel, stride, dilation)
        mask = [need_x and grad_x is None, need_weight and grad_weight is None, False]
        if mask[0] or mask[1]:
            plain = torch.ops.aten.convolution_backward(
                g,
                x,
                weight,
                None,
                [stride, stride],
                [ctx.padding, ctx.padding],
                [dilation, dilation],
                False,
                [0, 0],
                weight.shape[0],
                mask,
            )
            grad_x = plain[0] if mask[0] else grad_x
            grad_weight = plain[1] if mask[1] else grad_weight
        return grad_x, grad_weight, None, None


def _by_mirrored_kernel(
    x: Tensor, g: Tensor, weight: Tensor, stride: int, dilation: int, padding: int
) -> Tensor:
    if stride > 1:
        spread = torch.zeros_like(x)
        spread[:, :, ::stride, ::stride] = g
        g = spread
    return functional.conv2d(g, weight.flip(2, 3), None, 1, padding, dilation, weight.shape[0])
