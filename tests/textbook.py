"""A plain supernet and network, built as the papers' code is: one module per operation and edge.

Written from methods.md alone, to compare against; nothing here is shared with edarts.
"""

import torch
from torch import Tensor, nn

NAMES = (
    "none",
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)


class Zero(nn.Module):
    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, :: self.stride, :: self.stride] * 0.0


class Reduce(nn.Module):
    def __init__(self, a: int, b: int) -> None:
        super().__init__()
        self.one = nn.Conv2d(a, b // 2, 1, stride=2, bias=False)
        self.two = nn.Conv2d(a, b // 2, 1, stride=2, bias=False)
        self.bn = nn.BatchNorm2d(b, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(x)
        return self.bn(torch.cat([self.one(x), self.two(x[:, :, 1:, 1:])], 1))  # type: ignore[no-any-return]


def half_sep(c: int, k: int, s: int, d: int = 1) -> list[nn.Module]:
    pad = d * (k - 1) // 2
    return [
        nn.ReLU(),
        nn.Conv2d(c, c, k, s, pad, d, groups=c, bias=False),
        nn.Conv2d(c, c, 1, bias=False),
        nn.BatchNorm2d(c, affine=False),
    ]


def operation(name: str, c: int, s: int) -> nn.Module:
    kernel = int(name[-1]) if name[-1].isdigit() else 0
    if name == "none":
        return Zero(s)
    if name == "skip_connect":
        return nn.Identity() if s == 1 else Reduce(c, c)
    if name == "max_pool_3x3":
        return nn.Sequential(nn.MaxPool2d(3, s, 1), nn.BatchNorm2d(c, affine=False))
    if name == "avg_pool_3x3":
        pool = nn.AvgPool2d(3, s, 1, count_include_pad=False)
        return nn.Sequential(pool, nn.BatchNorm2d(c, affine=False))
    if name.startswith("sep"):
        return nn.Sequential(*half_sep(c, kernel, s), *half_sep(c, kernel, 1))
    return nn.Sequential(*half_sep(c, kernel, s, d=2))


def conv1(a: int, b: int) -> nn.Module:
    return nn.Sequential(nn.ReLU(), nn.Conv2d(a, b, 1, bias=False), nn.BatchNorm2d(b, affine=False))


class Cell(nn.Module):
    def __init__(self, pp: int, p: int, c: int, reduction: bool, previous: bool) -> None:
        super().__init__()
        self.pre0 = Reduce(pp, c) if previous else conv1(pp, c)
        self.pre1 = conv1(p, c)
        self.edges = nn.ModuleList()
        for node in range(2, 6):
            for source in range(node):
                stride = 2 if reduction and source < 2 else 1
                self.edges.append(nn.ModuleList([operation(n, c, stride) for n in NAMES]))

    def forward(self, s0: Tensor, s1: Tensor, w: Tensor) -> Tensor:
        states = [self.pre0(s0), self.pre1(s1)]
        row = 0
        for node in range(2, 6):
            total: Tensor | None = None
            for source in range(node):
                mixed = sum(w[row, k] * op(states[source]) for k, op in enumerate(self.edges[row]))  # type: ignore[arg-type]
                total = mixed if total is None else total + mixed
                row += 1
            assert total is not None
            states.append(total)
        return torch.cat(states[2:], 1)


class TextbookSupernet(nn.Module):
    """DARTS' search network: `layers` cells, `c` channels, 3-channel images."""

    def __init__(self, layers: int, c: int, classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 3 * c, 3, padding=1, bias=False), nn.BatchNorm2d(3 * c)
        )
        pp, p, previous = 3 * c, 3 * c, False
        self.cells = nn.ModuleList()
        self.kinds: list[str] = []
        for layer in range(layers):
            reduction = layer in (layers // 3, 2 * layers // 3)
            c *= 2 if reduction else 1
            self.cells.append(Cell(pp, p, c, reduction, previous))
            self.kinds.append("reduce" if reduction else "normal")
            pp, p, previous = p, 4 * c, reduction
        self.classifier = nn.Linear(p, classes)

    def forward(self, x: Tensor, weights: dict[str, Tensor]) -> Tensor:
        s0 = s1 = self.stem(x)
        for kind, cell in zip(self.kinds, self.cells, strict=True):
            s0, s1 = s1, cell(s0, s1, weights[kind])
        return self.classifier(s1.mean((2, 3)))  # type: ignore[no-any-return]
