"""A node of a cell as one autograd function: everything that enters it, normed, weighed and summed.

A separable stage is one compiled loop in each direction: norm, ReLU, both convolutions and the
statistics of the next norm, image by image, so that what passes between them stays in the cache.
Kept for the backward pass are only the sources and the results of the stages: normalised,
rectified and weighted copies are never stored, and depthwise results are computed again where the
gradient of a 1 x 1 weight needs them.

Batch norm (Ioffe & Szegedy 2015) over R rows, s = 1 / sqrt(var + eps): n = (y - mean) s. With grad
that of weight * n + bias: gradient of y = weight s (grad - mean(grad) - n mean(grad n)). Written
out for each channel that is p grad + q y + r, which the stage before applies as it reads grad and
y.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edarts.nn.kernels.compiled import load_loops, now
from edarts.nn.kernels.layout import (
    Floats,
    add_to,
    addresses,
    dense,
    empty,
    flat,
    no_norm,
    pixels,
)
from edarts.nn.kernels.sums import Sum
from edarts.nn.kernels.terms import (
    NO_NORM,
    Norm,
    NormGrad,
    SeparableStage,
    Term,
    norm_gradient,
)

TOGETHER = 8 * 2**20  # bytes of results that are read once more while they are in the caches


Kernels = tuple[Floats, Floats]
"""A stage's weights; see `kernels`."""


class NodeFunction(torch.autograd.Function):
    """sum over the terms of weight * norm(stages(x)); see `kernels.node`.

    `tensors`: what the terms read, then the parameters. `indices`: for each term those of what it
    reads; `firsts`: the norm of its source, if it begins with one; `sums`: index -> where the
    gradient of that tensor goes, if it was forked.
    """

    @staticmethod
    def forward(
        ctx: Any,
        weights: Tensor | None,
        terms: Sequence[Term],
        indices: Sequence[Sequence[int]],
        firsts: Sequence[Norm | None],
        sums: Mapping[int, Sum],
        *tensors: Tensor,
    ) -> Tensor:
        factors = np.ones(len(terms), np.float32) if weights is None else weights.detach().numpy()
        kept: list[Tensor] = []  # results of the stages, term by term, channels last
        norms: list[list[Norm | None]] = []  # those before each stage, then the last one
        weights_of: list[list[Kernels]] = []  # of each stage
        total = Total(factors)
        for term, mine, first in zip(terms, indices, firsts, strict=True):
            met = [first]
            parts = [dense(tensors[index]) for index in mine]
            packed = [kernels(stage) for stage in term.stages]
            for number, stage in enumerate(term.stages, 1):
                y, moments = stage_forward(stage, packed[number - 1], parts, met[-1])
                following = term.stages[number].norm if number < len(term.stages) else term.norm
                met.append(None if following is None else Norm.of(moments, pixels(y), following))
                kept.append(y)
                parts = [y]
            norms.append(met)
            weights_of.append(packed)
            total.add(parts[0], met[-1])
        out = total.end()
        ctx.save_for_backward(*tensors, *kept)
        ctx.terms, ctx.indices, ctx.factors, ctx.norms = terms, indices, factors, norms
        ctx.sums, ctx.kernels, ctx.scaled = sums, weights_of, total.scaled
        ctx.weighed = weights is not None
        ctx.names = {id(tensor): index for index, tensor in enumerate(tensors)}
        return out.permute(0, 3, 1, 2)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        need_weights, _, _, _, _, *needs = ctx.needs_input_grad
        tensors, kept = ctx.saved_tensors[: len(needs)], list(ctx.saved_tensors[len(needs) :])
        found = Gradients(ctx.names, needs)
        for index, total in ctx.sums.items():
            found.begin(index, total.take())
        inputs: list[list[list[Tensor]]] = []  # of each stage, then what is handed to the sum
        for term, mine in zip(ctx.terms, ctx.indices, strict=True):
            results, kept = kept[: len(term.stages)], kept[len(term.stages) :]
            inputs.append([[dense(tensors[index]) for index in mine], *([y] for y in results)])
        grad = dense(g)
        grad_weights = np.empty(len(ctx.terms), np.float32) if need_weights else None
        # Nothing reads those of a term that ends without a norm and whose weight wants no gradient.
        wanted = [need_weights or norms[-1] is not None for norms in ctx.norms]
        sum_grad = np.zeros(grad.shape[-1], np.float32)
        products = np.zeros((len(ctx.terms), len(sum_grad)), np.float32)
        groups = in_groups(wanted, at_once(grad))
        for position, (term, norms) in enumerate(zip(ctx.terms, ctx.norms, strict=True)):
            if position in groups:
                some = slice(position, groups[position])
                ends = addresses([mine[-1][0] for mine in inputs[some]])
                load_loops().product_sums(
                    flat(grad), ends, ctx.scaled[some], sum_grad, products[some]
                )
            last, sums = norms[-1] or NO_NORM, (sum_grad, products[position])
            mine = ctx.indices[position]
            wants = wants_parameters(term.norm, found)
            end, grads = norm_gradient(last, grad, sums, ctx.factors, position, wants)
            if wants:
                parameters(term.norm, grads, found)
            if grad_weights is not None:
                load_loops().factor_gradient(last.weight, last.bias, *sums, position, grad_weights)
            if term.stages or norms[-1] is not None:
                weights = ctx.kernels[position]
                term_backward(term, weights, inputs[position], norms, end, mine, found)
            elif found.needs[mine[0]]:
                scaled = ctx.scaled[position : position + 1] if ctx.weighed else None
                found.add_image(mine[0], grad, scaled)
        for index, total in ctx.sums.items():
            total.put(found.end(index))
        given = None if grad_weights is None else torch.from_numpy(grad_weights)
        return (given, None, None, None, None, *found.values)


def in_groups(wanted: Sequence[bool], most: int) -> dict[int, int]:
    """Where groups of neighbours that are wanted begin, and where they end; `most` in each."""
    found: dict[int, int] = {}
    begin = 0
    for place, want in enumerate(wanted):
        if want and place > 0 and wanted[place - 1] and place - begin < most:
            found[begin] = place + 1
        elif want:
            begin = place
            found[begin] = place + 1
    return found


def at_once(end: Tensor) -> int:
    """How many tensors of this size pass the caches together and leave room for others."""
    return max(1, TOGETHER // (4 * end.numel()))


class Total:
    """The sum of what terms hand over, (N, H, W, C) each, added while it is in the caches.

    `factors` (T,); `scaled` (T, 4, C): the last norm of each, see `Norm.at`, times its factor.
    """

    def __init__(self, factors: Floats) -> None:
        self._factors = factors
        self._ends: list[Tensor] = []
        self._added = 0
        self._out: Tensor
        self.scaled: Floats

    def add(self, end: Tensor, norm: Norm | None) -> None:
        """Add factor * norm(end), of the term that comes next."""
        place = len(self._ends)
        if place == 0:
            self._out = empty(*end.shape)
            self.scaled = np.empty((len(self._factors), 4, end.shape[-1]), np.float32)
        load_loops().weigh(at(norm, end.shape[-1]), self._factors, place, self.scaled)
        self._ends.append(end)
        if len(self._ends) - self._added == at_once(end):
            self._add_rest()

    def end(self) -> Tensor:
        """The sum of all."""
        if self._added < len(self._ends):
            self._add_rest()
        return self._out

    def _add_rest(self) -> None:
        some = slice(self._added, len(self._ends))
        load_loops().weighted_sum(
            addresses(self._ends[some]), self.scaled[some], flat(self._out), self._added == 0
        )
        self._added = len(self._ends)


class Gradients:
    """The gradients of a node's tensors as they are summed up, term by term.

    `names`: id of a tensor -> its index; `needs`: whether a index's gradient is wanted.
    """

    def __init__(self, names: dict[int, int], needs: Sequence[bool]) -> None:
        self.names, self.needs = names, needs
        self.values: list[Tensor | None] = [None] * len(needs)
        self._owned: set[int] = set()  # indices whose tensor nobody else holds

    def begin(self, index: int, known: Tensor | None) -> None:
        """Begin with a sum that others have made; nobody else holds it."""
        if known is not None:
            self.values[index] = known
            self._owned.add(index)

    def end(self, index: int) -> Tensor | None:
        """The sum at a index, for others to add to; autograd gets none."""
        known = self.values[index]
        if known is not None and index not in self._owned:
            self.room(index, known.permute(0, 2, 3, 1).shape)
        known, self.values[index] = self.values[index], None
        return known

    def index_of(self, tensor: Tensor | None) -> int | None:
        """The index of a parameter, if its gradient is needed."""
        index = None if tensor is None else self.names[id(tensor)]
        return index if index is not None and self.needs[index] else None

    def add(self, index: int, gradient: Floats) -> None:
        """Add to the gradient of a parameter; nobody else holds that array."""
        known, more = self.values[index], torch.from_numpy(gradient)
        self.values[index] = more if known is None else known.add_(more)

    def add_image(self, index: int, grad: Tensor, scaled: Floats | None) -> None:
        """Add (N, H, W, C), which others hold too, `scaled` by (1, 4, C), see `Total`, or as it is:
        not copied then, if it comes first.
        """
        if scaled is None and self.values[index] is None:
            self.values[index] = grad.permute(0, 3, 1, 2)
            return
        norms = no_norm(grad.shape[-1])[None] if scaled is None else scaled
        room, fresh = self.room(index, grad.shape)
        load_loops().weighted_sum(addresses([grad]), norms, flat(room), fresh)

    def room(self, index: int, shape: torch.Size) -> tuple[Tensor, bool]:
        """An image tensor (N, H, W, C) to add a index's gradient to; whether it is still empty."""
        known = self.values[index]
        if known is not None and index in self._owned:
            return known.permute(0, 2, 3, 1), False
        made = empty(*shape)
        if known is not None:
            add_to(made, known.permute(0, 2, 3, 1), fresh=True)
        self.values[index] = made.permute(0, 3, 1, 2)
        self._owned.add(index)
        return made, known is None


def stage_forward(
    stage: SeparableStage, weights: Kernels, parts: Sequence[Tensor], norm: Norm | None
) -> tuple[Tensor, Floats]:
    """Parts (N, H, W, C_i) -> the stage's result (N, H', W', D), mean and variance of it (2, D)."""
    count, height, width, share = shape = tuple(parts[0].shape)
    s, d = stage.stride, stage.dilation
    wide, narrow = weights
    y = empty(count, -(-height // s), -(-width // s), len(narrow))
    moments = np.empty((2, len(narrow)), np.float32)
    before = at(norm, share * len(parts))
    load_loops().separable(addresses(parts), shape, before, wide, narrow, s, d, y.numpy(), moments)
    return y, moments


def term_backward(
    term: Term,
    weights: Sequence[Kernels],
    inputs: Sequence[Sequence[Tensor]],
    norms: Sequence[Norm | None],
    end: NormGrad,
    indices: Sequence[int],
    found: Gradients,
) -> None:
    """Add the gradients of a term's stages and of what it reads, which is at `indices`.

    `weights`: of each stage; `inputs`: of each stage, then what the term hands to the sum, whose
    gradient is `end`; `norms`: those before each stage.
    """
    needed, first = any(found.needs[index] for index in indices), norms[0]
    if not needed and all(found.index_of(p) is None for p in term.parameters()):
        return
    for number in reversed(range(len(term.stages))):
        reads = number == 0 and first is None
        end = stage_backward(
            term.stages[number],
            weights[number],
            inputs[number],
            norms[number],
            inputs[number + 1][0],
            end,
            indices if reads else None,
            found,
        )
    if not needed or (term.stages and first is None):
        return  # not wanted, or added by the first stage
    (index,), (x,) = indices, inputs[0]
    room, fresh = found.room(index, x.shape)
    load_loops().norm_gradient(flat(end.grad), flat(x), end.pqr, flat(room), fresh)


def stage_backward(
    stage: SeparableStage,
    weights: Kernels,
    parts: Sequence[Tensor],
    norm: Norm | None,
    y: Tensor,
    end: NormGrad,
    indices: Sequence[int] | None,
    found: Gradients,
) -> NormGrad:
    """From the gradient of the stage's result y, that of its parts; adds those of its parameters.

    `indices`: those of the parts, if they are sources without a norm: their gradients are added
    there, if wanted.
    """
    wide, narrow = weights
    sized = any(found.index_of(weight) is not None for weight in stage.weights)
    dd, dp = (np.empty(w.shape if sized else (0,) * w.ndim, np.float32) for w in (wide, narrow))
    shape, channels = parts[0].shape, wide.shape[0]
    if indices is None:
        rooms = [(empty(*shape), True)]
    elif any(found.needs[index] for index in indices):
        rooms = [found.room(index, shape) for index in indices]
    else:
        rooms = []
    products = np.empty((2, 0 if norm is None else channels), np.float32)
    load_loops().separable_gradient(
        addresses(parts), tuple(shape), at(norm, channels), wide, narrow,
        *(stage.stride, stage.dilation, y.numpy(), end.grad.numpy(), end.pqr),
        *(addresses([dx for dx, _ in rooms]), np.array([fresh for _, fresh in rooms], bool)),
        *(dd, dp, products),
    )  # fmt: skip
    if sized:
        for weight, gradient in zip(stage.weights, split(stage, dd, dp), strict=True):
            index = found.index_of(weight)
            if index is not None:
                found.add(index, gradient.reshape(weight.shape))
    if norm is None:
        return end  # nothing reads it
    wants = wants_parameters(stage.norm, found)
    sums = products[0], products[1]
    before, grads = norm_gradient(norm, rooms[0][0], sums, parameters=wants)
    if wants:
        parameters(stage.norm, grads, found)
    return before


def at(norm: Norm | None, channels: int) -> Floats:
    """`Norm.at`, of none too."""
    return no_norm(channels) if norm is None else norm.at


def wants_parameters(norm: nn.BatchNorm2d | None, found: Gradients) -> bool:
    """Whether the gradient of a norm's weight or bias is wanted."""
    return norm is not None and any(
        found.index_of(tensor) is not None for tensor in (norm.weight, norm.bias)
    )


def parameters(norm: nn.BatchNorm2d | None, grads: Floats, found: Gradients) -> None:
    """Add the gradients of a norm's weight and bias, (2, C)."""
    assert norm is not None
    for tensor, gradient in zip((norm.weight, norm.bias), grads, strict=True):
        index = found.index_of(tensor)
        if index is not None:
            found.add(index, gradient)


def kernels(stage: SeparableStage) -> Kernels:
    """The stage's weights as the loops take them: (C, k, k) and (D, C), contiguous.

    Of a shifted stage, C counts the even pixels' channels and then the odd ones'.
    """
    narrow = matrix(stage.pointwise)
    if stage.shifted is not None:
        odd = matrix(stage.shifted)
        (rows, columns), (more, as_many) = narrow.shape, odd.shape
        both = np.zeros((rows + more, columns + as_many), np.float32)
        load_loops().diagonal(narrow, odd, both, True)
        narrow = both
    if stage.depthwise is None:
        return np.empty((narrow.shape[1], 0, 0), np.float32), narrow
    return contiguous(stage.depthwise.detach().numpy()[:, 0]), narrow


def matrix(weight: Tensor) -> Floats:
    """(D, C, 1, 1) -> (D, C), contiguous."""
    return contiguous(weight.detach().numpy()[:, :, 0, 0])


def contiguous(array: Floats) -> Floats:
    """It, or a copy that is contiguous; a tape, which notes no copies, is not whole then."""
    if not array.flags.c_contiguous and now.tape is not None:
        now.tape.whole = False
    return np.ascontiguousarray(array)


def split(stage: SeparableStage, wide: Floats, narrow: Floats) -> list[Floats]:
    """The gradients of `kernels`, (C, k, k) and (D, C) -> those of `stage.weights`."""
    if stage.shifted is not None:
        first, second = (
            np.empty(w.shape[:2], np.float32) for w in (stage.pointwise, stage.shifted)
        )
        load_loops().diagonal(first, second, narrow, False)
        return [first, second]
    return [narrow] if stage.depthwise is None else [wide, narrow]
