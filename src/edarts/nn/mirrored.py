"""Mirrored evaluation: a network's answer to an image and to its mirror image."""

from torch import Tensor, nn


class Mirrored(nn.Module):
    """(B, C, H, W) -> (B, classes): the mean of the logits of every image and of its mirror image.

    For evaluation alone: `network` is trained by itself.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(x) + self.network(x.flip(3))
        return logits / 2
