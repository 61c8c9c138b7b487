"""Plan: what a network's cells do to one image, found by running them once, done in one call.

While a plan is made, `node` and the other doors of this package hand it what they are asked for and
get tensors that stand for the results. Whatever else a cell computes is not planned.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edarts.nn.kernels.compiled import load_loops, planning
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
        self._rooms: dict[tuple[int, ...], int] = {}
        self._steps: list[tuple[Any, ...]] = []
        self._sources: list[list[int]] = []
        self.source = self._room(*shape[1:])
        self.result = self.source

    def make(self, function: Callable[[Tensor], Tensor]) -> None:
        """Plan function(x). Raises Unplanned."""
        planning.plan = self
        try:
            self.result = function(self.source)
        finally:
            planning.plan = None
        self._check(self.result)
        if any(made._version for made in self._known.values()):
            raise Unplanned  # something else wrote there
        most = max((len(parts) for parts in self._sources), default=1)
        self._program = np.array(self._steps, self._loops.plans.STEP)
        self._reads = np.zeros((len(self._steps), most), np.int64)
        for row, parts in zip(self._reads, self._sources, strict=True):
            row[: len(parts)] = parts

    def __call__(self, x: Tensor) -> Tensor:
        """function(x), of which the next call takes the memory."""
        self.source.copy_(x)
        self._loops.plans.run(self._program, self._reads)
        return self.result

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

    def pool(self, kind: str, x: Tensor, kernel: int, stride: int) -> Tensor:
        """3 x 3 pooling, `max` or `average`."""
        if kernel != 3:
            raise Unplanned
        _, channels, height, width = x.shape
        out = self._room(channels, -(-height // stride), -(-width // stride))
        loops = self._loops.plans
        kinds = {"max": loops.MAX_POOL, "average": loops.AVERAGE_POOL}
        self._step(kinds[kind], [x], out, k=kernel, s=stride)
        return out

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
            (x,) = parts
            out = self._room(*x.shape[1:]) if total is None else total
            scale, shift = _norm(term.norm, x.shape[1])
            self._step(
                self._loops.plans.ADD, [x], out, fresh=total is None,
                scale=self._wide(scale), shift=self._wide(shift),
            )  # fmt: skip
            return out
        for number, stage in enumerate(term.stages, 1):
            last = number == len(term.stages)
            parts = [
                self._stage(stage, parts, term.norm if last else None, total if last else None)
            ]
        return parts[0]

    def _stage(
        self,
        stage: SeparableStage,
        parts: list[Tensor],
        after: nn.BatchNorm2d | None,
        total: Tensor | None,
    ) -> Tensor:
        stages, round_up = self._loops.stages, self._loops.pieces.round_up
        wide, narrow = kernels(stage)
        outer, channels = narrow.shape
        scale, shift = _norm(stage.norm, channels)
        factor, bias = _norm(after, outer)
        _, _, height, width = parts[0].shape
        s = stage.stride
        out = self._room(outer, -(-height // s), -(-width // s)) if total is None else total
        k, d = wide.shape[1], stage.dilation
        *_, tall, broad = stages.sides(height, width, max(k, 1), s, d)
        size = tall * broad * round_up(channels)
        self._step(
            self._loops.plans.CONVOLVE, parts, out, fresh=total is None, k=k, s=s, d=d,
            scale=self._wide(scale), shift=self._wide(shift),
            taps=self._keep(stages.pack_taps(wide, False)),
            matrix=self._keep(stages.pack_matrix(factor[:, None] * narrow, False)),
            bias=0 if after is None else self._wide(bias),
            padded=self._padded(size, (len(parts), channels, height, width, k, s, d)),
        )  # fmt: skip
        return out

    def _step(
        self,
        kind: int,
        parts: Sequence[Tensor],
        out: Tensor,
        *,
        fresh: bool = True,
        k: int = 0,
        s: int = 1,
        d: int = 1,
        **addresses: int,
    ) -> None:
        for part in parts:
            self._check(part)
        _, channels, height, width = parts[0].shape
        values = {
            "kind": kind, "fresh": int(fresh), "parts": len(parts), "height": height,
            "width": width, "channels": channels, "k": k, "s": s, "d": d, "outer": out.shape[1],
            "out": out.data_ptr(), **addresses,
        }  # fmt: skip
        self._steps.append(tuple(values.get(name, 0) for name in self._loops.plans.FIELDS))
        self._sources.append([part.data_ptr() for part in parts])

    def _check(self, x: Tensor) -> None:
        if self._known.get(id(x)) is not x:
            raise Unplanned

    def _room(self, channels: int, height: int, width: int) -> Tensor:
        """Memory for a result, (1, C, H, W)."""
        made = torch.zeros(1, height, width, channels).permute(0, 3, 1, 2)
        self._known[id(made)] = made
        return made

    def _padded(self, size: int, form: tuple[int, ...]) -> int:
        """The address of zeros for padded images, which steps of one form share."""
        if form not in self._rooms:
            self._rooms[form] = self._keep(self._loops.pieces.scratch(size))
        return self._rooms[form]

    def _wide(self, values: Floats) -> int:
        """The address of (C,) numbers, kept, with zeros up to whole vectors."""
        return self._keep(self._loops.pieces.widened(values))

    def _keep(self, array: NDArray[Any]) -> int:
        """Its address."""
        self._kept.append(array)
        return int(array.ctypes.data)


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
