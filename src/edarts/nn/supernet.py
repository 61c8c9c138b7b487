"""Supernet: every candidate operation of a space at once, weighed from outside."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from edarts.errors import UsageError
from edarts.nn.cells import LARGEST_CELL_INPUT, Cell, Skeleton, Weights
from edarts.space import operations
from edarts.space.darts import DartsSpace
from edarts.space.genotype import Edge

Spread = Callable[[Tensor], Tensor]
"""Widens a tensor of a narrower supernet."""


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
            return [
                edge if kept else edge._replace(operation="none")
                for edge, kept in zip(edges, there, strict=True)
            ]

        super().__init__(
            candidates,
            lambda kind: tuple(space.incoming(kind)),
            cells=cells,
            channels=channels,
            classes=classes,
            image=image,
            affine=False,
            channel_fraction=channel_fraction,
        )
        self.space = space
        for cell in self.cells:
            cast(Cell, cell).loose_ends = space.loose_ends

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
        kept: dict[str, list[bool]] = {}
        for kind in self.space.groups:
            matrix = weights[kind]
            shape = self.space.shape(kind)
            if tuple(matrix.shape) != shape:
                raise UsageError(
                    f"{kind} weights have shape {tuple(matrix.shape)}, the space needs {shape}"
                )
            computed = matrix.detach() != 0
            if needs_grad is not None:
                computed = computed | needs_grad[kind]
            kept[kind] = computed.flatten().tolist()

        def passes(x: Tensor, *matrices: Tensor) -> Tensor:
            chosen: dict[str, Weights] = {
                kind: [
                    weight if keep else None
                    for weight, keep in zip(matrix.flatten().unbind(), kept[kind], strict=True)
                ]
                for kind, matrix in zip(kept, matrices, strict=True)
            }
            return cast(Tensor, self.classifier(self.features(x, chosen)[0]))

        cell = cast(Cell, self.cells[0])
        constants = (*map(tuple, kept.values()), cell.drop_path, cell.skip_dropout)
        return self.recorder(passes, self, constants, x, *(weights[kind] for kind in kept))

    @torch.no_grad()
    def grown_from(self, older: "Supernet") -> Iterator[tuple[Tensor, Tensor, Spread]]:
        """Each parameter, that of a narrower supernet of the same cells which it continues, and
        what widens a tensor of the old one's shape to the new one's.

        New channels are copies of old ones, drawn for each module and width from torch's generator
        (DrNAS' code, Chen et al. 2021: Net2Net's widening without its division, as norms follow).
        """
        pairs: list[tuple[nn.Module, nn.Module]] = [(self.stem, older.stem)]
        both = zip(cast(list[Cell], self.cells), cast(list[Cell], older.cells), strict=True)
        for cell, old in both:
            pairs.append((cell.preprocess, old.preprocess))
            for slot, its in zip(cell.slots, old.slots, strict=True):
                if slot is not None and its is not None:
                    pairs.append((cell.operations[slot], old.operations[its]))
        for new_part, old_part in [*pairs, (self.classifier, older.classifier)]:
            drawn: dict[tuple[int, int], Tensor] = {}
            for new, of_old in zip(new_part.parameters(), old_part.parameters(), strict=True):
                yield new, of_old, partial(_widened, shape=new.shape, drawn=drawn)

    def resources(self) -> dict[str, Tensor]:
        """{group: (cells, 3, E, K)}: size, FLOPs, memory accesses of each candidate in each cell.

        Maps count as squares of the image's longer side, which the stem halves if it is large.
        """
        found: dict[str, list[list[operations.Resources]]] = {g: [] for g in self.space.groups}
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

    def _costs(self, cell: Cell, group: str, side: int) -> list[operations.Resources]:
        """What every candidate of a cell with a `side` x `side` output costs, row by row."""
        inputs = {source for source, _ in self.space.edges(group)} - set(self.space.incoming(group))
        channels, reduces = cell.channels // cell.channel_groups, bool(cell.reduces)
        return [
            _cost(name, channels, side, 2 if reduces and source in inputs else 1)
            for source, _ in self.space.edges(group)
            for name in self.space.candidates(group)
        ]


def _widened(value: Tensor, shape: torch.Size, drawn: dict[tuple[int, int], Tensor]) -> Tensor:
    """A copy of `value` in `shape`; `drawn`: old and new width -> which channel each new one is."""
    for dim, (old, new) in enumerate(zip(value.shape, shape, strict=True)):
        if old != new and (old, new) not in drawn:
            drawn[old, new] = torch.cat([torch.arange(old), torch.randint(old, (new - old,))])
        if old != new:
            value = value.index_select(dim, drawn[old, new].to(value.device))
    return value.clone()


def _cost(name: str, channels: int, side: int, stride: int) -> operations.Resources:
    """What an operation costs. Raises UsageError if that is not known."""
    cost = operations.get(name).resources
    if cost is None:
        raise UsageError(
            f"operation {name} does not say what it costs: leave it out, or --constraint none"
        )
    return cost(channels, side, stride)
