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

from collections.abc import Mapping, Sequence
from functools import cache, cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from edarts.nn.kernels.compiled import fast, load_loops
from edarts.nn.kernels.layout import concat, dense
from edarts.nn.kernels.pools import halves
from edarts.nn.kernels.sums import Fork, Sum

Floats = NDArray[np.float32]


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
            part if total is None else Fork.apply(part, total)  # type: ignore[no-untyped-call]
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
            height, width = part.shape[-2:]
            uneven = (0, width % 2, 0, height % 2)
            if any(uneven):
                even, odd = halves(functional.pad(part, uneven), None)
            else:
                even, odd = halves(part, total)
            evens.append(even)
            odds.append(odd)
        return FeatureMap.shared(*evens), FeatureMap.shared(*odds)

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


class Norm(NamedTuple):
    """A batch norm at work, scale * y + shift.

    `at` (4, C): mean, s = 1 / standard deviation, scale, shift. `gain`, `bias` (C,), empty if it
    has none.
    """

    at: Floats
    gain: Floats
    bias: Floats

    @classmethod
    def of(cls, moments: Floats, rows: int, norm: nn.BatchNorm2d) -> "Norm":
        """With `moments` (2, C), mean and biased variance; moves the running ones to them."""
        running_mean = running_var = gain = bias = NOTHING
        share = 0.0
        if norm.running_mean is not None and norm.running_var is not None:
            counter = norm.num_batches_tracked
            assert counter is not None
            counter.add_(1)
            share = 1 / float(counter) if norm.momentum is None else norm.momentum
            running_mean, running_var = norm.running_mean.numpy(), norm.running_var.numpy()
        if norm.weight is not None:
            gain, bias = norm.weight.detach().numpy(), norm.bias.detach().numpy()
        at = np.empty((4, moments.shape[1]), np.float32)
        load_loops().norm(moments, rows, norm.eps, share, running_mean, running_var, gain, bias, at)
        return cls(at, gain, bias)

    def slope(self, h: Tensor, zero: Floats, one: Floats, rows: int, factor: float = 1) -> "Slope":
        """Of y, if that of factor * norm is h; `zero`, `one`: see `loops.norm_slope`."""
        pqr = np.empty((3, len(zero)), np.float32)
        load_loops().norm_slope(self.at, zero, one, rows, float(factor), pqr)
        return Slope(h, pqr)


NOTHING = np.empty(0, np.float32)


@cache
def no_norm(channels: int) -> Floats:
    """`Norm.at` of what changes nothing; not to be written to."""
    return np.repeat(np.array([[0], [1], [1], [0]], np.float32), channels, axis=1)


class Slope(NamedTuple):
    """The gradient of a tensor y (N, H, W, C), p * h + q * y + r, before it is added up.

    `pqr` (3, C).
    """

    h: Tensor
    pqr: Floats


class Node(torch.autograd.Function):
    """sum over the terms of weight * norm(stages(x)); see `kernels.node`.

    `tensors`: what the terms read, then the parameters. `places`: for each term those of what it
    reads; `firsts`: the norm of its source, if it begins with one; `sums`: place -> where the
    gradient of that tensor goes, if it was forked.
    """

    @staticmethod
    def forward(
        ctx: Any,
        weights: Tensor | None,
        terms: Sequence[Term],
        places: Sequence[Sequence[int]],
        firsts: Sequence[Norm | None],
        sums: Mapping[int, Sum],
        *tensors: Tensor,
    ) -> Tensor:
        loops = load_loops()
        factors = np.ones(len(terms), np.float32) if weights is None else weights.detach().numpy()
        kept: list[Tensor] = []  # results of the stages, term by term, channels last
        norms: list[list[Norm | None]] = []  # those before each stage, then the last one
        ends: list[Tensor] = []  # what the terms hand to the sum
        for term, mine, first in zip(terms, places, firsts, strict=True):
            met = [first]
            parts = [dense(tensors[place]) for place in mine]
            for number, stage in enumerate(term.stages, 1):
                y, moments = stage_forward(stage, parts, met[-1])
                following = term.stages[number].norm if number < len(term.stages) else term.norm
                met.append(None if following is None else Norm.of(moments, pixels(y), following))
                kept.append(y)
                parts = [y]
            norms.append(met)
            ends.append(parts[0])
        out = torch.empty_like(ends[0])
        lasts = np.stack([at(met[-1], out.shape[-1]) for met in norms])
        lasts[:, 2:] *= factors[:, None, None]
        loops.weighted_sum(addresses(ends), lasts, flat(out))
        ctx.save_for_backward(*tensors, *kept)
        ctx.terms, ctx.places, ctx.factors, ctx.norms = terms, places, factors, norms
        ctx.sums = sums
        ctx.names = {id(tensor): place for place, tensor in enumerate(tensors)}
        return out.permute(0, 3, 1, 2)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        need_weights, _, _, _, _, *needs = ctx.needs_input_grad
        tensors, kept = ctx.saved_tensors[: len(needs)], list(ctx.saved_tensors[len(needs) :])
        found = Gradients(ctx.names, needs)
        for place, total in ctx.sums.items():
            found.begin(place, total.take())
        inputs: list[list[list[Tensor]]] = []  # of each stage, then what is handed to the sum
        for term, mine in zip(ctx.terms, ctx.places, strict=True):
            results, kept = kept[: len(term.stages)], kept[len(term.stages) :]
            inputs.append([[dense(tensors[place]) for place in mine], *([y] for y in results)])
        h = dense(g)
        zero, ones = sums_of_products(h, inputs, ctx.norms, need_weights)
        grad_weights = torch.empty(len(ctx.terms)) if need_weights else None
        for position, (term, norms) in enumerate(zip(ctx.terms, ctx.norms, strict=True)):
            factor, last, one = ctx.factors[position], norms[-1], ones[position]
            if last is None:
                alone = np.array([[factor], [0], [0]], np.float32)
                slope = Slope(h, np.repeat(alone, len(zero), axis=1))
            else:
                slope = last.slope(h, zero, one, pixels(h), factor)
                parameters(term.norm, factor * zero, factor * one, found)
            if grad_weights is not None:
                plain = last is None or last.gain is NOTHING
                total = one.sum() if plain else last.gain @ one + last.bias @ zero
                grad_weights[position] = float(total)
            term_backward(term, inputs[position], norms, slope, ctx.places[position], found)
        for place, total in ctx.sums.items():
            total.put(found.end(place))
        return (grad_weights, None, None, None, None, *found.values)


class Gradients:
    """The gradients of a node's tensors as they are summed up, term by term.

    `names`: id of a tensor -> its place; `needs`: whether a place's gradient is wanted.
    """

    def __init__(self, names: dict[int, int], needs: Sequence[bool]) -> None:
        self.names, self.needs = names, needs
        self.values: list[Tensor | None] = [None] * len(needs)
        self._owned: set[int] = set()  # places whose tensor nobody else holds

    def begin(self, place: int, known: Tensor | None) -> None:
        """Begin with a sum that others have made; nobody else holds it."""
        if known is not None:
            self.values[place] = known
            self._owned.add(place)

    def end(self, place: int) -> Tensor | None:
        """The sum at a place, for others to add to; autograd gets none."""
        known, self.values[place] = self.values[place], None
        return known if known is None or place in self._owned else known.clone()

    def wanted(self, tensor: Tensor | None) -> int | None:
        """The place of a parameter, if its gradient is wanted."""
        place = None if tensor is None else self.names[id(tensor)]
        return place if place is not None and self.needs[place] else None

    def add(self, place: int, gradient: Tensor, factor: float = 1, fresh: bool = True) -> None:
        """Add factor * gradient; `fresh`: nobody else holds that tensor."""
        known = self.values[place]
        if known is not None and place in self._owned:
            known.add_(gradient, alpha=factor)
        elif known is not None:
            self.values[place] = torch.add(known, gradient, alpha=factor)
        else:
            self.values[place] = gradient if factor == 1 else gradient * factor
        if fresh or factor != 1 or known is not None:
            self._owned.add(place)

    def room(self, place: int, shape: torch.Size) -> tuple[Tensor, bool]:
        """An image tensor (N, H, W, C) to add a place's gradient to; whether it is still empty."""
        known = self.values[place]
        if known is not None and place in self._owned:
            return known.permute(0, 2, 3, 1), False
        made = torch.empty(shape)
        if known is not None:
            made.copy_(known.permute(0, 2, 3, 1))
        self.values[place] = made.permute(0, 3, 1, 2)
        self._owned.add(place)
        return made, known is None


def stage_forward(
    stage: SeparableStage, parts: Sequence[Tensor], norm: Norm | None
) -> tuple[Tensor, Floats]:
    """Parts (N, H, W, C_i) -> the stage's result (N, H', W', D), mean and variance of it (2, D)."""
    count, height, width, share = shape = tuple(parts[0].shape)
    s, d = stage.stride, stage.dilation
    wide, narrow = kernels(stage)
    y = torch.empty(count, -(-height // s), -(-width // s), len(narrow))
    moments = np.empty((2, len(narrow)), np.float32)
    before = at(norm, share * len(parts))
    load_loops().separable(addresses(parts), shape, before, wide, narrow, s, d, y.numpy(), moments)
    return y, moments


def term_backward(
    term: Term,
    inputs: Sequence[Sequence[Tensor]],
    norms: Sequence[Norm | None],
    slope: Slope,
    places: Sequence[int],
    found: Gradients,
) -> None:
    """Add the gradients of a term's stages and of what it reads, which is at `places`.

    `inputs`: of each stage, then what the term hands to the sum, which has `slope`. `norms`: those
    before each stage.
    """
    needed, first = any(found.needs[place] for place in places), norms[0]
    if not needed and all(found.wanted(p) is None for p in term.parameters()):
        return
    for number in reversed(range(len(term.stages))):
        ends = number == 0 and first is None
        slope = stage_backward(
            term.stages[number],
            inputs[number],
            norms[number],
            inputs[number + 1][0],
            slope,
            places if ends else None,
            found,
        )
    if not needed or (term.stages and first is None):
        return  # not wanted, or added by the first stage
    (place,), (x,) = places, inputs[0]
    if first is None:
        found.add(place, slope.h.permute(0, 3, 1, 2), float(slope.pqr[0, 0]), fresh=False)
    else:
        room, fresh = found.room(place, x.shape)
        load_loops().norm_gradient(flat(slope.h), flat(x), slope.pqr, flat(room), fresh)


def stage_backward(
    stage: SeparableStage,
    parts: Sequence[Tensor],
    norm: Norm | None,
    y: Tensor,
    slope: Slope,
    places: Sequence[int] | None,
    found: Gradients,
) -> Slope:
    """From the slope of the stage's result y, that of its parts; adds those of its parameters.

    `places`: those of the parts, if they are sources without a norm: their gradients are added
    there, if wanted.
    """
    wide, narrow = kernels(stage)
    sized = any(found.wanted(weight) is not None for weight in stage.weights)
    dd, dp = (np.empty(w.shape if sized else (0,) * w.ndim, np.float32) for w in (wide, narrow))
    shape, channels = parts[0].shape, wide.shape[0]
    if places is None:
        rooms = [(torch.empty(shape), True)]
    elif any(found.needs[place] for place in places):
        rooms = [found.room(place, shape) for place in places]
    else:
        rooms = []
    products = np.empty((2, channels), np.float32)
    load_loops().separable_gradient(
        addresses(parts), tuple(shape), at(norm, channels), wide, narrow,
        *(stage.stride, stage.dilation, y.numpy(), slope.h.numpy(), slope.pqr),
        *(addresses([dx for dx, _ in rooms]), np.array([fresh for _, fresh in rooms], bool)),
        *(dd, dp, products),
    )  # fmt: skip
    if sized:
        for weight, gradient in zip(stage.weights, split(stage, dd, dp), strict=True):
            where = found.wanted(weight)
            if where is not None:
                found.add(where, torch.from_numpy(gradient).view_as(weight))
    if norm is None:
        return slope  # the end: nothing reads it
    zero, one = products
    before = norm.slope(rooms[0][0], zero, one, pixels(parts[0]))
    parameters(stage.norm, zero, one, found)
    return before


def at(norm: Norm | None, channels: int) -> Floats:
    """`Norm.at`, of none too."""
    return no_norm(channels) if norm is None else norm.at


def sums_of_products(
    g: Tensor,
    inputs: Sequence[Sequence[Sequence[Tensor]]],
    norms: Sequence[Sequence[Norm | None]],
    weighed: bool,
) -> tuple[Floats, Floats]:
    """Sum of g (C,), and for each term that of g * (end - mean of its last norm, or 0) (T, C).

    Zeros if nothing reads them: no term ends with a norm, nor are gradients of weights wanted.
    """
    width = g.shape[-1]
    means = np.stack([at(met[-1], width)[0] for met in norms])
    zero, ones = np.zeros(width, np.float32), np.zeros((len(norms), width), np.float32)
    if weighed or any(met[-1] is not None for met in norms):
        ends = [mine[-1][0] for mine in inputs]
        load_loops().product_sums(flat(g), addresses(ends), means, zero, ones)
    return zero, ones


def parameters(norm: nn.BatchNorm2d | None, zero: Floats, one: Floats, found: Gradients) -> None:
    """Add the gradients of a norm's gain and bias."""
    if norm is None:
        return
    for tensor, gradient in ((norm.weight, one), (norm.bias, zero)):
        place = found.wanted(tensor)
        if place is not None:
            found.add(place, torch.from_numpy(gradient))


def moments_of(x: Tensor) -> Floats:
    """(N, H, W, C) -> mean and biased variance (2, C)."""
    moments = np.empty((2, x.shape[-1]), np.float32)
    load_loops().moments(flat(x), moments)
    return moments


def kernels(stage: SeparableStage) -> tuple[Floats, Floats]:
    """The stage's weights as the loops take them: (C, k, k) and (D, C), contiguous.

    Of a shifted stage, C counts the even pixels' channels and then the odd ones'.
    """
    narrow = stage.pointwise.detach().numpy()
    narrow = np.ascontiguousarray(narrow.reshape(narrow.shape[:2]))
    if stage.shifted is not None:
        odd = stage.shifted.detach()[:, :, 0, 0].numpy()
        (rows, columns), more = narrow.shape, len(odd)
        both = np.zeros((rows + more, 2 * columns), np.float32)
        both[:rows, :columns], both[rows:, columns:] = narrow, odd
        narrow = both
    if stage.depthwise is None:
        return np.ones((narrow.shape[1], 1, 1), np.float32), narrow
    return np.ascontiguousarray(stage.depthwise.detach().numpy()[:, 0]), narrow


def split(stage: SeparableStage, wide: Floats, narrow: Floats) -> list[Floats]:
    """The gradients of `kernels`, (C, k, k) and (D, C) -> those of `stage.weights`."""
    if stage.shifted is not None:
        rows, columns = stage.pointwise.shape[:2]
        return [narrow[:rows, :columns].copy(), narrow[rows:, columns:].copy()]
    return [narrow] if stage.depthwise is None else [wide, narrow]


def pixels(x: Tensor) -> int:
    """Rows of (N, H, W, C)."""
    return x.numel() // x.shape[-1]


def addresses(tensors: Sequence[Tensor]) -> NDArray[np.int64]:
    """Where contiguous tensors lie."""
    return np.array([x.data_ptr() for x in tensors], np.int64)


def flat(x: Tensor) -> Floats:
    """The numbers of a contiguous tensor, not copied."""
    return x.view(-1).numpy()
