"""The tree-structured network that ProxylessNAS found on CIFAR-10 (Cai, Zhu, Han, ICLR 2019).

A PyramidNet of bottleneck blocks whose 3 x 3 convolution became a grouped one and a tree of depth
3. Read in mit-han-lab/proxylessnas, proxyless_nas/cifar_modules.py, and in the published config;
methods.md sections 8 and 18. Shapes: B images, w channels of a block, H x W pixels.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, cast

from torch import Tensor, nn

from edarts.errors import UsageError
from edarts.nn.cells import stem
from edarts.nn.kernels import FeatureMap, SeparableStage, Term, node
from edarts.nn.operations import Depthwise, Identity, Pointwise, Pooling
from edarts.nn.whole import Whole, WholeNetwork
from edarts.space.base import Image
from edarts.space.picture import Box, Panel, Picture, Text, colour_of

STAGES = 3  # each but the first begins with a block of stride 2
STEM_WIDTH = 16
EXPANSION = 4  # a block of width w gives 4 w channels

OPERATIONS = {
    "i": "identity",
    "a": "3x3 average pool",
    "m": "3x3 max pool",
    "3": "3x3 separable",
    "5": "5x5 separable",
    "7": "7x7 separable",
    "d": "3x3 separable, dilated by 2",
}


class Block(NamedTuple):
    """One tree: width w, and four children, two for each half of the 2 w channels.

    A child is its edge's operation and those of its two leaves, such as ("7", "d", "i").
    """

    width: int
    children: tuple[tuple[str, str, str], ...]

    @classmethod
    def parse(cls, text: str) -> "Block":
        """The block of a line such as `18 7(d,i) m(7,m) 5(5,5) d(7,7)`; raises UsageError."""
        letters = "".join(OPERATIONS)
        child = rf"([{letters}])\(([{letters}]),([{letters}])\)"
        match = re.fullmatch(rf"(\d+)((?: {child}){{4}})", " ".join(text.split()))
        if match is None:
            raise UsageError(
                f"block '{text}': give a width and four children EDGE(LEAF,LEAF), with the"
                f" operations {', '.join(OPERATIONS)}"
            )
        found = re.findall(child, match[2])
        return cls(int(match[1]), tuple((edge, one, two) for edge, one, two in found))

    def __str__(self) -> str:
        return " ".join([str(self.width), *(f"{e}({a},{b})" for e, a, b in self.children)])


@dataclass(frozen=True)
class ProxylessTrees(Whole):
    """The blocks, a third of them in each stage.

    Raises UsageError if their number is no multiple of three, or if a width is odd (the grouped
    convolution has two groups) or so small that a block would lose channels.
    """

    FORMAT: ClassVar[str] = "edarts.proxyless_trees/1"

    blocks: tuple[Block, ...]

    def __post_init__(self) -> None:
        if not self.blocks or len(self.blocks) % STAGES:
            raise UsageError(f"a tree network has 3, 6, 9, ... blocks, got {len(self.blocks)}")
        channels = STEM_WIDTH
        for block in self.blocks:
            if block.width % 2 or EXPANSION * block.width < channels:
                raise UsageError(f"block '{block}': the width must be even and not shrink")
            channels = EXPANSION * block.width

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "ProxylessTrees":
        """The inverse of `to_dict`; raises UsageError."""
        lines = fields.get("blocks")
        if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
            raise UsageError("a tree network has a list 'blocks' of texts")
        return cls(tuple(Block.parse(line) for line in lines))

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form: a text for each block."""
        return {"format": self.FORMAT, "blocks": [str(block) for block in self.blocks]}

    def network(self, image: Image, classes: int) -> "TreeNetwork":
        return TreeNetwork(self, classes, image)

    def draw(self, title: str = "") -> Picture:
        """A stage in each column, and in it a block in each line: width, then its children."""
        per_stage = len(self.blocks) // STAGES
        panels = [
            _stage(f"blocks {first + 1} to {first + per_stage}", self.blocks, first, per_stage)
            for first in range(0, len(self.blocks), per_stage)
        ]
        letters = ", ".join(f"{letter} = {name}" for letter, name in OPERATIONS.items())
        note = (
            "A, B: the halves of a block's 2 w channels. Each has two children: a grey edge, and"
            f" two leaves that read it and are added.\n{letters}"
        )
        heading = f"{self}: {title}" if title else str(self)
        return Picture(heading, tuple(panels), columns=STAGES, note=note)

    def __str__(self) -> str:
        return f"ProxylessNAS' network of {len(self.blocks)} tree blocks"


# The operation of a cell that has the same kind, and so the same colour in drawings.
_KINDS = {"i": "skip_connect", "a": "avg_pool_3x3", "m": "max_pool_3x3", "d": "dil_conv_3x3"}


def _stage(caption: str, blocks: Sequence[Block], first: int, count: int) -> Panel:
    """`count` blocks from number `first` on, a line each: width, edges in grey boxes, leaves."""
    size = 0.2
    texts = [Text((1.4 * n + 1.5, 0.0), name) for n, name in enumerate(("A1", "A2", "B1", "B2"))]
    boxes = []
    for row, index in enumerate(range(first, first + count), start=1):
        y, block = -0.5 * row, blocks[index]
        texts.append(Text((0.1, y), str(index + 1), size, "end"))
        texts.append(Text((0.82, y), f"w {block.width}", size, "end"))
        for group, child in enumerate(block.children):
            for slot, letter in enumerate(child):
                colour = colour_of(_KINDS.get(letter, "sep_conv"))
                at = (1.4 * group + 0.38 * slot + 1.12, y)
                fill = "#ffffff" if slot else "#e5e7eb"
                boxes.append(Box(at, letter, fill, colour, colour, size))
    return Panel(caption, tuple(boxes), (), tuple(texts), (-0.3, -0.5 * count - 0.3, 6.5, 0.3))


class TreeNetwork(WholeNetwork):
    """(B, C, H, W) -> (B, classes); the map is halved twice. Images over 48 pixels: see `stem`."""

    def __init__(
        self, architecture: ProxylessTrees, classes: int, image: tuple[int, int, int]
    ) -> None:
        super().__init__(architecture, image)
        parts: list[nn.Module] = [stem(image, STEM_WIDTH)]
        channels = STEM_WIDTH
        per_stage = len(architecture.blocks) // STAGES
        for index, block in enumerate(architecture.blocks):
            stride = 2 if index > 0 and index % per_stage == 0 else 1
            parts.append(TreeBlock(channels, block, stride))
            channels = EXPANSION * block.width
        self.features = nn.Sequential(*parts)
        self.finish(channels, classes)


class TreeBlock(nn.Module):
    """Residual bottleneck: (B, a, H, W) -> (B, 4 w, ceil(H / s), ceil(W / s)), stride s.

    Norm, 1 x 1 to w; norm, ReLU, 3 x 3 in two groups to 2 w, channel shuffle; tree; norm, ReLU,
    1 x 1 to 4 w; norm. The shortcut is average-pooled at stride 2 and padded with zero channels.
    """

    def __init__(self, channels_in: int, block: Block, stride: int) -> None:
        super().__init__()
        w, out = block.width, EXPANSION * block.width
        self.missing = out - channels_in
        self.shortcut = nn.AvgPool2d(2, ceil_mode=True) if stride == 2 else nn.Identity()
        self.before = nn.Sequential(
            nn.BatchNorm2d(channels_in),
            Pointwise(channels_in, w),
            nn.BatchNorm2d(w),
            nn.ReLU(),
            nn.Conv2d(w, 2 * w, 3, stride, padding=1, groups=2, bias=False),
            nn.ChannelShuffle(2),
        )
        self.tree = Tree(block)
        self.after = nn.Sequential(
            nn.BatchNorm2d(w), nn.ReLU(), Pointwise(w, out), nn.BatchNorm2d(out)
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.after(self.tree(self.before(x)))
        shortcut = nn.functional.pad(self.shortcut(x), (0, 0, 0, 0, 0, self.missing))
        return y + shortcut


class Tree(nn.Module):
    """(B, 2 w, H, W) -> (B, w, H, W): the sum over both halves of half + norm(its children)."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.branches = nn.ModuleList(Child(child, block.width) for child in block.children)
        self.norms = nn.ModuleList(nn.BatchNorm2d(block.width) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        a, b = x.chunk(2, dim=1)
        one, two, three, four = self.branches
        inner_a, inner_b = one(a) + two(a), three(b) + four(b)
        y: Tensor = a + self.norms[0](inner_a) + b + self.norms[1](inner_b)
        return y


class Child(nn.Module):
    """leaf 1(edge(x)) + leaf 2(edge(x)), (B, w, H, W) -> (B, w, H, W)."""

    def __init__(self, names: tuple[str, str, str], channels: int) -> None:
        super().__init__()
        self.operations = nn.ModuleList(build(name, channels) for name in names)

    def forward(self, x: Tensor) -> Tensor:
        edge, leaf1, leaf2 = self.operations
        x = edge(x)
        y: Tensor = leaf1(x) + leaf2(x)
        return y


def build(name: str, channels: int) -> nn.Module:
    """The operation of one letter, (B, C, H, W) -> (B, C, H, W).

    Separable: norm, ReLU, depthwise k x k, 1 x 1, applied once. Parameters: C k^2 + C^2 + 2 C.
    """
    if name == "i":
        return Identity()
    if name in "am":
        return Pooling("avg" if name == "a" else "max", channels, stride=1, normed=False)
    kernel, dilation = (3, 2) if name == "d" else (int(name), 1)
    return Separable(
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        Depthwise(channels, kernel, 1, dilation),
        Pointwise(channels, channels),
    )


class Separable(nn.Sequential):
    """Norm, ReLU, depthwise and 1 x 1 convolution, by the fast path where there is one."""

    def forward(self, x: Tensor) -> Tensor:
        parts = cast("tuple[nn.BatchNorm2d, nn.ReLU, Depthwise, Pointwise]", tuple(self))
        norm, _, wide, narrow = parts
        return node(
            [
                Term(
                    FeatureMap(x),
                    (SeparableStage(wide.weight, narrow.weight, 1, wide.dilation[0], norm),),
                )
            ]
        )
