"""The second classifier of DARTS' retraining."""

from typing import cast

import torch
from torch import Tensor, nn

AUXILIARY_MAP = 8  # pixels; the side of the map that the published auxiliary head was made for


class AuxiliaryHead(nn.Module):
    """The second classifier of DARTS' retraining: (B, C, 8, 8) -> (B, classes).

    ReLU, 5 x 5 average pool of stride 3 to 2 x 2, 1 x 1 convolution to 128, norm, ReLU, 2 x 2
    convolution to 768, norm, ReLU, linear. Maps that are not 8 x 8 are averaged to 2 x 2 directly.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.published_pool = nn.AvgPool2d(5, stride=3, count_include_pad=False)
        self.features = nn.Sequential(
            nn.Conv2d(channels, 128, 1, bias=False),
            nn.BatchNorm2d(128),
            nn.ReLU(),
            nn.Conv2d(128, 768, 2, bias=False),
            nn.BatchNorm2d(768),
            nn.ReLU(),
        )
        self.classifier = nn.Linear(768, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(x)
        if x.shape[-2:] == (AUXILIARY_MAP, AUXILIARY_MAP):
            x = self.published_pool(x)
        else:
            x = nn.functional.adaptive_avg_pool2d(x, 2)
        return cast(Tensor, self.classifier(self.features(x).flatten(1)))
