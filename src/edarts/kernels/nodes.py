"""A node of a cell as one autograd function: everything that enters it, normed, weighed and summed.

Each term is worked through alone and added to the sum at once, forward and backward, so that what
passes between its parts is still in the cache. Kept for the backward pass are only the sources and
the results of the 1 x 1 convolutions: normalised, rectified and weighted copies are never stored,
and depthwise results are computed again where the gradient of a 1 x 1 weight needs them.

Batch norm (Ioffe & Szegedy 2015) over R rows, s = 1 / sqrt(var + eps): n = (y - mean) s. With h the
gradient of gain * n + bias: gradient of y = gain s (h - mean(h) - n mean(h n)). Written out for
each channel that is p h + q y + r, one pass over memory.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edarts.kernels.compiled import load_loops
from edarts.kernels.depthwise import convolve, input_gradient, weight_gradient

Floats = NDArray[np.float32]


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
    def of(cls, y: Tensor, norm: nn.BatchNorm2d) -> "Norm":
        """With the statistics of the rows y (R, C); moves the running ones towards them."""
        mean, var = np.empty((2, y.shape[1]), np.float32)
        load_loops().moments(flat(y), mean, var)
        if norm.running_mean is not None and norm.running_var is not None:
            counter = norm.num_batches_tracked
            assert counter is not None
            counter.add_(1)
            share = 1 / float(counter) if norm.momentum is None else norm.momentum
            unbiased = var * np.float32(len(y) / (len(y) - 1))
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
        factors = np.ones(len(terms), np.float32) if weights is None else weights.detach().numpy()
        kept: list[Tensor] = []  # results of the stages, term by term
        norms: list[list[Norm | None]] = []  # those before each stage, then the last one
        out = torch.empty(0)
        for position, (term, index) in enumerate(zip(terms, indices, strict=True)):
            x, met = tensors[index], []
            for stage in term.stages:
                met.append(None if stage.norm is None else Norm.of(rows(x), stage.norm))
                u = convolve(rectified(x, met[-1]), stage.depthwise, stage.stride, stage.dilation)
                x = image(rows(u) @ stage.pointwise.detach().flatten(1).t(), u.shape)
                kept.append(x)
            y = rows(x)
            met.append(None if term.norm is None else Norm.of(y, term.norm))
            norms.append(met)
            last, factor = met[-1], factors[position]
            scale = np.full(x.shape[1], factor) if last is None else factor * last.scale
            shift = np.zeros_like(scale) if last is None else factor * last.shift
            if position == 0:
                shape, out = x.shape, torch.empty_like(y)
            load_loops().scale_add(flat(y), scale, shift, flat(out), position == 0)
        ctx.save_for_backward(*tensors, *kept)
        ctx.terms, ctx.indices, ctx.factors, ctx.norms = terms, indices, factors, norms
        ctx.names = {id(tensor): place for place, tensor in enumerate(tensors)}
        return image(out, shape)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        need_weights, _, _, *needs = ctx.needs_input_grad
        tensors, kept = ctx.saved_tensors[: len(needs)], list(ctx.saved_tensors[len(needs) :])
        found: list[Tensor | None] = [None] * len(needs)
        owned: set[int] = set()  # places of `found` that nobody else holds
        grad_weights = torch.empty(len(ctx.terms)) if need_weights else None
        slope = rows(g)

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

        for position, (term, index) in enumerate(zip(ctx.terms, ctx.indices, strict=True)):
            results, kept = kept[: len(term.stages)], kept[len(term.stages) :]
            inputs = [tensors[index], *results]
            norms, factor = ctx.norms[position], ctx.factors[position]
            y, last = rows(inputs[-1]), norms[-1]
            zero, one = np.empty((2, y.shape[1]), np.float32)
            if last is not None or need_weights:
                mean = np.zeros_like(zero) if last is None else last.mean
                load_loops().product_sums(flat(slope), flat(y), mean, zero, one)
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
                h = torch.empty_like(y)
                p, q, r = (factor * part for part in last.coefficients(zero, one, len(y)))
                load_loops().norm_gradient(flat(slope), flat(y), p, q, r, flat(h))
                gradient = image(h, inputs[-1].shape)
            else:
                gradient = g if factor == 1 else g * float(factor)
            for number in reversed(range(len(term.stages))):
                stage, x, norm = term.stages[number], inputs[number], norms[number]
                need_x = number > 0 or needs[index]
                gradient = stage_backward(stage, x, norm, gradient, need_x, wanted, add)
            if needs[index]:
                add(index, gradient, fresh=gradient is not g)
        return (grad_weights, None, None, *found)


def stage_backward(
    stage: Stage,
    x: Tensor,
    norm: Norm | None,
    g: Tensor,
    need_x: bool,
    wanted: Any,
    add: Any,
) -> Tensor:
    """Gradient of the stage's input x from that of its result; adds those of its parameters."""
    stride, dilation = stage.stride, stage.dilation
    slope = rows(g)
    du = image(slope @ stage.pointwise.detach().flatten(1), g.shape)
    depthwise, pointwise = wanted(stage.depthwise), wanted(stage.pointwise)
    if depthwise is not None or pointwise is not None:
        z = rectified(x, norm)
        if pointwise is not None:
            u = convolve(z, stage.depthwise, stride, dilation)
            add(pointwise, (slope.t() @ rows(u)).view_as(stage.pointwise))
        if depthwise is not None:
            add(depthwise, weight_gradient(z, du, stage.depthwise, stride, dilation))
    if not need_x:
        return du
    dz = input_gradient(x, du, stage.depthwise, stride, dilation)
    if norm is None:
        return dz
    y, h = rows(x), rows(dz)
    zero, one = np.empty((2, y.shape[1]), np.float32)
    loops = load_loops()
    loops.scale_relu_sums(flat(y), norm.scale, norm.shift, norm.mean, flat(h), zero, one)
    one *= norm.s
    parameters(stage.norm, zero, one, wanted, add)
    p, q, r = norm.coefficients(zero, one, len(y))
    loops.scale_relu_gradient(flat(y), norm.scale, norm.shift, flat(h), p, q, r)
    return image(h, x.shape)


def parameters(
    norm: nn.BatchNorm2d | None, zero: Floats, one: Floats, wanted: Any, add: Any
) -> None:
    """Add the gradients of a norm's gain and bias."""
    for tensor, gradient in ((norm and norm.weight, one), (norm and norm.bias, zero)):
        place = wanted(tensor)
        if place is not None:
            add(place, torch.from_numpy(gradient))


def rectified(x: Tensor, norm: Norm | None) -> Tensor:
    """relu(norm(x)); without a norm x itself."""
    if norm is None:
        return x
    y = rows(x)
    out = torch.empty_like(y)
    load_loops().scale_relu(flat(y), norm.scale, norm.shift, flat(out))
    return image(out, x.shape)


def rows(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N * H * W, C), a view of channels-last memory if it can be."""
    return x.permute(0, 2, 3, 1).contiguous().view(-1, x.shape[1])


def image(x: Tensor, shape: Sequence[int]) -> Tensor:
    """The inverse of `rows`; `shape`: of the image, its channels not looked at."""
    return x.view(shape[0], shape[2], shape[3], -1).permute(0, 3, 1, 2)


def flat(x: Tensor) -> Floats:
    """The numbers of contiguous rows, not copied."""
    return x.view(-1).numpy()
