"""Fast CPU paths, each equal to its plain PyTorch twin, and the one rule that picks them."""

import os

import torch
from torch import Tensor
from torch.nn import functional

from edarts.kernels.depthwise import DepthwiseConv
from edarts.kernels.layout import concat, every_second

__all__ = ["concat", "depthwise_conv2d", "enabled", "every_second", "pointwise_conv2d", "warm_up"]

FEW_PIXELS = 4096  # B * H * W; up to here a matrix product starts quicker than a convolution


def enabled() -> bool:
    """Whether fast paths may be taken; EDARTS_KERNELS=off takes none."""
    return os.environ.get("EDARTS_KERNELS", "on") != "off"


def warm_up() -> None:
    """Load and run the compiled loops once, before anything else is computed.

    Otherwise a run and its resumed half differ: the last bit of PyTorch's own results has been seen
    to change when Numba is first loaded (numba 0.68, torch 2.13).
    """
    if enabled():
        ones = torch.ones(1, 1, 3, 3)
        torch.ops.edarts.depthwise_weight_gradient(ones, ones, 3, 1, 1)


def depthwise_conv2d(x: Tensor, weight: Tensor, stride: int, dilation: int) -> Tensor:
    """(B, C, H, W) and (C, 1, k, k) -> (B, C, ceil(H / stride), ceil(W / stride)), k odd.

    Equal to `conv2d` with groups = C and padding dilation (k - 1) / 2. oneDNN's forward pass is
    as fast as the machine allows; its backward pass is not, and is replaced where gradients of
    float32 on the CPU are asked for. Anything else is plain PyTorch.
    """
    if (
        x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and torch.is_grad_enabled()
        and (x.requires_grad or weight.requires_grad)
        and x.numel() > 0
        and not torch.compiler.is_compiling()
        and enabled()
    ):
        return DepthwiseConv.apply(x, weight, stride, dilation)  # type: ignore[no-any-return, no-untyped-call]
    return functional.conv2d(
        x,
        weight,
        stride=stride,
        padding=dilation * (weight.shape[-1] - 1) // 2,
        dilation=dilation,
        groups=weight.shape[0],
    )


def pointwise_conv2d(x: Tensor, weight: Tensor) -> Tensor:
    """(B, C, H, W) and (D, C, 1, 1) -> (B, D, H, W): a 1 x 1 convolution.

    On few pixels it is computed as the matrix product that it is.
    """
    batch, _, height, width = x.shape
    if x.device.type == "cpu" and batch * height * width <= FEW_PIXELS and enabled():
        return functional.linear(x.permute(0, 2, 3, 1), weight.flatten(1)).permute(0, 3, 1, 2)
    return functional.conv2d(x, weight)
