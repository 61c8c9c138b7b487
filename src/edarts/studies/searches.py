"""What the studies ask of a search: which options it takes, what it costs, which cells it draws.

All that the studies know of methods and of `SearchConfig` stands here, for both families: one-shot
methods train a supernet, black-box methods train networks one after the other.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any

from edarts.config import SearchConfig
from edarts.config import given as resolved
from edarts.errors import UsageError
from edarts.methods.blackbox import registry_ as samplers
from edarts.methods.oneshot import registry_ as methods
from edarts.space.darts import Space
from edarts.space.genotype import Genotype

NETWORK_EDGES = 8  # of a cell that is trained, as a measure of its cost
ANY_DATA = (1000, 10)  # images and classes, where they decide nothing


# -- options -------------------------------------------------------------------------------------


def given(config: SearchConfig) -> dict[str, Any]:
    """The options that were set, by name, without the method."""
    return {k: v for k, v in vars(config).items() if k != "method" and v is not None}


def changed(config: SearchConfig, **values: Any) -> SearchConfig:
    """The config with these options in place of its own; None: not given any more."""
    return replace(config, **values)


def to_settings(config: SearchConfig) -> dict[str, Any]:
    """For a study's config.yaml."""
    return asdict(config)


def from_settings(settings: Mapping[str, Any]) -> SearchConfig:
    """The inverse of `to_settings`."""
    return SearchConfig(**settings)


def is_black_box(method: str) -> bool:
    """Whether a method trains whole networks in place of a supernet."""
    return samplers.here(method)


def taken(config: SearchConfig, method: str) -> set[str]:
    """The options that `method` takes, with the score that `config` names.

    Raises UsageError for an unknown method, with the nearest names of both families.
    """
    if is_black_box(method):
        kind = (config.score or "train").partition(":")[0]
        return set(samplers.options(method, kind))
    return set(methods.options(method))


def with_method(config: SearchConfig, method: str) -> SearchConfig:
    """The options of `config` that `method` takes, for this method."""
    known = taken(config, method)
    return SearchConfig(method, **{k: v for k, v in given(config).items() if k in known})


def need_supernet(config: SearchConfig, study: str, what: str) -> None:
    """Raises UsageError for a black-box method, in a study that varies `what` of a supernet."""
    if is_black_box(config.method):
        raise UsageError(
            f"study {study} varies {what} of a supernet, and {config.method} is a black-box method,"
            " which has none: give a one-shot --search.method such as darts"
        )


def check(config: SearchConfig, images: int, classes: int) -> None:
    """Raises UsageError for options that exclude each other, or that the method does not take."""
    if is_black_box(config.method):
        _black_box(config)
    else:
        _one_shot(config, images, classes)


# -- cost ----------------------------------------------------------------------------------------


def cost(config: SearchConfig, images: int, classes: int, channels: int) -> float:
    """Relative cost: images x cells x edges x operations that the search passes through.

    Counted in those of a network of `channels` channels.
    """
    if is_black_box(config.method):
        return _black_box_cost(config, images, channels)
    config, space = _one_shot(config, images, classes)
    seen = images * resolved(config.data_fraction) / 2 * resolved(config.epochs)
    passes = {"step": 2 if config.order != 2 else 5, "joint": 2}.get(str(config.arch_update), 1)
    edges = len(space.normal) * len(space.operations) / resolved(config.partial)
    width = resolved(config.channels) / channels
    return seen * passes * resolved(config.cells) * edges * width


def _black_box_cost(config: SearchConfig, images: int, channels: int) -> float:
    """That of its trainings; a score that trains nothing counts as one epoch of each network."""
    config, _ = _black_box(config)
    seen = images * (config.data_fraction or 1.0) * (config.epochs or 1)
    width = (config.channels or channels) / channels
    return resolved(config.trials) * seen * (config.cells or 1) * NETWORK_EDGES * width


# -- cells ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Draws:
    """How cells are drawn at random from the space of a search.

    `text` names the space: searches of the same space draw the same cells.
    """

    text: str
    sample: Callable[[random.Random], Genotype]


def draws(config: SearchConfig) -> Draws:
    """The random cells of the space that `config` searches, one-shot or black-box."""
    return _draws(config)


@cache
def _draws(config: SearchConfig) -> Draws:
    if not is_black_box(config.method):
        return _draws_of(_one_shot(config, *ANY_DATA)[1])
    encoding = _black_box(config)[1]
    space = getattr(encoding, "space", None)
    if isinstance(space, Space):
        return _draws_of(space)
    # Cells that no space of edges holds, such as those of PNAS' blocks.
    text = repr((type(encoding).__name__, dict(encoding.decisions)))
    return Draws(text, lambda generator: encoding.decode(encoding.sample(generator)))


def _draws_of(space: Space) -> Draws:
    text = repr((space.operations, space.normal, space.reduce, space.pairs))
    return Draws(text, space.sample)


def skips(architecture: object) -> tuple[int, int] | None:
    """Skip connections in the normal and in the reduction cell; None for a whole network."""
    if not isinstance(architecture, Genotype):
        return None
    kinds = ("normal", "reduce")
    normal, reduction = (architecture.count(kind, "skip_connect") for kind in kinds)
    return normal, reduction


def operation_counts(genotype: Genotype, operations: str) -> dict[str, int]:
    """Operation -> edges of both cells that carry it, for the `operations` that were searched."""
    return {
        name: genotype.count("normal", name) + genotype.count("reduce", name)
        for name in Space.parse(operations).operations
    }


# The drivers import torch and Optuna, which --help must not wait for.


def _one_shot(config: SearchConfig, images: int, classes: int) -> tuple[SearchConfig, Space]:
    from edarts.methods.oneshot.driver import resolve_config

    config, space, _ = resolve_config(config, images, classes)
    return config, space


def _black_box(config: SearchConfig) -> tuple[SearchConfig, Any]:
    from edarts.methods.blackbox.driver import resolve_config

    return resolve_config(config)
