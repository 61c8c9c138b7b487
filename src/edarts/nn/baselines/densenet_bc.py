"""DenseNet-BC (Huang et al., CVPR 2017), for CIFAR: the manual network of the comparison.

Three dense blocks of (L - 4) / 6 layers; read in liuzhuang13/DenseNet, models/densenet.lua.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from edarts.errors import UsageError
from edarts.nn.cells import stem
from edarts.nn.kernels import concat
from edarts.nn.whole import Whole, WholeNetwork, chain
from edarts.space.base import Image
from edarts.space.picture import Picture

BLOCKS = 3


@dataclass(frozen=True)
class DenseNetBC(Whole):
    """`depth`: L, the number of layers, 6 n + 4. `growth`: k, the channels that each layer adds."""

    FORMAT: ClassVar[str] = "edarts.densenet_bc/1"

    depth: int = 40
    growth: int = 12

    def __post_init__(self) -> None:
        for name in ("depth", "growth"):
            if type(getattr(self, name)) is not int:
                raise UsageError(f"{name} of DenseNet-BC is no whole number")
        if self.depth < 10 or self.depth % 6 != 4:
            raise UsageError(f"depth of DenseNet-BC must be 10, 16, 22, ..., got {self.depth}")
        if self.growth < 1:
            raise UsageError(f"growth of DenseNet-BC must be at least 1, got {self.growth}")

    @property
    def layers(self) -> int:
        """Layers of each dense block, of two convolutions each."""
        return (self.depth - 4) // 6

    @property
    def widths(self) -> list[tuple[int, int]]:
        """Channels (before, after) of each dense block."""
        result, width = [], 2 * self.growth
        for _ in range(BLOCKS):
            result.append((width, width + self.layers * self.growth))
            width = result[-1][1] // 2
        return result

    def network(self, image: Image, classes: int) -> "DenseNet":
        return DenseNet(self, classes, image)

    def draw(self, title: str = "") -> Picture:
        """The dense blocks in a row, and below them the steps of one layer."""
        k = self.growth
        blocks = [f"3x3 conv\nto {2 * k}"]
        for before, after in self.widths:
            blocks += [f"{self.layers} layers\n{before} to {after}"]
            blocks += [f"norm, ReLU\n1x1 conv\nto {after // 2}\n2x2 average\npool"]
        blocks[-1] = "norm, ReLU\nglobal\npool\nlinear"
        steps = ["norm\nReLU", f"1x1 conv\nto {4 * k}", "norm\nReLU", f"3x3 conv\nto {k}"]
        steps += ["append to\nthe input"]
        return Picture(title, (chain(str(self), blocks), chain("one layer", steps)))

    def __str__(self) -> str:
        return f"DenseNet-BC, {self.depth} layers, growth rate {self.growth}"


class DenseNet(WholeNetwork):
    """(B, C, H, W) -> (B, classes); the map is halved twice. Images over 48 pixels: see `stem`."""

    def __init__(self, architecture: DenseNetBC, classes: int, image: tuple[int, int, int]) -> None:
        super().__init__(architecture, image)
        # Without the stem's last norm: the first layer begins with one.
        parts: list[nn.Module] = list(stem(image, 2 * architecture.growth))[:-1]
        for index, (before, after) in enumerate(architecture.widths):
            parts += [
                DenseLayer(before + n * architecture.growth, architecture.growth)
                for n in range(architecture.layers)
            ]
            if index < BLOCKS - 1:
                parts.append(transition(after))
        self.features = nn.Sequential(*parts)
        self.finish(after, classes)


class DenseLayer(nn.Module):
    """Norm, ReLU, 1 x 1 to 4 k channels, norm, ReLU, 3 x 3 to k, appended: a -> a + k channels."""

    def __init__(self, channels_in: int, growth: int) -> None:
        super().__init__()
        inner = 4 * growth
        self.layers = nn.Sequential(
            nn.BatchNorm2d(channels_in),
            nn.ReLU(),
            nn.Conv2d(channels_in, inner, 1, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(),
            nn.Conv2d(inner, growth, 3, padding=1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        return concat([x, self.layers(x)])


def transition(channels: int) -> nn.Sequential:
    """Norm, ReLU, 1 x 1 to half the channels, 2 x 2 average pool: half the height and width."""
    return nn.Sequential(
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        nn.Conv2d(channels, channels // 2, 1, bias=False),
        nn.AvgPool2d(2),
    )


PLUGIN = DenseNetBC
