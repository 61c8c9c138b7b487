"""What a node of a cell sums up: feature maps, the stages that they pass, and norms at work."""

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from edarts.nn.kernels.compiled import fast, load_loops
from edarts.nn.kernels.layout import Floats, concat, dense, flat, pixels
from edarts.nn.kernels.pools import MeanFunction, global_mean, halves
from edarts.nn.kernels.sums import ForkFunction, Sum


class FeatureMap:
    """A value (B, C, H, W) and what operations read of it, each made once.

    It comes in `parts` (B, C_i, H, W) side by side, as cells hand on their nodes: whoever can reads
    them where they lie, so that they are never copied into one tensor. `sums`: of those parts that
    were forked, in the same order.
    """

    def __init__(self, *parts: Tensor, sums: Sequence[Sum | None] = ()) -> None:
        self.parts = parts
        self.sums = tuple(sums) or (None,) * len(parts)
        self._norms: dict[int, Norm] = {}
        self._plain: dict[int, Tensor] = {}

    @classmethod
    def shared(cls, *parts: Tensor) -> "FeatureMap":
        """A source for many nodes: on the fast path they add up its gradient in place."""
        sums = [Sum() if fast(part) and part.requires_grad else None for part in parts]
        forked = [
            part if total is None else ForkFunction.apply(part, total)  # type: ignore[no-untyped-call]
            for part, total in zip(parts, sums, strict=True)
        ]
        return cls(*forked, sums=sums)

    @classmethod
    def beside(cls, sources: "Sequence[FeatureMap]") -> "FeatureMap":
        """Sources side by side."""
        parts = [part for source in sources for part in source.parts]
        return cls(*parts, sums=[total for source in sources for total in source.sums])

    @cached_property
    def x(self) -> Tensor:
        """The value as one tensor."""
        return self.parts[0] if len(self.parts) == 1 else concat(list(self.parts))

    @cached_property
    def relu(self) -> Tensor:
        """relu(x)."""
        return torch.relu(self.x)

    @cached_property
    def halves(self) -> "tuple[FeatureMap, FeatureMap]":
        """Even rows and columns of x; odd ones, with zeros past its end: ceil(H / 2)."""
        evens, odds = [], []
        for part, total in zip(self.parts, self.sums, strict=True):
            even, odd = halves(part, total)
            evens.append(even)
            odds.append(odd)
        return FeatureMap.shared(*evens), FeatureMap.shared(*odds)

    def means(self, rectified: bool) -> list[Tensor]:
        """`global_mean` of x: (B, C_i) of each part, by the fast path if there is one."""
        if not fast(*self.parts):
            return [global_mean(self.x, rectified)]
        both = zip(self.parts, self.sums, strict=True)
        return [MeanFunction.apply(part, rectified, total) for part, total in both]  # type: ignore[no-untyped-call]

    def normed(self, norm: nn.BatchNorm2d) -> "Norm":
        """`norm` at work on x; its running moments move once, however many edges read it."""
        if id(norm) not in self._norms:
            x = dense(self.x)
            self._norms[id(norm)] = Norm.of(moments_of(x), pixels(x), norm)
        return self._norms[id(norm)]

    def plain_normed(self, norm: nn.BatchNorm2d) -> Tensor:
        """norm(x) in plain PyTorch; its running moments move once, as in `normed`."""
        if id(norm) not in self._plain:
            self._plain[id(norm)] = norm(self.x)
        return self._plain[id(norm)]


class SeparableStage(NamedTuple):
    """Norm, if any; ReLU; depthwise convolution, if any; 1 x 1 convolution.

    `depthwise`: (C, 1, k, k), k odd; `pointwise`: (D, C, 1, 1). `stride` and `dilation` are the
    depthwise one's. With `shifted` (D', C, 1, 1), first of its term and without a depthwise one, it
    halves H and W: `pointwise` of the even rows and columns beside `shifted` of the odd ones.
    """

    depthwise: Tensor | None
    pointwise: Tensor
    stride: int = 1
    dilation: int = 1
    norm: nn.BatchNorm2d | None = None
    shifted: Tensor | None = None

    @property
    def weights(self) -> list[Tensor]:
        """Its convolutions'."""
        return [w for w in (self.depthwise, self.pointwise, self.shifted) if w is not None]


class Term(NamedTuple):
    """What an edge adds to its node: the source's x through `stages`, then through `norm`."""

    source: FeatureMap
    stages: tuple[SeparableStage, ...] = ()
    norm: nn.BatchNorm2d | None = None

    def norms(self) -> list[nn.BatchNorm2d]:
        """All norms that the term passes."""
        return [n for n in (*(stage.norm for stage in self.stages), self.norm) if n is not None]

    def parameters(self) -> list[Tensor]:
        """All parameters that the term passes."""
        found = [weight for stage in self.stages for weight in stage.weights]
        scales = [t for norm in self.norms() for t in (norm.weight, norm.bias)]
        return [*found, *(t for t in scales if t is not None)]

    def reads(self) -> FeatureMap:
        """What it is computed on: in parts of one shape, where the first stage can take parts."""
        source = self.source
        if self.stages and self.stages[0].shifted is not None:
            return FeatureMap.beside(source.halves)
        whole = not self.stages or self.stages[0].norm is not None
        if len({part.shape for part in source.parts}) > 1 or (whole and len(source.parts) > 1):
            return FeatureMap(source.x)
        return source


NOTHING = np.empty(0, np.float32)
UNCOUNTED = np.empty(0, np.int64)
ONE = np.ones(1, np.float32)


class Norm(NamedTuple):
    """A batch norm at work, scale * y + shift.

    `at` (4, C): mean, s = 1 / standard deviation, scale, shift. `weight`, `bias` (C,), empty if it
    has none.
    """

    at: Floats
    weight: Floats
    bias: Floats

    @classmethod
    def of(cls, moments: Floats, rows: int, norm: nn.BatchNorm2d) -> "Norm":
        """With `moments` (2, C), mean and biased variance; moves the running ones to them."""
        running_mean = running_var = weight = bias = NOTHING
        counter, momentum = UNCOUNTED, 0.0
        # Each attribute is asked for once: a module searches for it.
        mean, var, scale = norm.running_mean, norm.running_var, norm.weight
        if mean is not None and var is not None:
            counted = norm.num_batches_tracked
            assert counted is not None
            counter = counted.view(1).numpy()
            momentum = -1.0 if norm.momentum is None else norm.momentum
            running_mean, running_var = mean.numpy(), var.numpy()
        if scale is not None:
            weight, bias = scale.detach().numpy(), norm.bias.detach().numpy()
        at = np.empty((4, moments.shape[1]), np.float32)
        load_loops().norm(
            moments, rows, norm.eps, momentum, counter, running_mean, running_var, weight, bias, at
        )
        return cls(at, weight, bias)


class NormGrad(NamedTuple):
    """The gradient of a tensor y (N, H, W, C), p * grad + q * y + r, before it is added up.

    `pqr` (3, C).
    """

    grad: Tensor
    pqr: Floats


NO_NORM = Norm(np.empty((4, 0), np.float32), NOTHING, NOTHING)


def norm_gradient(
    norm: Norm,
    grad: Tensor,
    sums: tuple[Floats, Floats],
    factors: Floats = ONE,
    place: int = 0,
    parameters: bool = False,
) -> tuple[NormGrad, Floats]:
    """Of y, if that of factors[place] * norm is `grad`; `sums`: see `loops.norm_grad_factors`.

    And those of the norm's weight and bias (2, C); without columns, if `parameters` is false.
    """
    sum_grad, sum_grad_y = sums
    pqr = np.empty((3, len(sum_grad)), np.float32)
    grads = np.empty((2, len(sum_grad) if parameters else 0), np.float32)
    load_loops().norm_grad_factors(
        norm.at, sum_grad, sum_grad_y, pixels(grad), factors, place, pqr, grads
    )
    return NormGrad(grad, pqr), grads


def moments_of(x: Tensor) -> Floats:
    """(N, H, W, C) -> mean and biased variance (2, C)."""
    moments = np.empty((2, x.shape[-1]), np.float32)
    load_loops().moments(flat(x), moments)
    return moments
