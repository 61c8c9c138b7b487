"""The comparisons of `edarts bench step` and `edarts bench train`, by name."""

from functools import cache
from typing import Literal

import torch

from edarts.bench.networks import network_pair
from edarts.bench.pairs import CIFAR, CLASSES, Comparison, Pair
from edarts.bench.supernets import supernet_pair
from edarts.config import SearchConfig
from edarts.errors import unknown
from edarts.methods.oneshot import driver as oneshot

GROUPS = ("step", "train")


def group(name: str) -> tuple[Comparison, ...]:
    """The comparisons of `step` or `train`; none for another name."""
    if name == "train":
        return (
            Comparison("shallow_train_step", "train", 5, 16, 128),
            Comparison("full_train_step", "train", 20, 36, 16, auxiliary=True),
        )
    if name != "step":
        return ()
    return (
        Comparison("darts_weight_step", "weight", 8, 16, 64),
        Comparison("darts_arch_step", "arch", 8, 16, 64),
        Comparison("darts_second_order_step", "second_order", 8, 16, 64),
        _edarts("edarts_weight_step", "weight"),
        _edarts("edarts_arch_step", "arch"),
    )


def find(name: str) -> Comparison:
    """The comparison with this name; raises UsageError with the nearest names."""
    known = {comparison.name: comparison for kind in GROUPS for comparison in group(kind)}
    if name not in known:
        raise unknown("comparison", name, known)
    return known[name]


def make(comparison: Comparison, device: torch.device) -> Pair:
    """Both sides of a comparison, on `device`."""
    if comparison.step == "train":
        return network_pair(comparison, device)
    return supernet_pair(comparison, device)


@cache
def default_search() -> SearchConfig:
    """The eDARTS search of CIFAR-10 that `edarts search` does if no option is given."""
    config, _, _ = oneshot.resolve_config(SearchConfig(), CIFAR, CLASSES)
    return config


def _edarts(name: str, step: Literal["weight", "arch"]) -> Comparison:
    config = default_search()
    return Comparison(
        name,
        step,
        cells=config.cells,
        channels=config.channels,
        batch=config.batch_size,
        operations=config.space_options.operations,
        topology=config.space_options.topology,
    )
