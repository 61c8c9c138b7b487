"""What the studies ask of a search: which options it takes, what it costs, which cells it draws.

All that the studies know of methods and of `SearchConfig` stands here, for both families: one-shot
methods train a supernet, black-box methods train networks one after the other.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from edarts.config import SearchConfig, is_black_box, option_names
from edarts.errors import UsageError
from edarts.space.base import Architecture, SearchSpace
from edarts.space.darts import parse_operations

NETWORK_EDGES = 8  # of a cell that is trained, as a measure of its cost
ANY_DATA = (1000, 10)  # images and classes, where they decide nothing


# -- options -------------------------------------------------------------------------------------


def taken(method: str) -> set[str]:
    """The options that `method` takes, its space's included.

    Raises UsageError for an unknown method, with the nearest names of both families.
    """
    owner, space = SearchConfig(method).plugins()
    return {"space", *owner.taken(), *option_names(owner), *option_names(space)}


def need_supernet(config: SearchConfig, study: str, what: str) -> None:
    """Raises UsageError for a black-box method, in a study that varies `what` of a supernet."""
    if is_black_box(config.method):
        raise UsageError(
            f"study {study} varies {what} of a supernet, and {config.method} is a black-box method,"
            " which has none: give a one-shot --search.method such as darts"
        )


def check(config: SearchConfig, images: int, classes: int) -> None:
    """Raises UsageError for options that exclude each other, or that the method does not take."""
    _resolved(config, images, classes)


def _resolved(config: SearchConfig, images: int, classes: int) -> tuple[SearchConfig, SearchSpace]:
    # The drivers import torch and Optuna, which --help must not wait for.
    if is_black_box(config.method):
        from edarts.methods.blackbox.driver import resolve_config as resolve_black_box

        return resolve_black_box(config)
    from edarts.methods.oneshot.resolve import resolve_config

    found, space, _ = resolve_config(config, images, classes)
    return found, space


# -- cost ----------------------------------------------------------------------------------------


def cost(config: SearchConfig, images: int, classes: int, channels: int) -> float:
    """Relative cost: images x cells x edges x operations that the search passes through.

    Counted in those of a network of `channels` channels.
    """
    config, space = _resolved(config, images, classes)
    if is_black_box(config.method):
        return _black_box_cost(config, images, channels)
    seen = images * config.data_fraction / 2 * config.epochs
    second_order = getattr(config.options, "order", 1) == 2
    passes = {"step": 5 if second_order else 2, "joint": 2}.get(str(config.arch_update), 1)
    rows, columns = space.shape(space.groups[0])
    edges = rows * columns * config.channel_fraction
    return seen * passes * config.cells * edges * config.channels / channels


def trials(config: SearchConfig) -> int:
    """How many networks a black-box search scores."""
    count: int = _resolved(config, *ANY_DATA)[0].options.trials
    return count


def _black_box_cost(config: SearchConfig, images: int, channels: int) -> float:
    """That of its trainings; a score that trains nothing counts as one epoch of each network."""
    seen = images * (config.data_fraction or 1.0) * (config.epochs or 1)
    width = (config.channels or channels) / channels
    trials: int = config.options.trials
    return trials * seen * (config.cells or 1) * NETWORK_EDGES * width


# -- cells ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Draws:
    """How cells are drawn at random from the space of a search.

    `text` names the space: searches of the same space draw the same cells.
    """

    text: str
    sample: Callable[[random.Random], Architecture]


@cache
def draws(config: SearchConfig) -> Draws:
    """The random cells of the space that `config` searches, one-shot or black-box."""
    space = _resolved(config, *ANY_DATA)[1]
    return Draws(space.key(), space.sample)


def skips(architecture: Architecture) -> tuple[int, int] | None:
    """Skip connections in the normal and in the reduction cell; None if it has no such cells."""
    counts = architecture.skips()
    return (counts["normal"], counts["reduce"]) if {"normal", "reduce"} <= counts.keys() else None


def operation_counts(architecture: Architecture, operations: str) -> dict[str, int]:
    """Operation -> edges of all cells that carry it, for the `operations` that were searched."""
    carried = [name for names in architecture.operations().values() for name in names]
    return {name: carried.count(name) for name in parse_operations(operations)}
