"""shallow: the published training for the slides' shallow network (eDARTS, Siddiqui et al. 2020).

5 cells of 16 channels; a short training needs a higher learning rate, and nothing against
overfitting. `fast` reaches the same in a third of the time.
"""

from typing import ClassVar

from edarts.config import TrainConfig
from edarts.config import resolve as fill_in
from edarts.training.recipes.darts import Published


class Shallow(Published):
    """The published values but for size, length and regularisation."""

    DEFAULTS: ClassVar[dict[str, object]] = Published.DEFAULTS | {
        "cells": 5,
        "channels": 16,
        "batch_size": 128,
        "lr": 0.1,
        "auxiliary": 0.0,
        "drop_path": 0.0,
        "cutout": 0.0,
    }

    IMAGES: ClassVar[int] = 1_000_000
    """How many the network is shown in all, as far as the bounds of epochs allow."""
    EPOCHS: ClassVar[tuple[int, int]] = (20, 30)
    """The fewest and the most."""

    def resolve(self, config: TrainConfig, images: int, whole: bool) -> TrainConfig:
        """What every recipe fills in, and as many epochs as show about `IMAGES`."""
        fewest, most = self.EPOCHS
        epochs = min(most, max(fewest, round(self.IMAGES / images)))
        return super().resolve(fill_in(config, {"epochs": epochs}), images, whole)


PLUGIN = Shallow
