"""One file per black-box method: listing this folder is listing them. None imports another.

A file has `DEFAULTS`, the SearchConfig fields that it takes beside `GENERAL` with its paper's
values, a function `encoding(config)`, the decisions that it is used on, and a class `Sampler`, an
Optuna sampler (see `ledger.LedgerSampler`). A field that neither has is refused, with the reason in
`REASONS` if the file has one. `optuna:NAME` is any sampler of Optuna's, on the space of DARTS.
"""

import importlib
from types import ModuleType
from typing import TYPE_CHECKING, Any

from edarts import registry
from edarts.errors import UsageError, unknown

if TYPE_CHECKING:  # listing the methods, as --help does, needs neither Optuna nor torch
    from edarts.config import SearchConfig

OPTUNA = "optuna:"

GENERAL: dict[str, Any] = {"trials": 100, "score": "train", "repeats": 1, "operations": "all"}
"""Options of every black-box method, with the values of those that set no other."""

TRAINING: dict[str, Any] = {
    "epochs": 10,
    "batch_size": 128,
    "cells": 5,
    "channels": 16,
    "data_fraction": 1.0,
    "lr": 0.1,
    "momentum": 0.9,
    "weight_decay": 3e-4,
    "clip": 5.0,
    "drop_path": 0.0,
}
"""What they take besides with score=train: the recipe of a network, as of a shallow training."""

ANY: dict[str, Any] = {"topology": "all"}
"""What is taken besides with a sampler of Optuna's."""


def names() -> list[str]:
    """The black-box methods there are, but for Optuna's."""
    return registry.names("samplers")


def here(name: str) -> bool:
    """Whether a method is a black-box one: in this folder, or said to be one of Optuna's."""
    return name in names() or name.startswith(OPTUNA)


def load(name: str) -> ModuleType:
    """The module of method `name`; raises UsageError with the nearest names."""
    if name not in names():
        raise unknown("method", name, names())
    return importlib.import_module(f"edarts.methods.blackbox.{name}")


def options(name: str, score: str = "train") -> dict[str, Any]:
    """The SearchConfig fields that method `name` takes with this score, with their defaults."""
    own = ANY if name.startswith(OPTUNA) else load(name).DEFAULTS
    return GENERAL | (TRAINING if score == "train" else {}) | own


def check_options(config: "SearchConfig") -> None:
    """Raises UsageError if `config` sets an option that its method or its score does not take."""
    taken = options(config.method, config.score or "train")
    reasons = (
        {} if config.method.startswith(OPTUNA) else getattr(load(config.method), "REASONS", {})
    )
    for name, value in vars(config).items():
        if value is None or name == "method" or name in taken:
            continue
        option = f"--{name.replace('_', '-')}"
        if name in TRAINING:
            raise UsageError(f"{option} trains networks: it needs --score train")
        reason = f": {reasons[name]}" if name in reasons else ""
        others = ", ".join(other for other in names() if name in options(other))
        others = f" (methods that do: {others})" if others else "; one-shot methods may"
        raise UsageError(f"method {config.method} takes no {option}{reason}{others}")
