"""The modules of the operations, and what a module counts: parameters and multiply-adds.

Names, kinds and costs of operations are in `edarts.space.operations`.

Source: DARTS (Liu et al., ICLR 2019), the candidate operations of its cell. Shapes: B images,
C channels, H x W pixels. Every operation maps (B, C, H, W) to (B, C, ceil(H / s), ceil(W / s)) for
stride s = 1 or 2.

An operation that begins with a ReLU in the paper leaves it out here and says `reads_relu = True`:
the cell hands it relu(source), and one ReLU serves every operation that leaves a source; or the
node that takes the operation apart computes it on the way (`Normed`).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from edarts import registry
from edarts.errors import UsageError
from edarts.nn.kernels import (
    FeatureMap,
    SeparableStage,
    Term,
    average_pool2d,
    max_pool2d,
    node,
    pointwise_conv2d,
)
from edarts.space import operations

Builder = Callable[[int, int, bool, int], nn.Module]
"""(channels, stride, affine, channels of the source) -> the module of an operation."""


class Depthwise(nn.Conv2d):
    """k x k convolution of each channel alone."""

    def __init__(self, channels: int, kernel: int, stride: int, dilation: int) -> None:
        super().__init__(
            channels,
            channels,
            kernel,
            stride=stride,
            padding=dilation * (kernel - 1) // 2,
            dilation=dilation,
            groups=channels,
            bias=False,
        )


class Pointwise(nn.Conv2d):
    """1 x 1 convolution, by the fast path where there is one."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(channels_in, channels_out, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return pointwise_conv2d(x, self.weight)


class MaxPool(nn.Module):
    """k x k max pooling, k odd, by the fast path where there is one."""

    def __init__(self, kernel: int, stride: int) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, source: FeatureMap) -> Tensor:
        total = source.sums[0] if len(source.parts) == 1 else None
        return max_pool2d(source.x, self.kernel, self.stride, total)


class AveragePool(nn.Module):
    """k x k average pooling, k odd, of what lies within the image, by the fast path if any."""

    def __init__(self, kernel: int, stride: int) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, source: FeatureMap) -> Tensor:
        total = source.sums[0] if len(source.parts) == 1 else None
        return average_pool2d(source.x, self.kernel, self.stride, total)


class Normed(nn.Module, ABC):
    """An operation that a node takes apart: convolutions and a last norm, as a `Term`."""

    reads_relu = True

    @abstractmethod
    def term(self, source: FeatureMap) -> Term:
        """The operation on the source, with the ReLU that it begins with: not yet computed."""

    def forward(self, x: Tensor | FeatureMap) -> Tensor:
        return node([self.term(x if isinstance(x, FeatureMap) else FeatureMap(x))])


class DilConv(Normed):
    """Depthwise k x k convolution, 1 x 1 convolution, norm, once.

    Parameters C -> C with an affine norm: C k^2 + C^2 + 2 C. `channels_in`: those of the source,
    if they are not C.
    """

    def __init__(
        self,
        channels: int,
        kernel: int,
        stride: int,
        affine: bool,
        dilation: int = 2,
        channels_in: int | None = None,
    ) -> None:
        super().__init__()
        source = channels_in or channels
        self.depthwise = Depthwise(source, kernel, stride, dilation)
        self.pointwise = Pointwise(source, channels)
        self.norm = nn.BatchNorm2d(channels, affine=affine)

        # At stride 2 a kernel dilated by 2 meets even rows and columns alone.
        self.reads_half = stride == dilation == 2

    def stage(self, before: nn.BatchNorm2d | None = None) -> SeparableStage:
        """The convolutions of relu(x); with `before`, of relu(before(x))."""
        wide, narrow = self.depthwise, self.pointwise
        stride, dilation = (1, 1) if self.reads_half else (wide.stride[0], wide.dilation[0])
        return SeparableStage(wide.weight, narrow.weight, stride, dilation, before)

    def reads(self, source: FeatureMap) -> FeatureMap:
        """The feature map, or half of it, that the stage is computed on."""
        return source.halves[0] if self.reads_half else source

    def term(self, source: FeatureMap) -> Term:
        return Term(self.reads(source), (self.stage(),), self.norm)


class SepConv(Normed):
    """Separable convolution, applied twice: (depthwise k x k, 1 x 1, norm), ReLU, and again.

    Parameters C -> C with affine norms: 2 C k^2 + 2 C^2 + 4 C. `channels_in`: those of the source,
    if they are not C.
    """

    def __init__(
        self,
        channels: int,
        kernel: int,
        stride: int,
        affine: bool,
        dilation: int = 1,
        channels_in: int | None = None,
    ) -> None:
        super().__init__()
        self.first = DilConv(channels, kernel, stride, affine, dilation, channels_in)
        self.second = DilConv(channels, kernel, 1, affine, dilation)

    def term(self, source: FeatureMap) -> Term:
        stages = (self.first.stage(), self.second.stage(before=self.first.norm))
        return Term(self.first.reads(source), stages, self.second.norm)


class Pooling(Normed):
    """3 x 3 max or average pooling, padding not counted; in a supernet a norm follows.

    The norm has neither scale nor shift, so a pool has no parameters in either form. A source of
    another width, `channels_in`, is brought to C by a 1 x 1 convolution and a norm after the pool.
    """

    reads_relu = False

    def __init__(
        self,
        kind: str,
        channels: int,
        stride: int,
        normed: bool,
        channels_in: int | None = None,
    ) -> None:
        super().__init__()
        self.pool: nn.Module = MaxPool(3, stride) if kind == "max" else AveragePool(3, stride)
        self.norm: nn.Module = nn.BatchNorm2d(channels, affine=False) if normed else nn.Identity()
        if channels_in is not None and channels_in != channels:
            widen = Pointwise(channels_in, channels)
            self.norm = nn.Sequential(widen, nn.BatchNorm2d(channels, affine=not normed))

    def term(self, source: FeatureMap) -> Term:
        known = isinstance(self.pool, MaxPool | AveragePool)
        value = self.pool(source if known else source.x)
        if isinstance(self.norm, nn.Sequential):
            value = self.norm[0](value)
        last = self.norm[1] if isinstance(self.norm, nn.Sequential) else self.norm
        return Term(
            FeatureMap.shared(value), norm=last if isinstance(last, nn.BatchNorm2d) else None
        )


class FactorizedReduce(Normed):
    """Halve H and W by two 1 x 1 convolutions of stride 2, the second one pixel further; norm.

    Odd sizes are padded at the bottom and right, so that both halves have ceil(H / 2) rows.
    Parameters a -> b with an affine norm: a b + 2 b.
    """

    def __init__(self, channels_in: int, channels_out: int, affine: bool) -> None:
        super().__init__()
        self.here = Pointwise(channels_in, channels_out // 2)
        self.shifted = Pointwise(channels_in, channels_out - channels_out // 2)
        self.norm = nn.BatchNorm2d(channels_out, affine=affine)

    def term(self, source: FeatureMap) -> Term:
        stage = SeparableStage(None, self.here.weight, shifted=self.shifted.weight)
        return Term(source, (stage,), self.norm)


class Identity(nn.Module):
    """The source itself. Drop path leaves it alone (methods: DARTS retraining)."""

    reads_relu = False

    def forward(self, x: Tensor) -> Tensor:
        return x


class Conv(nn.Sequential):
    """Plain convolutions and norms one after the other; the ReLU before the first is the cell's."""

    reads_relu = True


def _skip(channels: int, stride: int, affine: bool, channels_in: int) -> nn.Module:
    if stride == 2:
        return FactorizedReduce(channels_in, channels, affine)
    if channels_in == channels:
        return Identity()
    return _conv_1x1(channels, stride, affine, channels_in)


def _conv_1x1(channels: int, stride: int, affine: bool, channels_in: int) -> Conv:
    return Conv(*_layer(channels_in, channels, (1, 1), (stride, stride), affine))


def _conv_7x1_1x7(channels: int, stride: int, affine: bool, channels_in: int) -> Conv:
    """1 x 7, 7 x 1, norm. Parameters C -> C with an affine norm: 14 C^2 + 2 C."""
    row = _layer(channels_in, channels, (1, 7), (1, stride), affine)[0]
    return Conv(row, *_layer(channels, channels, (7, 1), (stride, 1), affine))


def _bottleneck(*kernels: tuple[int, int]) -> Builder:
    """1 x 1 to C / 4, convolutions of these `kernels` (rows, columns), 1 x 1 back to C.

    Each is followed by a norm, with ReLUs between. The stride falls on a kernel's longer side.
    """

    def conv(channels: int, stride: int, affine: bool, channels_in: int) -> Conv:
        inner = max(1, channels // 4)
        layers = _layer(channels_in, inner, (1, 1), (1, 1), affine)
        for kernel in kernels:
            strides = (stride if kernel[0] > 1 else 1, stride if kernel[1] > 1 else 1)
            layers += [nn.ReLU(), *_layer(inner, inner, kernel, strides, affine)]
        return Conv(*layers, nn.ReLU(), *_layer(inner, channels, (1, 1), (1, 1), affine))

    return conv


def _layer(
    channels_in: int,
    channels_out: int,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    affine: bool,
) -> list[nn.Module]:
    """A k x l convolution that keeps the size at stride 1, and its norm."""
    padding = (kernel[0] // 2, kernel[1] // 2)
    conv = nn.Conv2d(channels_in, channels_out, kernel, stride, padding, bias=False)
    return [conv, nn.BatchNorm2d(channels_out, affine=affine)]


def _max_pool_2x2(channels: int, stride: int, affine: bool, channels_in: int) -> Pooling:
    pool = Pooling("max", channels, stride, not affine, channels_in)
    # The last row and column stand in for those beyond the edge: their maximum stays the same.
    pool.pool = nn.Sequential(nn.ReplicationPad2d((0, 1, 0, 1)), nn.MaxPool2d(2, stride))
    return pool


def _pool(kind: str) -> Builder:
    return lambda c, s, affine, source: Pooling(kind, c, s, not affine, source)


def _separable(kernel: int, dilation: int = 1) -> Builder:
    return lambda c, s, affine, source: SepConv(c, kernel, s, affine, dilation, source)


def _dilated(kernel: int) -> Builder:
    return lambda c, s, affine, source: DilConv(c, kernel, s, affine, 2, source)


BUILDERS: dict[str, Builder] = {
    "max_pool_3x3": _pool("max"),
    "avg_pool_3x3": _pool("avg"),
    "skip_connect": _skip,
    "sep_conv_3x3": _separable(3),
    "sep_conv_5x5": _separable(5),
    "dil_conv_3x3": _dilated(3),
    "dil_conv_5x5": _dilated(5),
    "sep_conv_7x7": _separable(7),
    "dil_sep_conv_5x5": _separable(5, dilation=2),
    "max_pool_2x2": _max_pool_2x2,
    "conv_1x1": _conv_1x1,
    "conv_3x3": _bottleneck((3, 3)),
    "conv_1x7_7x1": _bottleneck((1, 7), (7, 1)),
    "conv_7x1_1x7": _conv_7x1_1x7,
}
"""How each built-in operation of `space.operations` is built; `none` has no module."""


def build(
    name: str | operations.Operation,
    channels: int,
    stride: int,
    affine: bool,
    channels_in: int | None = None,
) -> nn.Module:
    """The module of operation `name`, (B, C, H, W) -> (B, C, ceil(H/stride), ceil(W/stride)).

    `affine=False` is the supernet's form: norms have no scale and shift, and pools are followed by
    one. `channels_in`: those of the source, if they are not C. `none` has no module: leave it out.
    Raises UsageError for an unknown name.
    """
    operation = operations.get(name)
    builder = operation.build
    if builder is None:
        raise UsageError(f"operation '{operation.name}' has no module; leave its edge out")
    if isinstance(builder, str):
        builder = registry.locate(builder)
    return cast(Builder, builder)(channels, stride, affine, channels_in or channels)


def count_parameters(module: nn.Module) -> int:
    """Number of parameters, those of an auxiliary head left out as every DARTS paper does."""
    return sum(p.numel() for n, p in module.named_parameters() if "auxiliary" not in n)


def count_flops(module: nn.Module, image: tuple[int, int, int], *args: Any) -> int:
    """Multiply-adds of one forward pass for one (C, H, W) image: convolutions and linear layers.

    Further `args` go to the module's forward. The module is left as it was.
    """
    was_training = module.training
    module.eval()
    parameter = next(module.parameters(), None)
    device = parameter.device if parameter is not None else torch.device("cpu")
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            module(torch.zeros(1, *image, device=device), *args)
    finally:
        module.train(was_training)
    return int(counter.get_total_flops()) // 2
