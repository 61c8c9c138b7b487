"""darts: the training that published DARTS cells are measured by (Liu et al. 2019, section 3.2).

20 cells of 36 channels for 600 epochs, with the auxiliary head, drop path that rises with the
epochs, and cutout; the values are those of the authors' code.
"""

from typing import ClassVar

from edarts.training.recipe import Recipe


class Published(Recipe):
    """The values with which the authors' code trains published cells."""

    DEFAULTS: ClassVar[dict[str, object]] = {
        "cells": 20,
        "channels": 36,
        "epochs": 600,
        "batch_size": 96,
        "lr": 0.025,
        "momentum": 0.9,
        "weight_decay": 3e-4,
        "clip": 5.0,
        "auxiliary": 0.4,
        "drop_path": 0.2,
        "cutout": 0.5,
    }


PLUGIN = Published
