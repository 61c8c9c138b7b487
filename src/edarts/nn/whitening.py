"""The whitening first layer of the CIFAR-10 speed record (Jordan 2024, section 3.2).

Its filters are not learned: they are set once, from patches of training images.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from edarts.space.base import Image

PATCH = 2  # side of the whitened patches
SMALLEST = 5e-4  # added to the eigenvalues
CHUNK = 250  # images whose patches are in memory at once
SHRUNK = 32  # pixels; a side of twice as many and more is averaged down, to at least as many


class Whitening(nn.Conv2d):
    """(B, C, H, W) -> (B, 8 C, h - 1, w - 1): a 2 x 2 convolution whose filters `prepare` sets.

    h = H below 64 pixels; a larger image is first averaged over squares, to 32 to 63 pixels on its
    shorter side. A side of one pixel is padded.
    """

    def __init__(self, image: Image) -> None:
        channels, height, width = image
        super().__init__(channels, 2 * channels * PATCH**2, PATCH)
        self.shrink = max(1, min(height, width) // SHRUNK)
        self.sides = tuple(max(1, side // self.shrink - PATCH + 1) for side in (height, width))
        self.weight.requires_grad_(False)

    @torch.no_grad()
    def prepare(self, images: Tensor) -> None:
        """Set the filters from normalised training images (N, C, H, W).

        They are the eigenvectors of the covariance of their patches, divided by the root of the
        eigenvalue, and their negatives.
        """
        total, count = torch.zeros((), dtype=torch.float64), 0
        for some in images.split(CHUNK):
            patches = functional.unfold(self._fitted(some), PATCH)
            flat = patches.transpose(1, 2).flatten(0, 1).double()  # (patches, C * PATCH^2)
            total, count = total + flat.T @ flat, count + len(flat)
        values, vectors = torch.linalg.eigh(total / count)
        scaled = vectors.T.flip(0) / (values.flip(0)[:, None] + SMALLEST).sqrt()
        filters = scaled.view(-1, images.shape[1], PATCH, PATCH)
        self.weight.copy_(torch.cat([filters, -filters]))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self._fitted(x))

    def _fitted(self, x: Tensor) -> Tensor:
        x = x if self.shrink == 1 else functional.avg_pool2d(x, self.shrink)
        missing = [max(0, PATCH - side) for side in x.shape[2:]]
        return functional.pad(x, (0, missing[1], 0, missing[0])) if any(missing) else x
