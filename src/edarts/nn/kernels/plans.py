"""Plan: what a network does to one image, found by running it once, done in one call.

While a plan is made, `node` and the other doors of this package hand it what they are asked for and
get tensors that stand for the results. Whatever else a cell computes is not planned.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edarts.nn.kernels.compiled import load_loops, now
from edarts.nn.kernels.layout import Floats
from edarts.nn.kernels.nodes import kernels
from edarts.nn.kernels.terms import SeparableStage, Term


class Unplanned(Exception):
    """A cell does something that no plan knows."""


class Plan:
    """Steps on tensors (1, C, H, W) in channels-last memory, which it holds.

    Norms are taken as in evaluation, weights as they are when it is made.
    """

    def __init__(self, shape: torch.Size) -> None:
        self._loops = load_loops()
        self._known: dict[int, Tensor] = {}
        self._kept: list[Any] = []
        self._rooms: dict[tuple[Any, ...], int] = {}
        self._steps: list[tuple[int, ...]] = []
        self._sources: list[list[int]] = []
        self._offsets: list[list[int]] = []
        self.source = self._room(*shape[1:])
        self.result = self.source

    def make(self, function: Callable[["Plan", Tensor], Tensor]) -> None:
        """Plan function(plan, x). Raises Unplanned."""
        now.plan = self
        try:
            self.result = function(self, self.source)
        finally:
            now.plan = None
        self._check(self.result)
        if any(made._version for made in self._known.values()):
            raise Unplanned  # something else wrote there
        self._program = np.array(self._steps, self._loops.plans.STEP)
        self._reads, self._taps = _rows(self._sources), _rows(self._offsets)

    def __call__(self, x: Tensor) -> Tensor:
        """function(x)."""
        self.source.copy_(x)
        self._loops.plans.run(self._program, self._reads, self._taps)
        return self.result.clone()

    # -- what is asked for while it is made

    def node(self, terms: Sequence[Term], weights: Sequence[Tensor] | None) -> Tensor:
        """`kernels.node`."""
        if weights is not None:
            raise Unplanned
        out: Tensor | None = None
        for term in terms:
            out = self._term(term, out)
        assert out is not None
        return out

    def layers(self, layers: Iterable[nn.Module], x: Tensor) -> Tensor:
        """Convolutions, norms, activations after them and 2 x 2 pooling, one after the other."""
        waiting = [*layers]
        while waiting:
            layer = waiting.pop(0)
            if isinstance(layer, nn.Conv2d):
                norm = _first(waiting, nn.BatchNorm2d)
                x = self._dense(layer, norm, _first(waiting, nn.ReLU, nn.GELU), x)
            elif isinstance(layer, nn.MaxPool2d) and layer.kernel_size == 2 and layer.ceil_mode:
                x = self._pool("max", x, 2, 2, -(-x.shape[2] // 2), -(-x.shape[3] // 2), 0)
            elif isinstance(layer, nn.BatchNorm2d):
                x = self._normed(layer, x, None)
            else:
                raise Unplanned
        return x

    def pool(self, kind: str, x: Tensor, kernel: int, stride: int) -> Tensor:
        """`max_pool2d` or `average_pool2d`: `max` or `average`."""
        rows, columns = (-(-side // stride) for side in x.shape[2:])
        return self._pool(kind, x, kernel, stride, rows, columns, kernel // 2)

    def shrink(self, x: Tensor, by: int) -> Tensor:
        """Means of whole squares."""
        return self._pool("average", x, by, by, x.shape[2] // by, x.shape[3] // by, 0)

    def global_mean(self, x: Tensor, rectified: bool) -> Tensor:
        """`kernels.global_mean`."""
        loops = self._loops.plans
        out = self._room(x.shape[1], 1, 1)
        self._step(loops.MEAN, [x], out, after=loops.RELU if rectified else loops.NOTHING)
        return self._known.setdefault(id(flat := out.view(1, -1)), flat)

    def halves(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`FeatureMap.halves` of one part."""
        _, channels, height, width = x.shape
        found = []
        for first in (0, 1):
            out = self._room(channels, -(-height // 2), -(-width // 2))
            self._step(self._loops.plans.PICK, [x], out, s=2, d=first)
            found.append(out)
        return found[0], found[1]

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """`concat`."""
        if len({part.shape for part in parts}) > 1:
            raise Unplanned
        _, channels, height, width = parts[0].shape
        out = self._room(channels * len(parts), height, width)
        self._step(self._loops.plans.JOIN, parts, out)
        return out

    # -- steps

    def _term(self, term: Term, total: Tensor | None) -> Tensor:
        """Add a term to the total of a node, if there is one yet."""
        parts = list(term.reads().parts)
        if not term.stages:
            return self._normed(term.norm, parts[0], total)
        for number, stage in enumerate(term.stages, 1):
            last = number == len(term.stages)
            parts = [
                self._stage(stage, parts, term.norm if last else None, total if last else None)
            ]
        return parts[0]

    def _normed(self, norm: nn.BatchNorm2d | None, x: Tensor, total: Tensor | None) -> Tensor:
        """Add x, after the norm if there is one, to the total."""
        out = self._room(*x.shape[1:]) if total is None else total
        scale, shift = _norm(norm, x.shape[1])
        self._step(
            self._loops.plans.ADD, [x], out, fresh=total is None,
            scale=self._wide(scale), shift=self._wide(shift),
        )  # fmt: skip
        return out

    def _stage(
        self,
        stage: SeparableStage,
        parts: list[Tensor],
        after: nn.BatchNorm2d | None,
        total: Tensor | None,
    ) -> Tensor:
        stages, pieces = self._loops.stages, self._loops.pieces
        wide, narrow = kernels(stage)
        outer, channels = narrow.shape
        scale, shift = _norm(stage.norm, channels)
        factor, bias = _norm(after, outer)
        _, _, height, width = parts[0].shape
        k, s, d = wide.shape[1], stage.stride, stage.dilation
        rows, columns, _, blocks, tall, broad = stages.sides(height, width, max(k, 1), s, d)
        out = self._room(outer, rows, columns) if total is None else total
        inside, outside = pieces.round_up(channels), pieces.round_up(outer)
        form = (len(parts), channels, height, width, k, s, d)
        self._step(
            self._loops.plans.SEPARABLE, parts, out, fresh=total is None, k=k, s=s, d=d,
            offsets=pieces.tap_offsets(k, d, broad * inside, inside).tolist(),
            scale=self._wide(scale), shift=self._wide(shift),
            taps=self._keep(stages.pack_taps(wide, False)),
            matrix=self._keep(stages.pack_matrix(factor[:, None] * narrow, False)),
            bias=0 if after is None else self._wide(bias),
            padded=self._work("padded", tall * broad * inside, *form),
            u=self._work("u", 2 * blocks * inside), v=self._work("v", 2 * blocks * outside),
        )  # fmt: skip
        return out

    def _dense(
        self, layer: nn.Conv2d, norm: nn.BatchNorm2d | None, after: nn.Module | None, x: Tensor
    ) -> Tensor:
        """A convolution of all channels, the norm and the activation after it."""
        loops, outer, channels = self._loops.plans, layer.out_channels, layer.in_channels
        if isinstance(layer.padding, str):
            raise Unplanned
        (k, side), (s, t), pad = layer.kernel_size, layer.stride, layer.padding[0]
        plain = layer.groups == 1 and layer.dilation == (1, 1) and layer.padding_mode == "zeros"
        if not plain or (side, t) != (k, s) or layer.padding != (pad, pad):
            raise Unplanned
        if isinstance(after, nn.GELU) and after.approximate != "none":
            raise Unplanned
        _, _, height, width = x.shape
        rows, columns = ((side + 2 * pad - k) // s + 1 for side in (height, width))
        if rows < 1 or columns < 1:
            raise Unplanned
        factor, bias = _norm(norm, outer)
        if layer.bias is not None:
            bias = bias + factor * layer.bias.detach().numpy()
        outside, blocks, tall, pitch = loops.dense_sizes(
            height, width, channels, rows, columns, outer, k, s, pad
        )
        matrix = self._loops.pieces.scratch(k * k * channels * outside)
        weight = layer.weight.detach().permute(2, 3, 1, 0).numpy()
        matrix.reshape(k, k, channels, outside)[..., :outer] = weight * factor
        activations = {type(None): loops.NOTHING, nn.ReLU: loops.RELU, nn.GELU: loops.GELU}
        out = self._room(outer, rows, columns)
        self._step(
            loops.DENSE, [x], out, k=k, s=s, pad=pad, after=activations[type(after)],
            offsets=[i * pitch + j * channels for i in range(k) for j in range(k)],
            matrix=self._keep(matrix), bias=self._wide(np.pad(bias, (0, outside - outer))),
            padded=self._work("dense", tall * pitch, channels, height, width, k, s, pad),
            v=self._work("v", blocks * outside),
        )  # fmt: skip
        return out

    def _pool(
        self, kind: str, x: Tensor, k: int, s: int, rows: int, columns: int, pad: int
    ) -> Tensor:
        loops = self._loops.plans
        if k > loops.WIDEST or rows < 1 or columns < 1:
            raise Unplanned
        out = self._room(x.shape[1], rows, columns)
        kinds = {"max": loops.MAX_POOL, "average": loops.AVERAGE_POOL}
        self._step(kinds[kind], [x], out, k=k, s=s, pad=pad)
        return out

    def _step(
        self,
        kind: int,
        parts: Sequence[Tensor],
        out: Tensor,
        *,
        fresh: bool = True,
        offsets: Sequence[int] = (),
        **values: int,
    ) -> None:
        for part in parts:
            self._check(part)
        _, channels, height, width = parts[0].shape
        _, outer, rows, columns = out.shape
        values |= {
            "kind": kind, "fresh": int(fresh), "parts": len(parts), "height": height,
            "width": width, "channels": channels, "rows": rows, "columns": columns,
            "outer": outer, "out": out.data_ptr(),
        }  # fmt: skip
        self._steps.append(tuple(values.get(name, 0) for name in self._loops.plans.FIELDS))
        self._sources.append([part.data_ptr() for part in parts])
        self._offsets.append([*offsets])

    def _check(self, x: Tensor) -> None:
        if self._known.get(id(x)) is not x:
            raise Unplanned

    def _room(self, channels: int, height: int, width: int) -> Tensor:
        """Memory for a result, (1, C, H, W)."""
        made = torch.zeros(1, height, width, channels).permute(0, 3, 1, 2)
        self._known[id(made)] = made
        return made

    def _work(self, name: str, size: int, *form: int) -> int:
        """The address of zeros to work in, which steps of one size and form share."""
        key = (name, size, *form)
        if key not in self._rooms:
            self._rooms[key] = self._keep(self._loops.pieces.scratch(size))
        return self._rooms[key]

    def _wide(self, values: Floats) -> int:
        """The address of (C,) numbers, kept, with zeros up to whole vectors."""
        return self._keep(self._loops.pieces.widened(values))

    def _keep(self, array: NDArray[Any]) -> int:
        """Its address."""
        self._kept.append(array)
        return int(array.ctypes.data)


def _first(waiting: list[nn.Module], *kinds: type[nn.Module]) -> Any:
    """Take the first of what waits, if it is of one of the kinds."""
    return waiting.pop(0) if waiting and type(waiting[0]) in kinds else None


def _rows(lists: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """Lists as the rows of an array, with zeros after the shorter ones."""
    out = np.zeros((len(lists), max(map(len, lists), default=0)), np.int64)
    for row, values in zip(out, lists, strict=True):
        row[: len(values)] = values
    return out


def _norm(norm: nn.BatchNorm2d | None, channels: int) -> tuple[Floats, Floats]:
    """Scale and shift of a norm in evaluation."""
    if norm is None:
        return np.ones(channels, np.float32), np.zeros(channels, np.float32)
    if norm.running_mean is None or norm.running_var is None:
        raise Unplanned
    scale = 1 / torch.sqrt(norm.running_var + norm.eps)
    if norm.weight is not None:
        scale = scale * norm.weight.detach()
    shift = -norm.running_mean * scale
    if norm.bias is not None:
        shift = shift + norm.bias.detach()
    return scale.numpy(), shift.numpy()
