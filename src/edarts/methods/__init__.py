"""How architectures are found: oneshot/ trains a supernet, blackbox/ scores whole networks.

A method of either family is reached by its name, the name of its file. Asking for names and options
imports no more than the methods asked for.
"""

from typing import Any

from edarts import registry
from edarts.config import (
    SHARED,
    UNSET,
    SearchConfig,
    is_black_box,
    method_class,
)
from edarts.errors import UsageError

__all__ = ["check_options", "is_black_box", "method_class", "names", "taken"]


def names() -> list[str]:
    """All methods: one-shot ones, then black-box ones; `optuna` stands for any of Optuna's."""
    return [*registry.names("methods"), *registry.names("samplers")]


def taken(method: str) -> dict[str, Any]:
    """The shared options that a method takes, with its values for them; None: it depends."""
    found: dict[str, Any] = method_class(method).taken()
    return {name: value for name, value in found.items() if name in SHARED}


def check_options(config: SearchConfig) -> None:
    """Raises UsageError if `config` sets a shared option that its method does not take."""
    owner, mine = method_class(config.method), taken(config.method)
    for name in SHARED:
        if getattr(config, name) is UNSET or name == "space" or name in mine:
            continue
        reason = owner.REASONS.get(name)
        others = [other for other, plugin in registry.members("methods") if name in plugin.taken()]
        raise UsageError(
            f"method {config.method} takes no --{name.replace('_', '-')}"
            + (f": {reason}" if reason else "")
            + (f" (methods that do: {', '.join(others)})" if others else "")
        )
