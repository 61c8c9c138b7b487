"""Searches of seconds, on which the contract of one-shot methods is tested."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import torch

from edarts import registry
from edarts.config import SHARED, SearchConfig, option_names
from edarts.data.dataset import Dataset
from edarts.errors import UsageError
from edarts.methods.oneshot import driver
from edarts.methods.oneshot.driver import SearchResult
from edarts.runs.folder import Run
from edarts.runs.stop import Stop
from edarts.runtime import Runtime
from edarts.testing.problems import SEED, tiny_data
from edarts.training.device import open_device

CPU = torch.device("cpu")
TINY = ("skip_connect", "sep_conv_3x3", "max_pool_3x3")


def tiny_config(method: Any, **changes: Any) -> SearchConfig:
    """A search of seconds: 3 cells, 4 channels, 3 epochs; `changes` replace options.

    What is tiny here and neither the method nor its space takes is left out. A method that sets its
    own number of architecture steps makes two, one that searches all 14 edges has 8.
    """
    owner, space = plugins(method, changes)
    usual = owner.taken()
    base: dict[str, Any] = {
        "epochs": 3,
        "batch_size": 8,
        "cells": 3,
        "channels": 4,
        "data_fraction": 1.0,
        "samples": 8,
        **named(space, TINY),
    }
    if usual.get("arch_steps") is not None:
        base["arch_steps"] = 2
    if usual.get("topology", "all") == "all":
        base["topology"] = "0"
    return SearchConfig.of(method, **(known(method, base, **changes) | changes))


def known(method: Any, options: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """Those of the options that the method, or the space it then searches, takes."""
    owner, space = plugins(method, changes)
    shared = {name for name in owner.taken() if name in SHARED}
    names = shared | option_names(owner) | option_names(space)
    return {name: value for name, value in options.items() if name in names}


def run_search(
    config: SearchConfig,
    data: Dataset,
    run: Run | None = None,
    stop: Stop | None = None,
    seed: int = SEED,
) -> SearchResult:
    """The search of `config` on `data`, on the CPU."""
    resolved, space, _ = driver.resolve_config(config, len(data), len(data.classes))
    return driver.one_shot(
        data, resolved, space, Runtime(open_device("cpu"), seed, run, stop=stop or Stop())
    )


@lru_cache(maxsize=16)
def searched(method: Any, **changes: Any) -> SearchResult:
    """The tiny search that several checks compare theirs with: done once in a process."""
    return run_search(tiny_config(method, **changes), tiny_data())


def same(first: SearchResult, second: SearchResult) -> bool:
    """Whether two searches ended in the same architecture and bit-identical weights."""
    return first.architecture == second.architecture and all(
        torch.equal(first.weights[group], second.weights[group]) for group in first.space.groups
    )


class StopAfter(Stop):
    """Does not ask to stop for a number of steps, and then does."""

    def __init__(self, asked: int) -> None:
        self.left = asked

    @property
    def requested(self) -> bool:
        self.left -= 1
        return self.left < 0

    @requested.setter
    def requested(self, value: bool) -> None:
        raise AssertionError("set by counting")


def plugins(method: Any, changes: Mapping[str, Any]) -> tuple[Any, Any]:
    """The classes of the method and of the space that it then searches."""
    owner = registry.get("methods", method)
    return owner, registry.get("spaces", changes.get("space") or owner.SPACE)


def named(space: Any, names: Sequence[str]) -> dict[str, Any]:
    """The option that makes these the candidates; nothing if the space does not have them."""
    if "operations" not in option_names(space):
        return {}
    try:
        space.of(space.Options(operations=",".join(names)))
    except UsageError:
        return {}
    return {"operations": ",".join(names)}
