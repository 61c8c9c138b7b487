"""A node of a cell as one autograd function: everything that enters it, normed, weighed and summed.

A separable stage is one compiled loop in each direction: norm, ReLU, both convolutions and the
statistics of the next norm, image by image, so that what passes between them stays in the cache.
Kept for the backward pass are only the sources and the results of the stages: normalised,
rectified and weighted copies are never stored, and depthwise results are computed again where the
gradient of a 1 x 1 weight needs them.

Batch norm (Ioffe & Szegedy 2015) over R rows, s = 1 / sqrt(var + eps): n = (y - mean) s. With h the
gradient of gain * n + bias: gradient of y = gain s (h - mean(h) - n mean(h n)). Written out for
each channel that is p h + q y + r, which the stage before applies as it reads h and y.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edarts.kernels.compiled import load_loops

Floats = NDArray[np.float32]
NONE: Floats = np.empty(0, np.float32)


class Stage(NamedTuple):
    """Norm and ReLU (if `norm`), then depthwise and 1 x 1 convolution.

    `depthwise`: (C, 1, k, k), k odd; `pointwise`: (D, C, 1, 1).
    """

    depthwise: Tensor
    pointwise: Tensor
    stride: int
    dilation: int
    norm: nn.BatchNorm2d | None = None


class Term(NamedTuple):
    """What an edge adds to its node: `x` (B, C, H, W) through `stages`, then through `norm`."""

    x: Tensor
    stages: tuple[Stage, ...] = ()
    norm: nn.BatchNorm2d | None = None

    def norms(self) -> list[nn.BatchNorm2d]:
        """All norms that the term passes."""
        return [n for n in (*(stage.norm for stage in self.stages), self.norm) if n is not None]

    def parameters(self) -> list[Tensor]:
        """All parameters that the term passes."""
        found = [t for stage in self.stages for t in (stage.depthwise, stage.pointwise)]
        return found + [
            t for norm in self.norms() for t in (norm.weight, norm.bias) if t is not None
        ]


class Norm(NamedTuple):
    """A batch norm at work: mean, s = 1 / standard deviation, gain, bias, (C,) each.

    It computes scale * y + shift.
    """

    mean: Floats
    s: Floats
    gain: Floats
    bias: Floats
    scale: Floats
    shift: Floats

    @classmethod
    def of(cls, moments: tuple[Floats, Floats], count: int, norm: nn.BatchNorm2d) -> "Norm":
        """With the mean and biased variance of `count` rows; moves the running ones to them."""
        mean, var = moments
        if norm.running_mean is not None and norm.running_var is not None:
            counter = norm.num_batches_tracked
            assert counter is not None
            counter.add_(1)
            share = 1 / float(counter) if norm.momentum is None else norm.momentum
            unbiased = var * np.float32(count / (count - 1))
            norm.running_mean.lerp_(torch.from_numpy(mean), share)
            norm.running_var.lerp_(torch.from_numpy(unbiased), share)
        s = 1 / np.sqrt(var + np.float32(norm.eps))
        gain = np.ones_like(mean) if norm.weight is None else norm.weight.detach().numpy()
        bias = np.zeros_like(mean) if norm.bias is None else norm.bias.detach().numpy()
        scale = gain * s
        return cls(mean, s, gain, bias, scale, bias - scale * mean)

    def coefficients(self, zero: Floats, one: Floats, rows: int) -> tuple[Floats, Floats, Floats]:
        """p, q, r of the gradient of y; `zero`: sum of h, `one`: sum of h * n."""
        count = np.float32(rows)
        q = -self.scale * self.s * one / count
        return self.scale, q, -self.scale * zero / count - q * self.mean


class Node(torch.autograd.Function):
    """sum over the terms of weight * norm(stages(x)); see `kernels.node`.

    `tensors`: the sources, then the parameters; terms name their source by its index.
    """

    @staticmethod
    def forward(
        ctx: Any,
        weights: Tensor | None,
        terms: Sequence[Term],
        indices: Sequence[int],
        *tensors: Tensor,
    ) -> Tensor:
        loops = load_loops()
        factors = np.ones(len(terms), np.float32) if weights is None else weights.detach().numpy()
        kept: list[Tensor] = []  # results of the stages, term by term, channels last
        norms: list[list[Norm | None]] = []  # those before each stage, then the last one
        ends: list[Tensor] = []  # what the terms hand to the sum
        scales, shifts = [], []
        for term, index, factor in zip(terms, indices, factors, strict=True):
            x, met, moments = dense(tensors[index]), [], None
            for number in range(len(term.stages) + 1):
                stage = term.stages[number] if number < len(term.stages) else None
                norm = term.norm if stage is None else stage.norm
                met.append(None)
                if norm is not None:
                    met[-1] = Norm.of(moments or moments_of(x), pixels(x), norm)
                if stage is not None:
                    x, moments = stage_forward(stage, x, met[-1])
                    kept.append(x)
            norms.append(met)
            ends.append(x)
            last = met[-1]
            width = x.shape[-1]
            scales.append(np.full(width, factor) if last is None else factor * last.scale)
            shifts.append(np.zeros(width, np.float32) if last is None else factor * last.shift)
        out = torch.empty_like(ends[0])
        loops.weighted_sum(addresses(ends), np.stack(scales), sum(shifts), flat(out))
        ctx.save_for_backward(*tensors, *kept)
        ctx.terms, ctx.indices, ctx.factors, ctx.norms = terms, indices, factors, norms
        ctx.names = {id(tensor): place for place, tensor in enumerate(tensors)}
        return out.permute(0, 3, 1, 2)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        need_weights, _, _, *needs = ctx.needs_input_grad
        tensors, kept = ctx.saved_tensors[: len(needs)], list(ctx.saved_tensors[len(needs) :])
        found: list[Tensor | None] = [None] * len(needs)
        owned: set[int] = set()  # places of `found` that nobody else holds
        grad_weights = torch.empty(len(ctx.terms)) if need_weights else None

        def add(place: int, gradient: Tensor, fresh: bool = True) -> None:
            # In place, but never into a gradient that is not fresh: it may be g itself.
            known = found[place]
            if known is None:
                found[place] = gradient
            elif place in owned:
                known.add_(gradient)
            else:
                found[place] = gradient.add_(known) if fresh else known + gradient
            if fresh or known is not None:
                owned.add(place)

        def wanted(tensor: Tensor | None) -> int | None:
            place = None if tensor is None else ctx.names[id(tensor)]
            return place if place is not None and needs[place] else None

        slope = dense(g)
        inputs: list[list[Tensor]] = []  # of each stage, then what the term hands to the sum
        for term, index in zip(ctx.terms, ctx.indices, strict=True):
            results, kept = kept[: len(term.stages)], kept[len(term.stages) :]
            inputs.append([dense(tensors[index]), *results])
        zero, ones = sums_of_products(slope, inputs, ctx.norms, need_weights)
        for position, (term, index) in enumerate(zip(ctx.terms, ctx.indices, strict=True)):
            mine, norms, factor = inputs[position], ctx.norms[position], ctx.factors[position]
            last, one = norms[-1], ones[position]
            if last is not None:
                one *= last.s
                if grad_weights is not None:
                    grad_weights[position] = float(last.gain @ one + last.bias @ zero)
                parameters(term.norm, factor * zero, factor * one, wanted, add)
            elif grad_weights is not None:
                grad_weights[position] = float(one.sum())
            if not needs[index] and all(wanted(p) is None for p in term.parameters()):
                continue
            if last is not None:
                p, q, r = (factor * v for v in last.coefficients(zero, one, pixels(slope)))
            else:
                p, q, r = np.full_like(zero, factor), np.zeros_like(zero), np.zeros_like(zero)
            gradient = slope
            for number in reversed(range(len(term.stages))):
                need_x = number > 0 or needs[index] or norms[0] is not None
                gradient, p, q, r = stage_backward(
                    term.stages[number],
                    mine[number],
                    norms[number],
                    (mine[number + 1], gradient, p, q, r),
                    need_x,
                    wanted,
                    add,
                )
            if not needs[index]:
                continue
            fresh = True
            if not term.stages and last is None:
                fresh = bool(factor != 1)
                gradient = gradient * float(factor) if fresh else gradient
            elif norms[0] is not None:  # the norm that the source meets first
                h = torch.empty_like(mine[0])
                load_loops().norm_gradient(flat(gradient), flat(mine[0]), p, q, r, flat(h))
                gradient = h
            add(index, gradient.permute(0, 3, 1, 2), fresh)
        return (grad_weights, None, None, *found)


def stage_forward(
    stage: Stage, x: Tensor, norm: Norm | None
) -> tuple[Tensor, tuple[Floats, Floats]]:
    """(N, H, W, C) -> the stage's result (N, H', W', D), its mean and biased variance (D,)."""
    count, height, width, _ = x.shape
    s, d = stage.stride, stage.dilation
    y = torch.empty(count, -(-height // s), -(-width // s), len(stage.pointwise))
    mean, var = np.empty((2, y.shape[-1]), np.float32)
    scale, shift = (NONE, NONE) if norm is None else (norm.scale, norm.shift)
    load_loops().separable(x.numpy(), scale, shift, *kernels(stage), s, d, y.numpy(), mean, var)
    return y, (mean, var)


def stage_backward(
    stage: Stage,
    x: Tensor,
    norm: Norm | None,
    result: tuple[Tensor, Tensor, Floats, Floats, Floats],
    need_x: bool,
    wanted: Any,
    add: Any,
) -> tuple[Tensor, Floats, Floats, Floats]:
    """From y, h, p, q, r of the stage's result, whose gradient is p h + q y + r, those of its x.

    Adds the gradients of the stage's parameters.
    """
    y, h, p, q, r = result
    depthwise, pointwise = (wanted(weight) for weight in (stage.depthwise, stage.pointwise))
    sized = depthwise is not None or pointwise is not None
    dd, dp = (
        torch.empty(weight.shape if sized else (0,) * weight.dim())
        for weight in (stage.depthwise[:, 0], stage.pointwise[:, :, 0, 0])
    )
    dx = torch.empty(x.shape if need_x else (0, 0, 0, 0))
    width = x.shape[-1]
    zero, one = np.empty((2, width if norm is not None and need_x else 0), np.float32)
    scale, shift, mean = (NONE, NONE, NONE) if norm is None else (norm.scale, norm.shift, norm.mean)
    load_loops().separable_gradient(
        x.numpy(), scale, shift, mean, *kernels(stage), stage.stride, stage.dilation,
        y.numpy(), h.numpy(), p, q, r, dx.numpy(), dd.numpy(), dp.numpy(), zero, one,
    )  # fmt: skip
    if depthwise is not None:
        add(depthwise, dd.view_as(stage.depthwise))
    if pointwise is not None:
        add(pointwise, dp.view_as(stage.pointwise))
    if norm is None or not need_x:
        return dx, p, q, r
    one *= norm.s
    parameters(stage.norm, zero, one, wanted, add)
    return (dx, *norm.coefficients(zero, one, pixels(x)))


def sums_of_products(
    g: Tensor,
    inputs: Sequence[Sequence[Tensor]],
    norms: Sequence[Sequence[Norm | None]],
    all_: bool,
) -> tuple[Floats, Floats]:
    """Sum of g (C,), and for each term that of g * (end - mean of its last norm, or 0) (T, C).

    Zeros if nothing reads them: no term ends with a norm, and not `all_` are asked for.
    """
    width = g.shape[-1]
    means = [np.zeros(width, np.float32) if met[-1] is None else met[-1].mean for met in norms]
    zero, ones = np.zeros(width, np.float32), np.zeros((len(norms), width), np.float32)
    if all_ or any(met[-1] is not None for met in norms):
        ends = [mine[-1] for mine in inputs]
        load_loops().product_sums(flat(g), addresses(ends), np.stack(means), zero, ones)
    return zero, ones


def parameters(
    norm: nn.BatchNorm2d | None, zero: Floats, one: Floats, wanted: Any, add: Any
) -> None:
    """Add the gradients of a norm's gain and bias."""
    for tensor, gradient in ((norm and norm.weight, one), (norm and norm.bias, zero)):
        place = wanted(tensor)
        if place is not None:
            add(place, torch.from_numpy(gradient))


def moments_of(x: Tensor) -> tuple[Floats, Floats]:
    """(N, H, W, C) -> mean and biased variance (C,)."""
    mean, var = np.empty((2, x.shape[-1]), np.float32)
    load_loops().moments(flat(x), mean, var)
    return mean, var


def kernels(stage: Stage) -> tuple[Floats, Floats]:
    """The stage's weights as the loops take them: (C, k, k) and (D, C), contiguous."""
    wide, narrow = stage.depthwise.detach()[:, 0], stage.pointwise.detach()[:, :, 0, 0]
    return wide.contiguous().numpy(), narrow.contiguous().numpy()


def dense(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, H, W, C), contiguous; a view of channels-last memory."""
    return x.detach().permute(0, 2, 3, 1).contiguous()


def pixels(x: Tensor) -> int:
    """Rows of (N, H, W, C)."""
    return x.numel() // x.shape[-1]


def addresses(tensors: Sequence[Tensor]) -> NDArray[np.int64]:
    """Where contiguous tensors lie."""
    return np.array([x.data_ptr() for x in tensors], np.int64)


def flat(x: Tensor) -> Floats:
    """The numbers of a contiguous tensor, not copied."""
    return x.view(-1).numpy()
