"""Supernet: every candidate operation of a space at once, weighed from outside."""

from collections.abc import Mapping
from typing import cast

from torch import Tensor

from edarts.errors import UsageError
from edarts.nn.cells import Cell, Skeleton, Weights
from edarts.space.darts import Space
from edarts.space.genotype import KINDS, Edge


class Supernet(Skeleton):
    """All operations of `space` on all its edges; norms without scale and shift, pools normed.

    It holds no architecture parameters: a method makes the weights (DARTS, Liu et al. 2019, eq. 2:
    the mixed operation). `image`: (C, H, W) of the input. `channel_fraction`: see `Cell`.
    `mask`: {kind: (E, K) mask}; an operation that is false there counts as `none` (P-DARTS).
    """

    def __init__(
        self,
        space: Space,
        *,
        cells: int,
        channels: int,
        classes: int,
        image: tuple[int, int, int] = (3, 32, 32),
        channel_fraction: float = 1.0,
        mask: Mapping[str, Tensor] | None = None,
    ) -> None:
        def candidates(kind: str) -> list[Edge]:
            edges = space.candidates(kind)
            if mask is None:
                return edges
            there = mask[kind].flatten().tolist()
            return [
                edge if kept else edge._replace(operation="none")
                for edge, kept in zip(edges, there, strict=True)
            ]

        super().__init__(
            candidates,
            space.concat,
            cells=cells,
            channels=channels,
            classes=classes,
            image=image,
            affine=False,
            channel_fraction=channel_fraction,
        )
        self.space = space
        for cell in self.cells:
            cast(Cell, cell).loose_ends = space.pairs

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
        for kind in KINDS:
            matrix = weights[kind]
            shape = (len(self.space.topology(kind)), len(self.space.operations))
            if tuple(matrix.shape) != shape:
                raise UsageError(
                    f"{kind} weights have shape {tuple(matrix.shape)}, the space needs {shape}"
                )
            computed = matrix.detach() != 0
            if needs_grad is not None:
                computed = computed | needs_grad[kind]
            chosen[kind] = [
                weight if keep else None
                for weight, keep in zip(
                    matrix.flatten().unbind(), computed.flatten().tolist(), strict=True
                )
            ]
        return self.classify(self.features(x, chosen)[-1].x)
