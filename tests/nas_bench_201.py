"""The space of NAS-Bench-201 (Dong and Yang, ICLR 2020) as a stranger would write it.

One cell with one input, four nodes, six edges and five operations, in plain torch. Nothing of the
project but `edarts.space` is used, so it shows what a plug-in may rely on.
"""

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from edarts.config import NoOptions
from edarts.errors import UsageError
from edarts.space.base import Architecture, Chosen, Image, SearchSpace, Size
from edarts.space.cell_picture import cell_panel
from edarts.space.picture import Picture

EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")

Taken = Mapping[tuple[int, str], "Tensor | float"]
"""(row, operation) -> its weight, of those that are computed."""


def relu_conv_norm(channels_in: int, channels_out: int, kernel: int, stride: int = 1) -> nn.Module:
    """ReLU, convolution and norm: (B, a, H, W) -> (B, b, H / stride, W / stride)."""
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(channels_in, channels_out, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(channels_out),
    )


def build(name: str, channels: int) -> nn.Module:
    """The module of an operation but `none`: (B, C, H, W) -> (B, C, H, W)."""
    if name.startswith("nor_conv"):
        return relu_conv_norm(channels, channels, int(name[-1]))
    if name == "avg_pool_3x3":
        return nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
    return nn.Identity()


class Cell(nn.Module):
    """The operations of `built`, (row, name): a node is the sum of the edges that enter it."""

    def __init__(self, channels: int, built: Iterable[tuple[int, str]]) -> None:
        super().__init__()
        self.drop_path = 0.0
        self.operations = nn.ModuleDict(
            {f"{row} {name}": build(name, channels) for row, name in built if name != "none"}
        )

    def forward(self, x: Tensor, taken: Taken) -> Tensor:
        nodes = [x, *(torch.zeros_like(x) for _ in range(3))]
        for (row, name), weight in taken.items():
            key, (source, node) = f"{row} {name}", EDGES[row]
            if key in self.operations:
                nodes[node] = nodes[node] + weight * self._drop(self.operations[key](nodes[source]))
        return nodes[3]

    def _drop(self, y: Tensor) -> Tensor:
        if not self.training or self.drop_path == 0:
            return y
        keep = 1 - self.drop_path
        return y * torch.empty(len(y), 1, 1, 1, device=y.device).bernoulli_(keep) / keep


class Stack(nn.Module):
    """Stem, `cells` cells with two residual blocks of stride 2 between them, pool, classifier."""

    def __init__(
        self, size: Size, image: Image, classes: int, built: Iterable[tuple[int, str]]
    ) -> None:
        super().__init__()
        if size.auxiliary:
            raise UsageError("nas_bench_201 has no auxiliary head")
        cells, channels = size.of_cells().values()
        built = tuple(built)
        self.image = image
        self.stem = nn.Sequential(
            nn.Conv2d(image[0], channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        )
        self.cells, self.halvings = nn.ModuleList(), nn.ModuleDict()
        for index in range(cells):
            if index in (cells // 3, 2 * cells // 3):
                self.halvings[str(index)] = Halving(channels)
                channels *= 2
            self.cells.append(Cell(channels, built))
        self.head = nn.Sequential(
            nn.BatchNorm2d(channels), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )
        self.classifier = nn.Linear(channels, classes)

    def set_drop_path(self, probability: float) -> None:
        for cell in self.cells:
            assert isinstance(cell, Cell)
            cell.drop_path = probability

    def logits(self, x: Tensor, taken: Taken) -> Tensor:
        x = self.stem(x)
        for index, cell in enumerate(self.cells):
            if str(index) in self.halvings:
                x = self.halvings[str(index)](x)
            x = cell(x, taken)
        logits: Tensor = self.classifier(self.head(x))
        return logits


class Halving(nn.Module):
    """The basic residual block of stride 2: (B, C, H, W) -> (B, 2 C, H / 2, W / 2)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.way = nn.Sequential(
            relu_conv_norm(channels, 2 * channels, 3, 2),
            relu_conv_norm(2 * channels, 2 * channels, 3),
        )
        self.short = nn.Sequential(
            nn.AvgPool2d(2, 2, ceil_mode=True), nn.Conv2d(channels, 2 * channels, 1, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        both: Tensor = self.way(x) + self.short(x)
        return both


class Supernet(Stack):
    """All operations on all edges, weighed from outside."""

    def forward(
        self,
        x: Tensor,
        weights: Mapping[str, Tensor],
        needs_grad: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        matrix = weights["cell"]
        computed = matrix.detach() != 0
        if needs_grad is not None:
            computed = computed | needs_grad["cell"]
        taken = {
            (row, name): matrix[row, column]
            for row in range(len(EDGES))
            for column, name in enumerate(OPERATIONS)
            if computed[row, column]
        }
        return self.logits(x, taken)


class Network(Stack):
    """The operations of one cell, each taken once."""

    def __init__(self, size: Size, image: Image, classes: int, names: tuple[str, ...]) -> None:
        super().__init__(size, image, classes, enumerate(names))
        self.names = names

    def forward(self, x: Tensor, auxiliary: bool = False) -> Tensor:
        return self.logits(x, dict.fromkeys(enumerate(self.names), 1.0))


@dataclass(frozen=True)
class Cell201(Architecture):
    """One operation on each of the six edges, in the order of `EDGES`."""

    FORMAT: ClassVar[str] = "spaces.nas_bench_201/1"

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.names) != len(EDGES) or not set(self.names) <= set(OPERATIONS):
            raise UsageError(f"no cell of nas_bench_201: {', '.join(map(str, self.names))}")

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Cell201":
        parts = str(fields.get("cell")).replace("+", "").split("|")
        return cls(tuple(part.partition("~")[0] for part in parts if part))

    def to_dict(self) -> dict[str, Any]:
        return {"format": self.FORMAT, "cell": str(self)}

    def __str__(self) -> str:
        """As the paper writes it: `|nor_conv_3x3~0|+|none~0|...|`."""
        nodes = [
            "".join(f"|{self.names[row]}~{EDGES[row][0]}" for row in rows) + "|"
            for rows in ((0,), (1, 2), (3, 4, 5))
        ]
        return "+".join(nodes)

    def build(self, size: Size, image: Image, classes: int) -> nn.Module:
        return Network(size, image, classes, self.names)

    def operations(self) -> dict[str, list[str]]:
        return {"cell": list(self.names)}

    def draw(self, title: str = "") -> Picture:
        edges = [(name, *edge) for name, edge in zip(self.names, EDGES, strict=True)]
        return Picture(title, (cell_panel(edges, (3,), "cell", ("input",)),))


@dataclass(frozen=True)
class NasBench201(SearchSpace):
    """The 15,625 cells."""

    Options: ClassVar[type] = NoOptions
    Architecture: ClassVar[type] = Cell201
    groups: ClassVar[tuple[str, ...]] = ("cell",)
    name: ClassVar[str] = "nas_bench_201"

    @classmethod
    def of(cls, options: Any) -> "NasBench201":
        return cls()

    def edges(self, group: str) -> tuple[tuple[int, int], ...]:
        return EDGES

    def candidates(self, group: str) -> tuple[str, ...]:
        return OPERATIONS

    def eligible(self, group: str) -> tuple[str, ...]:
        return OPERATIONS  # a cell may carry `none`

    def supernet(
        self,
        size: Size,
        image: Image,
        classes: int,
        *,
        channel_fraction: float = 1.0,
        mask: Mapping[str, Tensor] | None = None,
    ) -> nn.Module:
        if channel_fraction != 1:
            raise UsageError("nas_bench_201 passes all channels through its operations")
        built = [
            (row, name)
            for row in range(len(EDGES))
            for column, name in enumerate(OPERATIONS)
            if mask is None or mask["cell"][row, column]
        ]
        return Supernet(size, image, classes, built)

    def derive(self, chosen: Chosen) -> Cell201:
        columns = dict(chosen["cell"])
        return Cell201(tuple(OPERATIONS[columns.get(row, 0)] for row in range(len(EDGES))))

    def chosen(self, architecture: Cell201) -> Chosen:
        return {"cell": [(row, OPERATIONS.index(n)) for row, n in enumerate(architecture.names)]}


def a_cell(seed: int) -> Cell201:
    """A cell of the space, drawn by `seed`."""
    drawn = NasBench201().sample(random.Random(seed))
    assert isinstance(drawn, Cell201)
    return drawn
