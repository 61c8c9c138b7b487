"""edarts: finds a convolutional network for any labelled images, and says how far to trust it."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edarts.api import (
        compare,
        evaluate,
        export,
        find,
        load_model,
        predict,
        report,
        search,
        study,
        train,
    )
    from edarts.config import Budget, DataConfig, SearchConfig, TrainConfig
    from edarts.data import Dataset, load
    from edarts.errors import EdartsError, UsageError
    from edarts.nn.network import Network
    from edarts.nn.supernet import Supernet
    from edarts.reporting.zoo import zoo
    from edarts.runtime import Session
    from edarts.sharing.demo import demo
    from edarts.sharing.estimator import Classifier
    from edarts.sharing.hub import push
    from edarts.space.base import Architecture, SearchSpace, Size
    from edarts.space.darts import DartsSpace
    from edarts.space.enas import EnasSpace
    from edarts.space.genotype import Edge, Genotype
    from edarts.testing.check import check

__version__ = "0.1.0"

_HOME = {
    "api": (
        "compare",
        "evaluate",
        "export",
        "find",
        "load_model",
        "predict",
        "report",
        "search",
        "study",
        "train",
    ),
    "config": ("Budget", "DataConfig", "SearchConfig", "TrainConfig"),
    "data": ("Dataset", "load"),
    "errors": ("EdartsError", "UsageError"),
    "nn.network": ("Network",),
    "nn.supernet": ("Supernet",),
    "reporting.zoo": ("zoo",),
    "runtime": ("Session",),
    "sharing.demo": ("demo",),
    "sharing.estimator": ("Classifier",),
    "sharing.hub": ("push",),
    "space.base": ("Architecture", "SearchSpace", "Size"),
    "space.darts": ("DartsSpace",),
    "space.enas": ("EnasSpace",),
    "space.genotype": ("Edge", "Genotype"),
    "testing.check": ("check",),
}
_MODULE = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "Architecture",
    "Budget",
    "Classifier",
    "DartsSpace",
    "DataConfig",
    "Dataset",
    "EdartsError",
    "Edge",
    "EnasSpace",
    "Genotype",
    "Network",
    "SearchConfig",
    "SearchSpace",
    "Session",
    "Size",
    "Supernet",
    "TrainConfig",
    "UsageError",
    "check",
    "compare",
    "demo",
    "evaluate",
    "export",
    "find",
    "load",
    "load_model",
    "predict",
    "push",
    "report",
    "search",
    "study",
    "train",
    "zoo",
]


def __getattr__(name: str) -> Any:
    """Import on first use, so that `edarts --help` need not wait for torch."""
    if name not in _MODULE:
        raise AttributeError(f"module 'edarts' has no attribute '{name}'")
    return getattr(import_module(f"edarts.{_MODULE[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
