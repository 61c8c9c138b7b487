"""The plain form of the CIFAR-10 speed record (Jordan 2024, "94 % on CIFAR-10 in 3.29 seconds").

A whitening 2 x 2 convolution, three blocks of two 3 x 3 convolutions with pooling, GELU, a linear
layer.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from edarts.nn.whitening import Whitening
from edarts.nn.whole import Whole, WholeNetwork, chain, check_counts
from edarts.space.base import Image
from edarts.space.picture import Picture

SCALE = 1 / 9  # of the logits
# The record adds 1e-12 to a variance, with which the gradients of a batch of two or three images
# overflow.
EPS = 1e-5


@dataclass(frozen=True)
class ConvNet(Whole):
    """`width`: channels of the first block; the two others have four times as many."""

    FORMAT: ClassVar[str] = "baselines.convnet/1"

    width: int = 32

    def __post_init__(self) -> None:
        check_counts("ConvNet", width=self.width)

    def network(self, image: Image, classes: int) -> WholeNetwork:
        return ConvNetwork(self, image, classes)

    def draw(self, title: str = "") -> Picture:
        """The blocks in a row, and below them the steps of one block."""
        widths = (self.width, 4 * self.width, 4 * self.width)
        parts = ["2x2 conv\nwhitening", *(f"2 layers\n{width}" for width in widths)]
        parts.append("global\nmaximum\nlinear")
        steps = ["3x3 conv", "2x2\nmaximum\nnorm\nGELU", "3x3 conv", "norm\nGELU"]
        return Picture(title, (chain(str(self), parts), chain("one block", steps)))

    def __str__(self) -> str:
        return f"ConvNet, blocks of {self.width}, {4 * self.width} and {4 * self.width} channels"


class ConvNetwork(WholeNetwork):
    """(B, C, H, W) -> (B, classes).

    Each block halves the map, while it has two pixels; at the end the maximum of each channel is
    taken. Large images: see `Whitening`.
    """

    def __init__(self, architecture: ConvNet, image: Image, classes: int) -> None:
        super().__init__(architecture, image)
        self.whiten = Whitening(image)
        sides = self.whiten.sides
        parts: list[nn.Module] = [nn.GELU()]
        before, first = self.whiten.out_channels, architecture.width
        for after in (first, 4 * first, 4 * first):
            kernel = [min(2, side) for side in sides]
            parts.append(block(before, after, (kernel[0], kernel[1])))
            sides = tuple(side // k for side, k in zip(sides, kernel, strict=True))
            before = after
        self.features = nn.Sequential(*parts)
        self.classifier = nn.Linear(before, classes, bias=False)
        for module in self.features.modules():
            if isinstance(module, nn.Conv2d):  # begins as the identity on the first channels
                nn.init.dirac_(module.weight.data[: module.in_channels])

    def logits(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) -> logits (B, classes): of the maximum of every map."""
        x = self.features(self.whiten(x))
        logits: Tensor = self.classifier(x.amax(dim=(2, 3))) * SCALE
        return logits


def block(channels_in: int, channels: int, pool: tuple[int, int]) -> nn.Sequential:
    """Convolution, max pooling, norm, GELU, convolution, norm, GELU; 3 x 3, norms without scale."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels, 3, padding=1, bias=False),
        nn.MaxPool2d(pool),
        _norm(channels),
        nn.GELU(),
        nn.Conv2d(channels, channels, 3, padding=1, bias=False),
        _norm(channels),
        nn.GELU(),
    )


def _norm(channels: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels, eps=EPS)
    norm.weight.requires_grad_(False)
    return norm


PLUGIN = ConvNet
