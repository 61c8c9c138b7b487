"""edarts: finds a convolutional network for any labelled images, and says how far to trust it."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edarts.api import evaluate_run, find, load_model, predict, search, train_genotype
    from edarts.config import DataConfig, SearchConfig, TrainConfig
    from edarts.data import Dataset, load
    from edarts.errors import EdartsError, UsageError
    from edarts.nn.network import Network
    from edarts.nn.supernet import Supernet
    from edarts.runtime import Runtime, Session
    from edarts.space.darts import Space
    from edarts.space.genotype import Edge, Genotype
    from edarts.training.fit import evaluate, fit

__version__ = "0.1.0"

_HOME = {
    "config": ("DataConfig", "SearchConfig", "TrainConfig"),
    "data": ("Dataset", "load"),
    "errors": ("EdartsError", "UsageError"),
    "space.genotype": ("Edge", "Genotype"),
    "nn.network": ("Network",),
    "space.darts": ("Space",),
    "nn.supernet": ("Supernet",),
    "training.fit": ("evaluate", "fit"),
    "runtime": ("Runtime", "Session"),
    "api": (
        "evaluate_run",
        "find",
        "load_model",
        "predict",
        "search",
        "train_genotype",
    ),
}
_MODULE = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "DataConfig",
    "Dataset",
    "EdartsError",
    "Edge",
    "Genotype",
    "Network",
    "Runtime",
    "SearchConfig",
    "Session",
    "Space",
    "Supernet",
    "TrainConfig",
    "UsageError",
    "evaluate",
    "evaluate_run",
    "find",
    "fit",
    "load",
    "load_model",
    "predict",
    "search",
    "train_genotype",
]


def __getattr__(name: str) -> Any:
    """Import on first use, so that `edarts --help` need not wait for torch."""
    if name not in _MODULE:
        raise AttributeError(f"module 'edarts' has no attribute '{name}'")
    return getattr(import_module(f"edarts.{_MODULE[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
