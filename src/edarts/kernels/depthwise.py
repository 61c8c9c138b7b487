"""The gradients of depthwise convolutions on the CPU.

Two replacements for oneDNN's, which take 2 to 40 times as long as its own forward pass:
- the input's gradient at stride 1 is a forward convolution with the mirrored kernel; at other
  strides it is summed by compiled loops;
- the weight's gradient of 5 x 5 and dilated kernels, and of any kernel on small maps, is summed by
  compiled loops over channels-last rows.
Anything else is oneDNN's.
"""

import numpy as np
import torch
from numpy.typing import NDArray
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
    if stride == 1:
        return convolve(g, weight.flip(2, 3), 1, dilation)
    result = torch.empty_like(x, memory_format=torch.channels_last)
    load_loops().depthwise_input_gradient(
        _rows(g), weight.detach()[:, 0].contiguous().numpy(), _rows(result), stride, dilation
    )
    return result


def weight_gradient(x: Tensor, g: Tensor, weight: Tensor, stride: int, dilation: int) -> Tensor:
    """The gradient of `convolve`'s weight, from that of its result."""
    kernel = weight.shape[-1]
    if kernel <= 3 and dilation == 1 and g.shape[2] * g.shape[3] > SMALL_MAP:
        return _plain(x, g, weight, stride, dilation)
    result = torch.empty(weight.shape)
    load_loops().depthwise_weight_gradient(
        _rows(x), _rows(g), result[:, 0].numpy(), stride, dilation
    )
    return result


def _rows(x: Tensor) -> NDArray[np.float32]:
    """(N, C, H, W) -> (N, H, W, C), a view of channels-last memory."""
    return x.detach().permute(0, 2, 3, 1).contiguous().numpy()


def _plain(x: Tensor, g: Tensor, weight: Tensor, stride: int, dilation: int) -> Tensor:
    """oneDNN's gradient of the weight."""
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
        [False, True, False],
    )
    return result[1]
