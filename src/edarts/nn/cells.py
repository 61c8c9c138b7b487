"""The macro skeleton that supernets and networks share: stem, stacked cells, classifier.

A supernet's cell and a network's cell are the same module: a list of edges, each with one
operation, summed at their nodes. A supernet lists every candidate and weighs it; a network lists
those of its genotype, each with weight one. Shapes: B images, C channels, H x W pixels.
Source: DARTS (Liu et al. 2019), code as described in methods.md section 0.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from edarts.errors import UsageError
from edarts.nn import operations as ops
from edarts.nn.auxiliary import AuxiliaryHead
from edarts.nn.kernels import (
    FeatureMap,
    Recorder,
    SeparableStage,
    Tapes,
    Term,
    global_mean,
    hooked,
    together,
    worthwhile,
)
from edarts.nn.kernels import concat as join
from edarts.nn.kernels import node as add_up
from edarts.nn.whitening import Whitening
from edarts.space.genotype import Edge

STEM_MULTIPLIER = 3
LARGEST_CELL_INPUT = 48  # pixels; larger images are halved in the stem until they fit
LARGEST_POOLED = 24  # pixels; the whitening stem halves larger maps

Weights = Sequence[Tensor | None]
"""One scalar per edge of a cell; None: the operation is skipped."""


class ReLUConvBN(ops.Normed):
    """ReLU, 1 x 1 convolution, norm: (B, a, H, W) -> (B, b, H, W)."""

    def __init__(self, channels_in: int, channels_out: int, affine: bool) -> None:
        super().__init__()
        self.pointwise = ops.Pointwise(channels_in, channels_out)
        self.norm = nn.BatchNorm2d(channels_out, affine=affine)

    def term(self, source: FeatureMap) -> Term:
        return Term(source, (SeparableStage(None, self.pointwise.weight),), self.norm)


class Cell(nn.Module):
    """One cell: two inputs -> concatenation of its nodes.

    `edges`: its edges in the order of the weights; edges that carry `none` are never computed.
    `sources`: channels of the two inputs; `channels`: channels C of each node.
    `halved`: whether the first input is twice as large as the second (it comes from before a
    reduction cell). `reduces`: edges from the two inputs have stride 2.
    `preprocessing`: how the inputs come to C channels. `darts`: each by a ReLUConvBN, or the first
    by a FactorizedReduce if halved. `nasnet`: the same, but the `first` cell takes its first input
    as it is, and the operations that read it bring it to C (NASNet's TensorFlow code; the same for
    AmoebaNet and PNASNet). `enas`: the second input passes through two ReLUConvBN (ENAS' code).
    `channel_fraction`: the share of C that operations see of their source, 1 / n; the other
    channels pass by, weighed with the sum of the edge's weights, and a channel shuffle mixes both
    (PC-DARTS, Xu et al. 2020).
    Raises UsageError if the fraction is not the reciprocal of a whole number that divides C.
    """

    def __init__(
        self,
        edges: Sequence[Edge],
        concat: Sequence[int],
        sources: tuple[int, int],
        channels: int,
        *,
        halved: bool,
        reduces: bool,
        affine: bool,
        preprocessing: str = "darts",
        first: bool = False,
        channel_fraction: float = 1.0,
    ) -> None:
        super().__init__()
        self.edges = tuple(edges)
        self.concat = tuple(concat)
        self.channels = channels
        self.reduces = reduces
        self.channel_groups = _groups(channel_fraction, channels)
        self.operation_channels = channels // self.channel_groups
        self.drop_path = 0.0
        self.drop_nodes = False  # of drop path: the sums at the nodes, in place of the edges
        self.skip_dropout = 0.0  # of single values behind an identity (P-DARTS)
        self.loose_ends = False  # of the concatenation, keep the nodes that feed no edge (ENAS)
        self.incoming: dict[int, list[int]] = {}  # node -> its edges
        for index, edge in enumerate(self.edges):
            self.incoming.setdefault(edge.node, []).append(index)
        raw = preprocessing == "nasnet" and first
        widths = {0: sources[0]} if raw else {}  # of sources that do not have C channels
        # Modules draw their weights in this order, and optimisers see their parameters in it.
        self.preprocess = _preprocess(sources, channels, preprocessing, raw, halved, affine)
        self._add_operations(widths, affine)
        self._add_fit(widths, affine)

    def _add_operations(self, widths: Mapping[int, int], affine: bool) -> None:
        """Build the operations of all edges.

        An operation without parameters gives every edge that leaves a source the same result, so
        those edges share one module, computed once.
        """
        self.operations = nn.ModuleList()
        self.slots: list[int | None] = []  # edge -> its module in operations
        shared: dict[tuple[int, str], int] = {}
        for edge in self.edges:
            key = (edge.source, edge.operation)
            if edge.operation == "none":
                self.slots.append(None)
            elif key in shared:
                self.slots.append(shared[key])
            else:
                slot = len(self.operations)
                module = self._build(edge, widths.get(edge.source), affine)
                if not any(True for _ in module.parameters()):
                    shared[key] = slot
                self.operations.append(module)
                self.slots.append(slot)
        self.reused = {slot for slot, n in Counter(self.slots).items() if n > 1}

    def _build(self, edge: Edge, width: int | None, affine: bool) -> nn.Module:
        """The operation of one edge; `width`: channels of its source, if they are not C."""
        stride = 2 if self.reduces and edge.from_input else 1
        return ops.build(edge.operation, self.operation_channels, stride, affine, width)

    def _add_fit(self, widths: Mapping[int, int], affine: bool) -> None:
        """Bring concatenated inputs to the shape of the nodes, as NASNet's code does."""
        self.fit = nn.ModuleDict()
        for node in self.concat:
            if node in self.incoming:
                continue  # a node's value has that shape; no edge enters an input
            width = widths.get(node, self.channels)
            if self.reduces:
                self.fit[str(node)] = ops.FactorizedReduce(width, self.channels, affine)
            elif width != self.channels:
                self.fit[str(node)] = ops.build("conv_1x1", self.channels, 1, affine, width)

    @property
    def behaviour(self) -> tuple[object, ...]:
        """What its passes depend on, beside its modules."""
        return self.drop_path, self.drop_nodes, self.skip_dropout, self.loose_ends

    @property
    def channels_out(self) -> int:
        """Channels of the output: C times the number of concatenated nodes."""
        return self.channels * len(self.concat)

    def forward(self, s0: FeatureMap, s1: FeatureMap, weights: Weights | None = None) -> FeatureMap:
        """(B, C0, H0, W0), (B, C1, H, W) -> (B, channels_out, H', W'), H' = H / 2 if it reduces.

        `weights`: one scalar tensor or None (skip) per edge; None for all: every edge counts once.
        The nodes are the parts of the result: they are never copied side by side.
        """
        first, second = self.preprocess
        states = {
            0: FeatureMap.shared(s0.x if isinstance(first, nn.Identity) else first(s0)),
            1: FeatureMap.shared(second(s1)),
        }
        whole = self.channel_groups == 1
        sources = states if whole else {n: self._part(state) for n, state in states.items()}
        made: dict[int, Term] = {}
        if worthwhile(states[1].parts[0]):
            for node in (0, 1):
                made |= together(self._terms(node, sources[node], weights))
        for node, incoming in self.incoming.items():
            total = self._sum(incoming, sources, weights, made)
            if not whole and weights is not None:
                total = self._with_bypass(total, incoming, states, weights)
            if self.drop_nodes and self.training and self.drop_path > 0:
                total = dropped(total, self.drop_path)
            states[node] = FeatureMap.shared(total)
            if not whole:
                sources[node] = self._part(states[node])
            if worthwhile(total):
                made |= together(self._terms(node, sources[node], weights))
        for name, module in self.fit.items():
            states[int(name)] = FeatureMap(module(states[int(name)].x))
        if self.loose_ends and weights is not None:
            # As zeros they add nothing to the 1 x 1 convolution that reads them.
            read = {e.source for e, w in zip(self.edges, weights, strict=True) if w is not None}
            states |= {node: FeatureMap(torch.zeros_like(states[node].x)) for node in read}
        return FeatureMap.beside([states[node] for node in self.concat])

    def _terms(self, node: int, source: FeatureMap, weights: Weights | None) -> dict[int, Term]:
        """What the operations that leave a node add, by their slots: not yet computed."""
        found = {}
        for index, (edge, slot) in enumerate(zip(self.edges, self.slots, strict=True)):
            skipped = weights is not None and weights[index] is None
            if edge.source == node and slot is not None and not skipped:
                operation = self.operations[slot]
                if isinstance(operation, ops.Normed):
                    found[slot] = operation.term(source)
        return found

    def _sum(
        self,
        incoming: Sequence[int],
        sources: Mapping[int, FeatureMap],
        weights: Weights | None,
        made: dict[int, Term],
    ) -> Tensor:
        """The sum of a node's edges: (B, C * channel_fraction, H, W)."""
        terms: list[Term] = []
        factors: list[Tensor] = []
        for index in incoming:
            slot = self.slots[index]
            weight = None if weights is None else weights[index]
            if slot is None or (weights is not None and weight is None):
                continue
            terms.append(self._term(slot, sources[self.edges[index].source], made))
            if weight is not None:
                factors.append(weight)
        if not terms:
            return self._zeros(sources[1].x)
        return add_up(terms, factors if weights is not None else None)

    def _term(self, slot: int, source: FeatureMap, made: dict[int, Term]) -> Term:
        """What an edge adds; `made`: those of operations that several edges share."""
        operation = self.operations[slot]
        if slot in made:
            term = made[slot]
        elif isinstance(operation, ops.Normed):
            term = operation.term(source)
        elif isinstance(operation, ops.Identity):
            term = Term(source)
        else:
            reads_relu = getattr(operation, "reads_relu", False)
            term = Term(FeatureMap(operation(source.relu if reads_relu else source.x)))
        if slot in self.reused:
            made[slot] = term
        if self.training and max(self.drop_path, self.skip_dropout) > 0:
            term = Term(FeatureMap(self._drop(add_up([term]), operation)))
        return term

    def _part(self, source: FeatureMap) -> FeatureMap:
        """(B, C, H, W) -> (B, C * channel_fraction, H, W): what the operations see."""
        return FeatureMap.shared(source.x[:, : self.operation_channels])

    def _with_bypass(
        self,
        mixed: Tensor,
        incoming: Sequence[int],
        states: Mapping[int, FeatureMap],
        weights: Weights,
    ) -> Tensor:
        """The node whose operations sum to `mixed` (B, C * fraction, H, W): (B, C, H, W)."""
        rows: dict[int, list[Tensor]] = {}
        halved = {e.source for e in self.edges if self.reduces and e.from_input}
        for index in incoming:
            weight = weights[index]
            if weight is not None:
                rows.setdefault(self.edges[index].source, []).append(weight)
        batch, part, height, width = mixed.shape
        rest = mixed.new_zeros(batch, self.channels - part, height, width)
        for source, row in rows.items():
            around = states[source].x[:, part:]
            if source in halved:
                around = nn.functional.max_pool2d(around, 2, ceil_mode=True)
            rest = torch.addcmul(rest, torch.stack(row).sum(), around)
        return nn.functional.channel_shuffle(join([mixed, rest]), self.channel_groups)

    def _drop(self, y: Tensor, operation: nn.Module) -> Tensor:
        """Drop path: per image, zero the edge with probability p, else divide by 1 - p.

        An identity is left alone, but for `skip_dropout`.
        """
        if isinstance(operation, ops.Identity):
            return nn.functional.dropout(y, self.skip_dropout) if self.skip_dropout > 0 else y
        return y if self.drop_path == 0 or self.drop_nodes else dropped(y, self.drop_path)

    def _zeros(self, like: Tensor) -> Tensor:
        """The value of a node all of whose operations are skipped."""
        if not self.reduces:
            return torch.zeros_like(like)
        batch, channels, height, width = like.shape
        return like.new_zeros(batch, channels, (height + 1) // 2, (width + 1) // 2)


def dropped(y: Tensor, probability: float) -> Tensor:
    """(B, C, H, W): each image zeroed with `probability`, else divided by 1 - p."""
    keep = 1.0 - probability
    mask = torch.empty(y.shape[0], 1, 1, 1, dtype=y.dtype, device=y.device)
    return y * mask.bernoulli_(keep).div_(keep)


def _groups(channel_fraction: float, channels: int) -> int:
    """The n of a fraction 1 / n; raises UsageError if it is none, or if n does not divide C."""
    groups = round(1 / channel_fraction) if 0 < channel_fraction <= 1 else 0
    if not abs(groups * channel_fraction - 1) < 1e-9:  # nor is NaN one
        raise UsageError(f"channel_fraction must be 1, 1/2, 1/3, ..., got {channel_fraction}")
    if channels % groups:
        raise UsageError(
            f"channel_fraction {channel_fraction:g}: the {channels} channels of a cell cannot be"
            f" divided by {groups}"
        )
    return groups


def _preprocess(
    sources: tuple[int, int],
    channels: int,
    preprocessing: str,
    raw: bool,
    halved: bool,
    affine: bool,
) -> nn.ModuleList:
    """What brings a cell's two inputs to C channels, see `Cell`; `raw`: not the first of them."""
    before_last: nn.Module
    if raw:
        before_last = nn.Identity()
    elif halved:
        before_last = ops.FactorizedReduce(sources[0], channels, affine)
    else:
        before_last = ReLUConvBN(sources[0], channels, affine)
    last: nn.Module = ReLUConvBN(sources[1], channels, affine)
    if preprocessing == "enas":
        last = nn.Sequential(last, ReLUConvBN(channels, channels, affine))
    return nn.ModuleList([before_last, last])


def whitening_stem(image: tuple[int, int, int], channels: int) -> nn.Sequential:
    """(B, C, H, W) -> (B, channels, h, w): whitening, GELU, 3 x 3 convolution, max pooling, norm.

    As the speed record's network begins (see `Whitening`); halved while a side has over 24 pixels.
    """
    first = Whitening(image)
    layers: list[nn.Module] = [first, nn.GELU()]
    layers += [nn.Conv2d(first.out_channels, channels, 3, padding=1, bias=False)]
    side = max(first.sides)
    while side > LARGEST_POOLED:
        layers += [nn.MaxPool2d(2, ceil_mode=True)]
        side = (side + 1) // 2
    return nn.Sequential(*layers, nn.BatchNorm2d(channels))


def stem(image: tuple[int, int, int], channels: int) -> nn.Sequential:
    """(B, C, H, W) -> (B, channels, h, w): 3 x 3 convolution and norm, no ReLU.

    h = H up to 48 pixels (CIFAR: exactly DARTS' stem). A larger image is first halved by 3 x 3
    convolutions of stride 2, each with norm and ReLU, until both sides fit.
    """
    layers: list[nn.Module] = []
    channels_in, side = image[0], max(image[1:])
    while side > LARGEST_CELL_INPUT:
        layers += [
            nn.Conv2d(channels_in, channels, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
        ]
        channels_in, side = channels, (side + 1) // 2
    layers += [
        nn.Conv2d(channels_in, channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels),
    ]
    return nn.Sequential(*layers)


class Skeleton(nn.Module):
    """Stem, `cells` cells with reductions after one and two thirds, global pool, classifier.

    `edges(kind)`, `concat(kind)`: what the "normal" and "reduce" cells hold.
    `channels`: C of the first cell; each reduction cell doubles it.
    `image`: (C, H, W) of the input. `affine`: see `ops.build`; the stem's norm is always affine.
    `preprocessing`: see `Cell`; all but `darts` also have a ReLU before the global pool.
    `channel_fraction`: see `Cell`. `whitening`: whether the stem is `whitening_stem`.
    Raises UsageError if there are no cells, channels or classes.
    """

    def __init__(
        self,
        edges: Callable[[str], Sequence[Edge]],
        concat: Callable[[str], Sequence[int]],
        *,
        cells: int,
        channels: int,
        classes: int,
        image: tuple[int, int, int],
        affine: bool,
        auxiliary: bool = False,
        preprocessing: str = "darts",
        channel_fraction: float = 1.0,
        whitening: bool = False,
    ) -> None:
        super().__init__()
        for name, value in (("cells", cells), ("channels", channels), ("classes", classes)):
            if value < 1:
                raise UsageError(f"{name} must be at least 1, got {value}")
        self.image = image
        self.preprocessing = preprocessing
        self.recorder = Recorder()
        self.tapes = Tapes()
        self.reductions = {cells // 3, 2 * cells // 3}
        # The cell that the auxiliary head reads; ENAS' code takes the one after DARTS'.
        self.auxiliary_cell = min(2 * cells // 3 + (preprocessing == "enas"), cells - 1)
        width = STEM_MULTIPLIER * channels
        self.stem = (whitening_stem if whitening else stem)(image, width)
        self.cells = nn.ModuleList()
        self.kinds: list[str] = []
        sources, halved = (width, width), False
        for index in range(cells):
            reduces = index in self.reductions
            if reduces:
                channels *= 2
            kind = "reduce" if reduces else "normal"
            cell = Cell(
                edges(kind),
                concat(kind),
                sources,
                channels,
                halved=halved,
                reduces=reduces,
                affine=affine,
                preprocessing=preprocessing,
                first=index == 0,
                channel_fraction=channel_fraction,
            )
            self.cells.append(cell)
            self.kinds.append(kind)
            sources, halved = (sources[1], cell.channels_out), reduces
            if index == self.auxiliary_cell and auxiliary:
                self.auxiliary = AuxiliaryHead(cell.channels_out, classes)
        self.classifier = nn.Linear(sources[1], classes)

    def set_drop_path(self, probability: float) -> None:
        """In training, zero each operation's output with `probability`, for each image alone.

        Outputs that are kept are divided by 1 - p; an identity is left alone. Raises UsageError
        outside of 0 <= p < 1.
        """
        self._set("drop_path", probability)

    def set_drop_nodes(self) -> None:
        """From now on drop path drops the sum at each node, identities included (Fair DARTS)."""
        for cell in self.cells:
            cast(Cell, cell).drop_nodes = True

    def set_skip_dropout(self, probability: float) -> None:
        """In training, zero each value behind an identity with `probability`.

        Raises UsageError outside of 0 <= p < 1.
        """
        self._set("skip_dropout", probability)

    def _set(self, name: str, probability: float) -> None:
        if not 0 <= probability < 1:
            raise UsageError(f"{name.replace('_', ' ')} must lie in [0, 1), got {probability}")
        for cell in self.cells:
            setattr(cell, name, probability)

    def features(
        self,
        x: Tensor,
        weights: Mapping[str, Weights] | None = None,
        of: Sequence[int] = (),
    ) -> list[Tensor]:
        """(B, C, H, W) -> what the classifier reads, (B, C), and the outputs of some cells.

        `of`: their places.
        """
        if hooked(self.stem):
            return self.stack(self.stem(x), weights, of)
        *layers, norm = self.stem
        for layer in layers:
            x = layer(x)
        return self.stack(x, weights, of, cast(nn.BatchNorm2d, norm))

    def stack(
        self,
        x: Tensor,
        weights: Mapping[str, Weights] | None = None,
        of: Sequence[int] = (),
        norm: nn.BatchNorm2d | None = None,
    ) -> list[Tensor]:
        """What the stem hands on -> what `features` does.

        `norm`: the stem's last, if x has not passed it yet: it is one of the loops then.
        """
        rows = {} if weights is None else weights
        there = {kind: tuple(w is not None for w in row) for kind, row in rows.items()}
        chosen = [cast(Cell, self.cells[place]) for place in of]

        def passes(x: Tensor, scalars: Sequence[Tensor]) -> list[Tensor]:
            left = iter(scalars)
            mine = {kind: [next(left) if t else None for t in row] for kind, row in there.items()}
            x = x if norm is None else add_up([Term(FeatureMap(x), norm=norm)])
            outputs = self._run(x, None if weights is None else mine)
            parts = [part for place in of for part in outputs[place].parts]
            if not self.training:  # whoever looks for the last map finds it
                return [*parts, global_mean(outputs[-1].x, self.rectified)]
            return [*parts, *outputs[-1].means(self.rectified)]

        constants = (
            *of,
            *there.items(),
            *(cast(Cell, cell).behaviour for cell in self.cells),
        )
        scalars = [w for row in rows.values() for w in row if w is not None]
        modules = [self.cells] if norm is None else [norm, self.cells]
        parts = iter(self.tapes(passes, modules, constants, x, scalars))
        maps = [FeatureMap(*(next(parts) for _ in cell.concat)).x for cell in chosen]
        means = list(parts)
        return [means[0] if len(means) == 1 else torch.cat(means, 1), *maps]

    def _run(self, x: Tensor, weights: Mapping[str, Weights] | None) -> list[FeatureMap]:
        """The stem's output -> that of every cell, in order."""
        s0 = s1 = FeatureMap.shared(x)
        outputs = []
        for kind, cell in zip(self.kinds, self.cells, strict=True):
            mine = None if weights is None else weights[kind]
            s0, s1 = s1, cell(s0, s1, mine)
            outputs.append(s1)
        return outputs

    @property
    def rectified(self) -> bool:
        """Whether a ReLU comes before the global pool."""
        return self.preprocessing != "darts"
