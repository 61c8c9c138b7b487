"""darts: the training that published DARTS cells are measured by (Liu et al. 2019, section 3.2).

20 cells of 36 channels for 600 epochs, with the auxiliary head, drop path that rises with the
epochs, and cutout; the values are those of the authors' code.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import nn

from edarts.config import TrainConfig
from edarts.errors import UsageError
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

    @dataclass(frozen=True)
    class Options:
        """What authors who follow this training do in two ways."""

        drop: Literal["edges", "nodes"] = "edges"
        """What drop path drops: edges, the operation on each but identities (DARTS); nodes, the sum
        at each, identities included (Fair DARTS)."""

    def prepare(self, network: nn.Module, config: TrainConfig) -> None:
        if getattr(config.options, "drop", "edges") == "nodes":  # who inherits may have others
            setter = getattr(network, "set_drop_nodes", None)
            if setter is None:
                raise UsageError("drop=nodes: only networks of cells have nodes to drop")
            setter()


PLUGIN = Published
