"""Network: the model that a genotype describes."""

from typing import cast

import torch
from torch import Tensor

from edarts.nn.cells import Skeleton
from edarts.space.genotype import Genotype


class Network(Skeleton):
    """`cells` cells of `genotype`, the first with `channels` channels.

    The published size for CIFAR is 20 cells, 36 channels, auxiliary head (DARTS, Liu et al. 2019).
    `image`: (C, H, W) of the input. `affine=False` gives the supernet's form: norms without scale
    and shift, pools normed. `whitening`: whether it begins with `whitening_stem`.
    """

    def __init__(
        self,
        genotype: Genotype,
        *,
        cells: int,
        channels: int,
        classes: int,
        image: tuple[int, int, int] = (3, 32, 32),
        auxiliary: bool = False,
        affine: bool = True,
        whitening: bool = False,
    ) -> None:
        super().__init__(
            genotype.edges,
            genotype.concat,
            cells=cells,
            channels=channels,
            classes=classes,
            image=image,
            affine=affine,
            auxiliary=auxiliary,
            preprocessing=genotype.preprocessing,
            whitening=whitening,
        )
        self.genotype = genotype

    def forward(self, x: Tensor, auxiliary: bool = False) -> Tensor:
        """Images (B, C, H, W) -> logits (B, classes).

        With `auxiliary`: (2, B, classes), the logits and those of the auxiliary head.
        """
        if not auxiliary:
            return cast(Tensor, self.classifier(self.features(x)[0]))
        pooled, earlier = self.features(x, of=[self.auxiliary_cell])
        return torch.stack([self.classifier(pooled), self.auxiliary(earlier)])
