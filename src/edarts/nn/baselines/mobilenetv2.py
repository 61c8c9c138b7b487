"""MobileNetV2 (Sandler et al., CVPR 2018, table 2), for small images.

Seven groups of inverted residuals. For images of up to 48 pixels the first convolution and the
second group keep the map's size, as is usual for CIFAR: 224 pixels are halved five times, 32
pixels three times.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from edarts.nn.cells import stem
from edarts.nn.whole import Whole, WholeNetwork, chain, check_counts
from edarts.space.base import Image
from edarts.space.picture import Picture

FULL = 32  # channels of the first convolution at the paper's width 1
LAST = 1280  # channels before the classifier; not fewer for widths below 1 (section 6.1)
# Expansion, channels at width 1, repetitions, stride of the first.
GROUPS = (
    (1, 16, 1, 1),
    (6, 24, 2, 1),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


@dataclass(frozen=True)
class MobileNetV2(Whole):
    """`width`: channels of the first convolution; 32 is the paper's width 1, 16 its small 0.5."""

    FORMAT: ClassVar[str] = "baselines.mobilenetv2/1"

    width: int = 16

    def __post_init__(self) -> None:
        check_counts("MobileNetV2", width=self.width)

    def channels(self, full: int) -> int:
        """Channels where the paper's width 1 has `full`: a multiple of 8, at least 8.

        At most a tenth is lost by rounding, as in the authors' code.
        """
        wanted = full * self.width / FULL
        rounded = max(8, int(wanted + 4) // 8 * 8)
        return rounded if rounded >= 0.9 * wanted else rounded + 8

    def network(self, image: Image, classes: int) -> WholeNetwork:
        return MobileNetwork(self, image, classes)

    def draw(self, title: str = "") -> Picture:
        """The groups in a row, and below them the steps of one inverted residual."""
        groups = [f"{3 * n} layers\n{self.channels(full)}" for _, full, n, _ in GROUPS]
        first, last = self.channels(FULL), max(LAST, self.channels(LAST))
        ends = [f"3x3 conv\nto {first}"], [f"1x1 conv\nto {last}", "global\npool\nlinear"]
        steps = ["1x1 conv\nto 6 k\nnorm\nReLU6", "3x3\ndepthwise\nnorm\nReLU6"]
        steps += ["1x1 conv\nnorm", "add\nthe input"]
        panels = chain(str(self), ends[0] + groups + ends[1]), chain("one residual", steps)
        return Picture(title, panels)

    def __str__(self) -> str:
        return f"MobileNetV2, {self.width} channels at first"


class MobileNetwork(WholeNetwork):
    """(B, C, H, W) -> (B, classes); the map is halved three times. Over 48 pixels: see `stem`."""

    def __init__(self, architecture: MobileNetV2, image: Image, classes: int) -> None:
        super().__init__(architecture, image)
        channels = architecture.channels(FULL)
        parts: list[nn.Module] = [stem(image, channels), nn.ReLU6()]
        for expansion, full, repetitions, first in GROUPS:
            after = architecture.channels(full)
            for number in range(repetitions):
                stride = 1 if number else first
                parts.append(InvertedResidual(channels, after, stride, expansion))
                channels = after
        last = max(LAST, architecture.channels(LAST))
        parts += [nn.Conv2d(channels, last, 1, bias=False), nn.BatchNorm2d(last), nn.ReLU6()]
        self.features = nn.Sequential(*parts)
        self.finish(last, classes, nn.Identity())


class InvertedResidual(nn.Module):
    """1 x 1 to `expansion` times as many channels, 3 x 3 depthwise, 1 x 1; the input is added
    where the shape stays: (B, C, H, W) -> (B, D, h, w).
    """

    def __init__(self, channels_in: int, channels: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = channels_in * expansion
        widen = [nn.Conv2d(channels_in, inner, 1, bias=False), nn.BatchNorm2d(inner), nn.ReLU6()]
        self.adds = stride == 1 and channels == channels_in
        self.layers = nn.Sequential(
            *(widen if expansion > 1 else ()),
            nn.Conv2d(inner, inner, 3, stride, 1, groups=inner, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU6(),
            nn.Conv2d(inner, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return x + y if self.adds else y


PLUGIN = MobileNetV2
