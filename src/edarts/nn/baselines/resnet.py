"""ResNet for CIFAR (He et al., CVPR 2016, section 4.2): the plain network that everybody trains.

Three stages of n blocks with `width`, 2 and 4 times as many channels, 6 n + 2 layers in all.
Shortcuts have no parameters (option A): where the map is halved they take every second pixel, and
zeros for the channels that are new.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional

from edarts.errors import UsageError
from edarts.nn.cells import stem
from edarts.nn.whole import Whole, WholeNetwork, chain, check_counts
from edarts.space.base import Image
from edarts.space.picture import Picture

STAGES = 3


@dataclass(frozen=True)
class ResNet(Whole):
    """`depth`: 6 n + 2 layers. `width`: channels of the first stage; the paper's are 16."""

    FORMAT: ClassVar[str] = "baselines.resnet/1"

    depth: int = 8
    width: int = 16

    def __post_init__(self) -> None:
        check_counts("ResNet", depth=self.depth, width=self.width)
        if self.depth < 8 or self.depth % 6 != 2:
            raise UsageError(f"depth of ResNet must be 8, 14, 20, ..., got {self.depth}")

    @property
    def label(self) -> str:
        return f"resnet{self.depth}"

    @property
    def blocks(self) -> int:
        """Blocks of each stage, of two convolutions each."""
        return (self.depth - 2) // 6

    def network(self, image: Image, classes: int) -> WholeNetwork:
        return ResNetwork(self, image, classes)

    def draw(self, title: str = "") -> Picture:
        """The stages in a row, and below them the steps of one block."""
        stages = [f"3x3 conv\nto {self.width}\nnorm, ReLU"]
        stages += [f"{2 * self.blocks} layers\n{self.width * 2**n}" for n in range(STAGES)]
        stages.append("global\npool\nlinear")
        steps = ["3x3 conv\nnorm\nReLU", "3x3 conv\nnorm", "add\nthe input", "ReLU"]
        return Picture(title, (chain(str(self), stages), chain("one block", steps)))

    def __str__(self) -> str:
        return f"ResNet, {self.depth} layers, {self.width} channels"


class ResNetwork(WholeNetwork):
    """(B, C, H, W) -> (B, classes); the map is halved twice. Images over 48 pixels: see `stem`."""

    def __init__(self, architecture: ResNet, image: Image, classes: int) -> None:
        super().__init__(architecture, image)
        channels = architecture.width
        parts: list[nn.Module] = [stem(image, channels), nn.ReLU()]
        for stage in range(STAGES):
            for block in range(architecture.blocks):
                stride = 2 if stage > 0 and block == 0 else 1
                parts.append(Block(channels, channels * stride, stride))
                channels *= stride
        self.features = nn.Sequential(*parts)
        self.finish(channels, classes, nn.Identity())


class Block(nn.Module):
    """ReLU(x + norm(conv(ReLU(norm(conv(x)))))), both 3 x 3: (B, C, H, W) -> (B, D, h, w)."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.stride, self.new = stride, channels - channels_in
        self.layers = nn.Sequential(
            nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x[:, :, :: self.stride, :: self.stride]
        if self.new:
            shortcut = functional.pad(shortcut, (0, 0, 0, 0, 0, self.new))
        return functional.relu(shortcut + self.layers(x))


PLUGIN = ResNet
