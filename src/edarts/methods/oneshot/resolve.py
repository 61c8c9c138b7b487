"""What a search's config leaves open, filled in by the method, the space and the data."""

import dataclasses
from typing import Any

import torch

from edarts import methods
from edarts.config import UNSET, SearchConfig, option_names, parse_attention, resolve
from edarts.errors import UsageError, unknown
from edarts.methods.oneshot.base import Joint
from edarts.space.base import SearchSpace

# Fewest search images per class, on average: below that the default fraction is raised. Half of
# them train the weights, so this is an epoch of a few batches for ten classes.
ENOUGH_PER_CLASS = 50
ARCH_STEPS = 4  # updates at the end of an epoch: one batch alone is too noisy to decide on
# How far Adam can move an alpha in DARTS' search of CIFAR-10: its learning rate times 50 epochs of
# 391 steps. Sparse updates get the learning rate that lets them move as far.
TRAVEL = 3e-4 * 50 * 391
LARGEST_ARCH_LR = 0.1


def resolve_config(
    config: SearchConfig, images: int, classes: int
) -> tuple[SearchConfig, SearchSpace, list[str]]:
    """Fill in what `config` leaves open, for a training split of `images` in `classes`.

    Returns the config with nothing left open, its space, and notes for the user.
    Raises UsageError if options exclude each other, or the method does not accept one.
    """
    methods.check_options(config)
    method, kind = config.plugins()
    if not kind.has_supernet:
        raise UsageError(f"space {config.space} has no supernet: give a black-box method")
    paper = method.PAPER if config.preset == "paper" else {}
    defaults = {**method.taken(), **paper, **method.FIXED}
    notes: list[str] = []
    if config.data_fraction is UNSET:
        enough = min(1.0, ENOUGH_PER_CLASS * classes / images)
        if enough > defaults["data_fraction"]:
            notes.append(
                f"a small data set: the search uses {enough:.0%} of the training images"
                f" in place of {defaults['data_fraction']:.0%}"
            )
            defaults["data_fraction"] = enough
    config = dataclasses.replace(config, space=config.space or method.SPACE)
    config = _resolve_operations(config, kind, defaults)
    config = _resolve_updates(config, defaults)
    space = kind.of(config.space_options)
    _check_method(config, space)
    return config, space, notes


def _resolve_updates(config: SearchConfig, defaults: dict[str, Any]) -> SearchConfig:
    """Fill in the shared options; how often and how fast the architecture is updated."""
    arch_lr = config.arch_lr
    own_steps = defaults.pop("arch_steps", None)  # then its arch_lr is made for sparse updates
    if (config.arch_update or defaults.get("arch_update")) != "step":
        defaults["arch_every"] = 1
    shared = {name: value for name, value in defaults.items() if hasattr(config, name)}
    config = resolve(config, shared)
    if config.arch_update == "epoch":
        config = resolve(config, {"arch_steps": own_steps or ARCH_STEPS})
        if arch_lr is UNSET and own_steps is None:
            updates = (config.epochs - config.warm_up_epochs(config.epochs)) * config.arch_steps
            config = dataclasses.replace(config, arch_lr=min(LARGEST_ARCH_LR, TRAVEL / updates))
    elif config.arch_steps is not UNSET:
        raise UsageError("arch_steps counts updates per epoch: it needs arch_update=epoch")
    if config.nesterov and config.momentum == 0:
        raise UsageError("nesterov is a form of momentum: it needs momentum above 0")
    return config


def _check_method(config: SearchConfig, space: SearchSpace) -> None:
    """Let the method refuse what it cannot take, before a run folder holds it."""
    with torch.random.fork_rng(devices=[]):
        method = config.plugins()[0](space, config, torch.device("cpu"))
    if config.arch_update == "joint" and not isinstance(method, Joint):
        raise UsageError(f"arch_update=joint: {config.method} learns from no loss of the weights")


def _resolve_operations(
    config: SearchConfig, kind: type[SearchSpace], defaults: dict[str, Any]
) -> SearchConfig:
    """Make the space's options, so that its candidates and `attention` name the same operations."""
    chooses = "operations" in option_names(kind)
    known = option_names(kind) | option_names(config.plugins()[0])
    usual = {name: value for name, value in defaults.items() if name in known}
    named = _named(config, kind, usual)
    shares = parse_attention(config.attention)
    if shares is not None:
        for name in shares:
            if named is not None and name not in named:
                raise unknown("operation of attention", name, named)
        named = tuple(name for name in (named or shares) if name in shares)
    elif config.attention is UNSET and defaults.get("attention", "none") != "none":
        own = parse_attention(defaults["attention"]) or {}
        named = named or tuple(own)
        shares = {name: own.get(name, 1.0) for name in named}
    elif named is None:
        own = parse_attention(defaults.get("attention")) or {}
        named = tuple(own) or _candidates(config.with_options(usual), kind)
    attention: Any = (
        defaults.get("attention") and "none"
    )  # None where the method takes no attention
    if shares is not None:
        attention = ",".join(f"{name}={shares[name]:g}" for name in named)
    config = dataclasses.replace(config, attention=attention).with_options(usual)
    if chooses:
        options = dataclasses.replace(config.space_options, operations=",".join(named))
        config = dataclasses.replace(config, space_options=options)
    return config


def _named(
    config: SearchConfig, kind: type[SearchSpace], usual: dict[str, Any]
) -> tuple[str, ...] | None:
    """The candidates that the user named, or that the space has anyway; None: left open."""
    given = config.space_options is not None or "operations" in dict(config.own)
    if "operations" in option_names(kind) and not given:
        return None
    return _candidates(config.with_options(usual), kind)


def _candidates(config: SearchConfig, kind: type[SearchSpace]) -> tuple[str, ...]:
    space = kind.of(config.space_options)
    return tuple(dict.fromkeys(name for group in space.groups for name in space.candidates(group)))
