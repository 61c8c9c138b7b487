"""Supernet: every candidate operation of a space at once, weighed from outside."""

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor

from edarts.errors import UsageError
from edarts.nn.cells import LARGEST_CELL_INPUT, Cell, Skeleton, Weights
from edarts.space.darts import DartsSpace
from edarts.space.genotype import Edge


class Supernet(Skeleton):
    """All operations of `space` on all its edges; norms without scale and shift, pools normed.

    It holds no architecture parameters: a method makes the weights (DARTS, Liu et al. 2019, eq. 2:
    the mixed operation). `image`: (C, H, W) of the input. `channel_fraction`: see `Cell`.
    `mask`: {kind: (E, K) mask}; an operation that is false there counts as `none` (P-DARTS).
    """

    def __init__(
        self,
        space: DartsSpace,
        *,
        cells: int,
        channels: int,
        classes: int,
        image: tuple[int, int, int] = (3, 32, 32),
        channel_fraction: float = 1.0,
        mask: Mapping[str, Tensor] | None = None,
    ) -> None:
        def candidates(kind: str) -> list[Edge]:
            edges = [Edge(op, *edge) for edge in space.edges(kind) for op in space.operations]
            if mask is None:
                return edges
            there = mask[kind].flatten().tolist()
            none = [edge._replace(operation="none") for edge in edges]
            return [(none, edges)[is_built][row] for row, is_built in enumerate(there)]

        super().__init__(
            candidates,
            lambda kind: tuple(space.incoming(kind)),
            cells=cells,
            channels=channels,
            classes=classes,
            image=image,
            affine=False,
            partial=round(1 / channel_fraction),
        )
        self.space = space
        for cell in self.cells:
            cast(Cell, cell).loose_ends = space.loose_ends

    def set_drop_path(self, probability: float) -> None:
        """In training, zero each operation's output with this probability, per image."""
        for cell in self.cells:
            cast(Cell, cell).drop_path = probability

    def set_skip_dropout(self, probability: float) -> None:
        """In training, zero each value behind an identity with this probability."""
        for cell in self.cells:
            cast(Cell, cell).skip_dropout = probability

    def forward(
        self,
        x: Tensor,
        weights: Mapping[str, Tensor],
        needs_grad: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Images (B, C, H, W) and {"normal": (E, K), "reduce": (E, K)} weights -> (B, classes).

        An operation whose weight is exactly zero is not computed and gets no gradient, unless
        `needs_grad`, a mask of the same shapes, is true there. Raises UsageError for a wrong shape.
        """
        chosen: dict[str, Weights] = {}
        for kind in self.space.groups:
            matrix = weights[kind]
            shape = self.space.shape(kind)
            if tuple(matrix.shape) != shape:
                raise UsageError(
                    f"{kind} weights have shape {tuple(matrix.shape)}, the space needs {shape}"
                )
            needed = matrix.detach() != 0
            if needs_grad is not None:
                needed = needed | needs_grad[kind]
            chosen[kind] = [
                weight if keep else None
                for weight, keep in zip(
                    matrix.flatten().unbind(), needed.flatten().tolist(), strict=True
                )
            ]
        return self.classify(self.features(x, chosen)[-1].x)

    def resources(self) -> dict[str, Tensor]:
        """{group: (cells, 3, E, K)}: size, FLOPs, memory accesses of each candidate in each cell.

        Maps count as squares of the image's longer side, which the stem halves if it is large.
        """
        found: dict[str, list[list[tuple[int, int, int]]]] = {g: [] for g in self.space.groups}
        side = max(self.image[1:])
        while side > LARGEST_CELL_INPUT:
            side = (side + 1) // 2
        for module, group in zip(self.cells, self.kinds, strict=True):
            cell = cast(Cell, module)
            side = (side + 1) // 2 if cell.reduces else side
            found[group].append(self._costs(cell, group, side))
        return {
            group: torch.tensor(rows, dtype=torch.float32)
            .reshape(-1, *self.space.shape(group), 3)
            .permute(0, 3, 1, 2)
            for group, rows in found.items()
        }

    def _costs(self, cell: Cell, group: str, side: int) -> list[tuple[int, int, int]]:
        """Of every candidate of a cell with a `side` x `side` output, row by row."""
        inputs = {source for source, _ in self.space.edges(group)} - set(self.space.incoming(group))
        channels = cell.channels // cell.partial
        return [
            resources(name, channels, side, 2 if cell.reduces and source in inputs else 1)
            for source, _ in self.space.edges(group)
            for name in self.space.candidates(group)
        ]


def resources(operation: str, channels: int, side: int, stride: int) -> tuple[int, int, int]:
    """(size, FLOPs, memory accesses) of an operation with a `side` x `side` output.

    Size: parameters without norms. The authors' formulas, methods.md section 3.
    """
    area, kernel = side * side, int(operation[-1]) if operation[-1].isdigit() else 0
    volume = area * channels
    if operation == "none":
        return 0, 0, 0
    if "pool" in operation:
        return 0, 9 * volume, (2 if stride == 1 else 5) * volume
    if operation == "skip_connect" and stride == 1:
        return 0, 0, 2 * volume
    if operation == "skip_connect":
        size = channels * channels
        return size, size * area, 9 * volume + size
    layer = channels * kernel**2 + channels**2
    if operation.startswith("sep"):
        return 2 * layer, 2 * layer * area, (8 if stride == 1 else 11) * volume + 2 * layer
    return layer, layer * area, (4 if stride == 1 else 7) * volume + layer
