"""shallow: the slides' shallow network, trained in minutes (eDARTS, Siddiqui et al. 2020).

5 cells of 16 channels; a short training needs a higher learning rate, and nothing against
overfitting.
"""

from typing import ClassVar

from edarts.config import TrainConfig
from edarts.config import resolve as fill_in
from edarts.training.recipes.full import Full

IMAGES = 1_000_000  # that the network is shown in all, as far as the bounds of epochs allow
FEWEST, MOST = 20, 30  # epochs


class Shallow(Full):
    """The published values but for size, length and regularisation."""

    DEFAULTS: ClassVar[dict[str, object]] = Full.DEFAULTS | {
        "cells": 5,
        "channels": 16,
        "batch_size": 128,
        "lr": 0.1,
        "auxiliary": 0.0,
        "drop_path": 0.0,
        "cutout": 0.0,
    }

    def resolve(self, config: TrainConfig, images: int, whole: bool) -> TrainConfig:
        """What every recipe fills in, and 20 to 30 epochs, which show about a million images."""
        epochs = min(MOST, max(FEWEST, round(IMAGES / images)))
        return super().resolve(fill_in(config, {"epochs": epochs}), images, whole)


PLUGIN = Shallow
