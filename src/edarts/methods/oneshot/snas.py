"""SNAS: DARTS' choice drawn anew for every batch, weights and architecture trained together from
one loss, and cells that cost (Xie et al., ICLR 2019).

As in the authors' code (methods.md section 3), with its Adam of the path for several GPUs; every
edge is derived by its argmax, and one whose argmax is `none` is left out. Differences:
- nodes that lose all edges go, with the edges that leave them; the authors keep them as zeros;
- drop path acts on each operation's output, and not on identities; theirs on each edge's;
- the temperature falls over the epochs asked for, in place of always 150, and the cost is averaged
  over the cells there are, in place of 6 and 2;
- how much mild, moderate and aggressive weigh the cost was not published [?: methods.md]; mild is
  the authors' command, the other two are ours.
"""

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor

from edarts.config import SearchConfig, given
from edarts.errors import UsageError
from edarts.methods.oneshot.base import FirstOrder, connected, gumbel, strongest
from edarts.nn.cells import LARGEST_CELL_INPUT, Cell
from edarts.nn.supernet import Supernet
from edarts.space import operations
from edarts.space.darts import Space
from edarts.space.genotype import KINDS, Edge, Genotype

DEFAULTS: dict[str, Any] = {
    "epochs": 150,
    "batch_size": 64,
    "cells": 8,
    "channels": 16,
    "operations": "all",
    "topology": "all",
    "attention": "none",
    "data_fraction": 1.0,
    "arch_update": "joint",
    "arch_lr": 3e-4,
    "arch_weight_decay": 1e-3,
    "lr": 0.025,
    "lr_min": 0.001,
    "momentum": 0.9,
    "weight_decay": 3e-4,
    "clip": 5.0,
    "drop_path": 0.3,
    "constraint": "mild",
}

HOTTEST, COLDEST = 1.0, 0.03
ARCH_CLIP = 10.0
FACTORS = {"none": 0.0, "mild": 1.5e-3, "moderate": 5e-3, "aggressive": 1.5e-2}


class SNAS(FirstOrder):
    """log alpha (E, K) for each kind; weights are a draw Z from its concrete distribution."""

    def __init__(self, space: Space, config: SearchConfig, device: torch.device) -> None:
        super().__init__(space, config, device, mean=1.0, noise=0.01, clip=ARCH_CLIP)
        self.epochs = given(config.epochs)
        self.temperature = HOTTEST
        self.factor = FACTORS[given(config.constraint)]
        self.costs: dict[str, Tensor] | None = None

    def begin_epoch(self, net: Supernet, epoch: int) -> None:
        """Linear cooling."""
        self.temperature = COLDEST + (1 - epoch / self.epochs) * (HOTTEST - COLDEST)

    def weights(self, training: bool) -> dict[str, Tensor]:
        """In training Z (E, K), a draw that all cells of a kind share; else softmax(log alpha)."""
        if not training:
            return self.alphas.softmax()
        return {kind: sample(self.alphas.values[kind], self.temperature) for kind in KINDS}

    def penalty(self, net: Supernet, weights: Mapping[str, Tensor]) -> Tensor | float:
        """The resource cost of Z, times the factor of the constraint."""
        if self.factor == 0:
            return 0.0
        if self.costs is None:
            self.costs = {
                kind: costs(net, self.space, kind).to(weights[kind].device) for kind in KINDS
            }
        return self.factor * sum(cost(weights[kind], self.costs[kind]) for kind in KINDS)

    def genotype(self) -> Genotype:
        """The strongest operation on every edge; those with `none` are left out."""
        return derive(self.space, self.weights(training=False))


def sample(log_alpha: Tensor, temperature: float) -> Tensor:
    """Z = softmax((log alpha + G) / temperature), G standard Gumbel."""
    return ((log_alpha + gumbel(log_alpha.shape).to(log_alpha.device)) / temperature).softmax(-1)


def cost(z: Tensor, table: Tensor) -> Tensor:
    """Expected cost of cells of one kind: z (E, K), table (cells, 3, E, K) -> a scalar.

    (ln size + ln FLOPs + ln memory accesses) / 3 of each edge, each at least 0; their sum over the
    edges, averaged over the cells (the authors' log form, by reparametrisation).
    """
    if len(table) == 0:
        return z.new_zeros(())
    return (table * z).sum(-1).clamp_min(1.0).log().mean(1).sum(-1).mean()


def costs(net: Supernet, space: Space, kind: str) -> Tensor:
    """(cells, 3, E, K): size, FLOPs, memory accesses of each candidate in each cell of `kind`.

    Maps count as squares of the image's longer side, which the stem halves if it is large.
    """
    rows = []
    side = max(net.image[1:])
    while side > LARGEST_CELL_INPUT:
        side = (side + 1) // 2
    for module, name in zip(net.cells, net.kinds, strict=True):
        cell = cast(Cell, module)
        side = (side + 1) // 2 if cell.reduces else side
        if name == kind:
            rows.append(
                [
                    resources(e.operation, cell.operation_channels, side, _stride(cell, e))
                    for e in space.candidates(kind)
                ]
            )
    shape = (len(space.topology(kind)), len(space.operations), 3)
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, *shape).permute(0, 3, 1, 2)


def _stride(cell: Cell, edge: Edge) -> int:
    return 2 if cell.reduces and edge.from_input else 1


def resources(operation: str, channels: int, side: int, stride: int) -> operations.Resources:
    """What an operation with a `side` x `side` output costs; see `operations.Resources`.

    Raises UsageError for an operation that does not say what it costs.
    """
    stated = operations.get(operation).resources
    if stated is None:
        raise UsageError(
            f"operation '{operation}' does not say what it costs, so SNAS cannot constrain it: give"
            " its Operation a function `resources`, or search with --constraint none"
        )
    return stated(channels, side, stride)


def derive(space: Space, weights: Mapping[str, Tensor]) -> Genotype:
    """The argmax of every edge, `none` left out; DARTS' rule for cells that have nothing else."""
    edges = {}
    for kind in KINDS:
        columns = weights[kind].detach().argmax(dim=-1).tolist()
        names = [space.operations[column] for column in columns]
        chosen = [Edge(n, *pair) for n, pair in zip(names, space.topology(kind), strict=True)]
        edges[kind] = [edge for edge in chosen if edge.operation != "none"]
    return connected(space, edges, otherwise=strongest(space, weights))


PLUGIN = SNAS
