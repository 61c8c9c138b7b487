"""The textbook formulation: supernet and network built as the papers' code is.

One module per operation and edge, contiguous NCHW, a ReLU in every convolution, `none` computed
as zeros, each mixed edge a Python sum of weight * operation(x), every gradient by a full backward
pass. Written from methods.md sections 0 to 2 alone; nothing is shared with edarts. The tests
compare with it, and `edarts bench` is timed against it.
"""

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

Edges = Sequence[tuple[str, int, int]]  # operation, source, node
Rows = Sequence[tuple[int, int]]  # source, node


class Zero(nn.Module):
    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, :: self.stride, :: self.stride].mul(0.0)


class Reduce(nn.Module):
    def __init__(self, a: int, b: int, affine: bool) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.one = nn.Conv2d(a, b // 2, 1, stride=2, bias=False)
        self.two = nn.Conv2d(a, b // 2, 1, stride=2, bias=False)
        self.bn = nn.BatchNorm2d(b, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(x)
        return self.bn(torch.cat([self.one(x), self.two(x[:, :, 1:, 1:])], 1))  # type: ignore[no-any-return]


def half_sep(c: int, k: int, s: int, affine: bool, d: int = 1) -> list[nn.Module]:
    pad = d * (k - 1) // 2
    return [
        nn.ReLU(),
        nn.Conv2d(c, c, k, s, pad, d, groups=c, bias=False),
        nn.Conv2d(c, c, 1, bias=False),
        nn.BatchNorm2d(c, affine=affine),
    ]


def operation(name: str, c: int, s: int, affine: bool) -> nn.Module:
    """One candidate; in a supernet (affine False) pools are followed by a norm."""
    kernel = int(name[-1]) if name[-1].isdigit() else 0
    if name == "none":
        return Zero(s)
    if name == "skip_connect":
        return nn.Identity() if s == 1 else Reduce(c, c, affine)
    if name.endswith("pool_3x3"):
        pool: nn.Module = (
            nn.MaxPool2d(3, s, 1)
            if name.startswith("max")
            else nn.AvgPool2d(3, s, 1, count_include_pad=False)
        )
        return pool if affine else nn.Sequential(pool, nn.BatchNorm2d(c, affine=False))
    if name.startswith("sep"):
        return nn.Sequential(*half_sep(c, kernel, s, affine), *half_sep(c, kernel, 1, affine))
    return nn.Sequential(*half_sep(c, kernel, s, affine, d=2))


def conv1(a: int, b: int, affine: bool) -> nn.Module:
    return nn.Sequential(
        nn.ReLU(), nn.Conv2d(a, b, 1, bias=False), nn.BatchNorm2d(b, affine=affine)
    )


class MixedCell(nn.Module):
    """A supernet's cell: every operation on every edge."""

    def __init__(
        self,
        names: Sequence[str],
        rows: Rows,
        pp: int,
        p: int,
        c: int,
        reduction: bool,
        previous: bool,
    ) -> None:
        super().__init__()
        self.rows = rows
        self.pre0 = Reduce(pp, c, False) if previous else conv1(pp, c, False)
        self.pre1 = conv1(p, c, False)
        self.edges = nn.ModuleList()
        for source, _ in rows:
            stride = 2 if reduction and source < 2 else 1
            self.edges.append(nn.ModuleList([operation(n, c, stride, False) for n in names]))

    def forward(self, s0: Tensor, s1: Tensor, w: Tensor) -> Tensor:
        states = [self.pre0(s0), self.pre1(s1)]
        for node in sorted({node for _, node in self.rows}):
            states.append(
                sum(
                    sum(w[row, k] * op(states[source]) for k, op in enumerate(self.edges[row]))  # type: ignore[arg-type, misc, var-annotated]
                    for row, (source, target) in enumerate(self.rows)
                    if target == node
                )
            )
        return torch.cat(states[2:], 1)


class PlainCell(nn.Module):
    """A network's cell: one operation per edge, all of weight one."""

    def __init__(
        self,
        edges: Edges,
        concat: Sequence[int],
        pp: int,
        p: int,
        c: int,
        reduction: bool,
        previous: bool,
    ) -> None:
        super().__init__()
        self.rows = [(source, node) for _, source, node in edges]
        self.concat = concat
        self.pre0 = Reduce(pp, c, True) if previous else conv1(pp, c, True)
        self.pre1 = conv1(p, c, True)
        self.edges = nn.ModuleList(
            [operation(n, c, 2 if reduction and source < 2 else 1, True) for n, source, _ in edges]
        )

    def forward(self, s0: Tensor, s1: Tensor) -> Tensor:
        states = [self.pre0(s0), self.pre1(s1)]
        for node in sorted({node for _, node in self.rows}):
            states.append(
                sum(
                    self.edges[row](states[source])
                    for row, (source, target) in enumerate(self.rows)
                    if target == node
                )
            )
        return torch.cat([states[node] for node in self.concat], 1)


class AuxiliaryHead(nn.Module):
    def __init__(self, c: int, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.ReLU(),
            nn.AvgPool2d(5, stride=3, padding=0, count_include_pad=False),
            nn.Conv2d(c, 128, 1, bias=False),
            nn.BatchNorm2d(128),
            nn.ReLU(),
            nn.Conv2d(128, 768, 2, bias=False),
            nn.BatchNorm2d(768),
            nn.ReLU(),
        )
        self.classifier = nn.Linear(768, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).flatten(1))  # type: ignore[no-any-return]


def stem(c: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 3 * c, 3, padding=1, bias=False), nn.BatchNorm2d(3 * c))


class TextbookSupernet(nn.Module):
    """DARTS' search network: `layers` cells, `c` channels, 3-channel images.

    `names`: the operations; `rows`: for "normal" and "reduce", the edges (source, node) by node.
    """

    def __init__(
        self, names: Sequence[str], rows: Mapping[str, Rows], layers: int, c: int, classes: int
    ) -> None:
        super().__init__()
        self.stem = stem(c)
        pp, p, previous = 3 * c, 3 * c, False
        self.cells = nn.ModuleList()
        self.kinds: list[str] = []
        for layer in range(layers):
            reduction = layer in (layers // 3, 2 * layers // 3)
            c *= 2 if reduction else 1
            kind = "reduce" if reduction else "normal"
            self.cells.append(MixedCell(names, rows[kind], pp, p, c, reduction, previous))
            self.kinds.append(kind)
            pp, p, previous = p, c * len({node for _, node in rows[kind]}), reduction
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(p, classes)

    def forward(self, x: Tensor, weights: dict[str, Tensor]) -> Tensor:
        s0 = s1 = self.stem(x)
        for kind, cell in zip(self.kinds, self.cells, strict=True):
            s0, s1 = s1, cell(s0, s1, weights[kind])
        return self.classifier(self.pool(s1).flatten(1))  # type: ignore[no-any-return]


class TextbookNetwork(nn.Module):
    """DARTS' final network; logits, and those of the auxiliary head if there is one."""

    def __init__(
        self,
        edges: Mapping[str, Edges],
        concat: Mapping[str, Sequence[int]],
        layers: int,
        c: int,
        classes: int,
        auxiliary: bool,
    ) -> None:
        super().__init__()
        self.stem = stem(c)
        pp, p, previous = 3 * c, 3 * c, False
        self.cells = nn.ModuleList()
        self.head_at = 2 * layers // 3 if auxiliary else None
        for layer in range(layers):
            reduction = layer in (layers // 3, 2 * layers // 3)
            c *= 2 if reduction else 1
            kind = "reduce" if reduction else "normal"
            cell = PlainCell(edges[kind], concat[kind], pp, p, c, reduction, previous)
            self.cells.append(cell)
            pp, p, previous = p, c * len(concat[kind]), reduction
            if layer == self.head_at:
                self.auxiliary = AuxiliaryHead(p, classes)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(p, classes)

    def forward(self, x: Tensor) -> list[Tensor]:
        s0 = s1 = self.stem(x)
        second = []
        for index, cell in enumerate(self.cells):
            s0, s1 = s1, cell(s0, s1)
            if index == self.head_at:
                second = [self.auxiliary(s1)]
        return [self.classifier(self.pool(s1).flatten(1)), *second]


# -- the steps ------------------------------------------------------------------------------------


class TextbookSearch:
    """DARTS' two steps on a textbook supernet. `alphas`: (E, K) parameters per kind of cell."""

    def __init__(
        self,
        net: TextbookSupernet,
        alphas: dict[str, Tensor],
        lr: float = 0.025,
        momentum: float = 0.9,
        decay: float = 3e-4,
    ) -> None:
        self.net, self.alphas = net, alphas
        self.lr, self.momentum, self.decay = lr, momentum, decay
        self.optimizer = torch.optim.SGD(
            net.parameters(), lr=lr, momentum=momentum, weight_decay=decay
        )
        self.arch_optimizer = torch.optim.Adam(
            alphas.values(), lr=3e-4, betas=(0.5, 0.999), weight_decay=1e-3
        )

    def loss(self, net: TextbookSupernet, images: Tensor, labels: Tensor) -> Tensor:
        weights = {kind: alpha.softmax(-1) for kind, alpha in self.alphas.items()}
        return nn.functional.cross_entropy(net(images, weights), labels)

    def weight_step(self, images: Tensor, labels: Tensor) -> None:
        self.optimizer.zero_grad()
        self.loss(self.net, images, labels).backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), 5.0)
        self.optimizer.step()

    def arch_step(self, images: Tensor, labels: Tensor) -> None:
        self.arch_optimizer.zero_grad()
        self.loss(self.net, images, labels).backward()
        self.arch_optimizer.step()

    def second_order_step(
        self, images: Tensor, labels: Tensor, train_images: Tensor, train_labels: Tensor
    ) -> None:
        """One virtual step on a copy of the network, and two passes around the present weights."""
        alphas = list(self.alphas.values())
        weights = list(self.net.parameters())
        loss = self.loss(self.net, train_images, train_labels)
        gradients = torch.autograd.grad(loss, weights)
        ahead = copy.deepcopy(self.net)
        with torch.no_grad():
            for p, w, g in zip(ahead.parameters(), weights, gradients, strict=True):
                buffer = self.optimizer.state.get(w, {}).get("momentum_buffer")
                step = g + self.decay * w + (0 if buffer is None else self.momentum * buffer)
                p.copy_(w - self.lr * step)
        self.arch_optimizer.zero_grad()
        self.loss(ahead, images, labels).backward()
        direction = [p.grad for p in ahead.parameters()]
        direct = [alpha.grad for alpha in alphas]
        eps = 0.01 / torch.cat([v.flatten() for v in direction if v is not None]).norm()
        sides = []
        for factor in (1, -2):
            with torch.no_grad():
                for w, v in zip(weights, direction, strict=True):
                    w.add_(factor * eps * v)
            loss = self.loss(self.net, train_images, train_labels)
            sides.append(torch.autograd.grad(loss, alphas))
        with torch.no_grad():
            for w, v in zip(weights, direction, strict=True):
                w.add_(eps * v)
        for alpha, g, plus, minus in zip(alphas, direct, *sides, strict=True):
            alpha.grad = g - self.lr * (plus - minus) / (2 * eps)
        self.arch_optimizer.step()


class TextbookTraining:
    """DARTS' training step of a network, with the auxiliary loss if it has the head."""

    def __init__(self, net: TextbookNetwork, lr: float, auxiliary: float = 0.4) -> None:
        self.net, self.auxiliary = net, auxiliary
        self.optimizer = torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9, weight_decay=3e-4)

    def step(self, images: Tensor, labels: Tensor) -> None:
        self.optimizer.zero_grad()
        logits, *second = self.net(images)
        loss = nn.functional.cross_entropy(logits, labels)
        for other in second:
            loss = loss + self.auxiliary * nn.functional.cross_entropy(other, labels)
        loss.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), 5.0)
        self.optimizer.step()
