"""A linear classifier on the pixels: what every network has to beat."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from edarts.nn.whole import Whole, WholeNetwork, chain
from edarts.space.base import Image
from edarts.space.picture import Picture


@dataclass(frozen=True)
class Linear(Whole):
    """Logistic regression: one weight for each value of a pixel and class."""

    FORMAT: ClassVar[str] = "baselines.linear/1"

    def network(self, image: Image, classes: int) -> WholeNetwork:
        return LinearNetwork(self, image, classes)

    def draw(self, title: str = "") -> Picture:
        """From the pixels to the classes."""
        parts = ["pixels\nH x W x C", "linear\nto the classes", "softmax"]
        return Picture(title, (chain(str(self), parts),))

    def __str__(self) -> str:
        return "linear classifier on the pixels"


class LinearNetwork(WholeNetwork):
    """(B, C, H, W) -> (B, classes); the weights begin at zero."""

    def __init__(self, architecture: Linear, image: Image, classes: int) -> None:
        super().__init__(architecture, image)
        channels, height, width = image
        self.classifier = nn.Linear(channels * height * width, classes)
        nn.init.zeros_(self.classifier.weight)
        nn.init.zeros_(self.classifier.bias)

    def logits(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) -> logits (B, classes)."""
        logits: Tensor = self.classifier(x.flatten(1))
        return logits


PLUGIN = Linear
