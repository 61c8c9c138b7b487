"""The gradients of depthwise convolutions on the CPU.

Two replacements for oneDNN's, which take 2 to 40 times as long as its own forward pass:
- the input's gradient at stride 1 is a forward convolution with the mirrored kernel; for dilated
  kernels at stride 2 too, after spreading the gradient out with zeros;
- the weight's gradient of 5 x 5 and dilated kernels, and of any kernel on small maps, is summed by
  compiled loops over channels-last rows.
Anything else is oneDNN's.
"""

import torch
from torch import Tensor
from torch.nn import functional

from edarts.kernels.compiled import load_loops

SMALL_MAP = 4  # pixels; on maps up to this size oneDNN's weight gradient is the slower one


def convolve(x: Tensor, weight: Tensor, stride: int, dilation: int) -> Tensor:
    """(N, C, H, W), (C, 1, k, k) -> (N, C, ceil(H / s), ceil(W / s)): each channel alone."""
    padding = dilation * (weight.shape[-1] - 1) // 2
    return functional.conv2d(x, weight, None, stride, padding, dilation, weight.shape[0])


def input_gradient(x: Tensor, g: Tensor, weight: Tensor, stride: int, dilation: int) -> Tensor:
    """The gradient of `convolve`'s x, from that of its result."""
    if stride == 1 or dilation > 1:
        if stride > 1:
            spread = torch.zeros_like(x)
            spread[:, :, ::stride, ::stride] = g
            g = spread
        return convolve(g, weight.flip(2, 3), 1, dilation)
    return _plain(x, g, weight, stride, dilation, 0)


def weight_gradient(x: Tensor, g: Tensor, weight: Tensor, stride: int, dilation: int) -> Tensor:
    """The gradient of `convolve`'s weight, from that of its result."""
    kernel = weight.shape[-1]
    if kernel <= 3 and dilation == 1 and g.shape[2] * g.shape[3] > SMALL_MAP:
        return _plain(x, g, weight, stride, dilation, 1)
    result = torch.empty(weight.shape)
    rows_x, rows_g = (t.detach().permute(0, 2, 3, 1).contiguous().numpy() for t in (x, g))
    load_loops().depthwise_weight_gradient(rows_x, rows_g, result[:, 0].numpy(), stride, dilation)
    return result


def _plain(x: Tensor, g: Tensor, weight: Tensor, stride: int, dilation: int, which: int) -> Tensor:
    """oneDNN's gradient of input (0) or weight (1)."""
    padding = dilation * (weight.shape[-1] - 1) // 2
    result: tuple[Tensor, ...] = torch.ops.aten.convolution_backward(
        g,
        x,
        weight,
        None,
        [stride, stride],
        [padding, padding],
        [dilation, dilation],
        False,
        [0, 0],
        weight.shape[0],
        [which == 0, which == 1, False],
    )
    return result[which]
