"""SearchConfig: how an architecture is searched."""

import dataclasses
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Annotated, Any, Literal

from edarts import registry
from edarts.config.fields import UNSET, Between, check_fields, option_names, takers
from edarts.errors import UsageError, unknown


@dataclass(frozen=True)
class SearchConfig:
    """How an architecture is searched: what methods share, beside the options of each.

    What is not given is the method's default. `SearchConfig.of` takes the method's and the space's
    own options by their names too.
    """

    method: str = "edarts"
    """How the architecture is learned: a one-shot method, a black-box method, or optuna:NAME, a
    sampler of Optuna's such as optuna:TPESampler."""
    space: str = UNSET
    """What the search may return: darts, enas, or another space; if not given, the method's."""
    preset: Literal["paper"] = UNSET
    """paper: what is not given is as the method's paper ran it, in place of the defaults, which
    suit two cores."""
    epochs: Annotated[int, Between(1)] = UNSET
    """Passes over the search images that train the weights, in all stages together; of a black-box
    method, of each network's training."""
    warm_up: Annotated[float, Between(0, 0.99)] = UNSET
    """Share of the epochs, in each stage, that train the weights alone (0..1, 1 excluded)."""
    patience: Annotated[int, Between(0)] = UNSET
    """Epochs in which the architecture stays the same and its entropy falls, after which a search
    ends; 0: never before the last. find: 5."""
    batch_size: Annotated[int, Between(1)] = UNSET
    """Images per step."""
    cells: Annotated[int, Between(1, 1000)] = UNSET
    """Depth of the supernet or network in cells."""
    channels: Annotated[int, Between(1)] = UNSET
    """Channels of its first cell."""
    attention: str = UNSET
    """Relative share of each operation at the start, NAME=SHARE with commas, or none; an operation
    without a share is not built."""
    channel_fraction: Annotated[float, Between(1e-3, 1)] = UNSET
    """Share of the channels that pass through the operations, one in a whole number (such as 0.25);
    the rest goes around them."""
    data_fraction: Annotated[float, Between(1e-6, 1)] = UNSET
    """Share of the training images that the search uses (0..1), stratified by class."""
    arch_update: Literal["step", "epoch", "joint"] = UNSET
    """Update the architecture before every weight step, only at the end of each epoch (both on the
    other half of the images), or with the weights, from one loss on all images."""
    arch_steps: Annotated[int, Between(1)] = UNSET
    """Architecture updates at the end of an epoch; needs arch_update=epoch."""
    arch_every: Annotated[int, Between(1)] = UNSET
    """Weight steps to one architecture update; more than 1 needs arch_update=step."""
    arch_lr: Annotated[float, Between(1e-12)] = UNSET
    """Learning rate of the architecture (Adam)."""
    arch_weight_decay: Annotated[float, Between(0)] = UNSET
    """L2 decay of the architecture parameters."""
    lr: Annotated[float, Between(1e-12)] = UNSET
    """First learning rate of the weights (SGD, cosine by epoch)."""
    lr_min: Annotated[float, Between(0)] = UNSET
    """Learning rate that the cosine ends at."""
    momentum: Annotated[float, Between(0, 1)] = UNSET
    """Momentum of the weights (0..1)."""
    nesterov: bool = UNSET
    """Nesterov's momentum for the weights."""
    weight_decay: Annotated[float, Between(0)] = UNSET
    """L2 decay of the weights."""
    clip: Annotated[float, Between(1e-12)] = UNSET
    """Largest norm of the weights' gradient."""
    drop_path: Annotated[float, Between(0, 0.99)] = UNSET
    """Probability of dropping an operation's output in the supernet, for each image (0..1)."""
    own: tuple[tuple[str, Any], ...] = ()
    """Options of the method or space, by name, that were given: what `of` fills in."""
    options: Any = None
    """The method's own `Options`; None: their defaults, changed by what was given."""
    space_options: Any = None
    """The space's own `Options`; None: the method's values for them, changed by what was given."""

    def __post_init__(self) -> None:
        # An object in place of a name: from now on its name stands for it.
        if not isinstance(self.method, str):
            group = "samplers" if is_black_box(self.method) else "methods"
            registry.add(group, self.method)
            object.__setattr__(self, "method", registry.name_of(group, self.method))
        if self.space is not None and not isinstance(self.space, str):
            registry.add("spaces", self.space)
            object.__setattr__(self, "space", registry.name_of("spaces", self.space))
        check_fields(self)
        for own in (self.options, self.space_options):
            if own is not None:
                check_fields(own)
        if self.arch_steps is not None and self.arch_update in ("step", "joint"):
            raise UsageError("arch_steps counts updates per epoch: it needs arch_update=epoch")
        if self.arch_every not in (UNSET, 1) and self.arch_update in ("epoch", "joint"):
            raise UsageError("arch_every counts steps between updates: it needs arch_update=step")

    @classmethod
    def of(cls, method: Any = "edarts", **values: Any) -> "SearchConfig":
        """With options of the method and of its space among the `values`; None: not given.

        Raises UsageError for an option that neither has, naming who does.
        """
        given = {name: value for name, value in values.items() if value is not None}
        config = cls(method, **{name: given.pop(name) for name in SHARED if name in given})
        config = dataclasses.replace(config, own=tuple(given.items()))
        config.with_options({})  # checks them
        return config

    @classmethod
    def of_many(cls, **values: Any) -> "SearchConfig":
        """Of several methods together: options of any are kept, for each method to take its own."""
        given = {name: value for name, value in values.items() if value is not None}
        shared = {name: given.pop(name) for name in SHARED if name in given}
        return cls("darts", **shared, own=tuple(given.items()))

    def for_method(self, method: str) -> "SearchConfig":
        """With another method, which gets those of the options that it takes."""
        owner = method_class(method)
        space = registry.get("spaces", self.space or owner.SPACE)
        known = {*owner.taken(), "space", *option_names(owner), *option_names(space)}
        return SearchConfig.of(method, **{k: v for k, v in self.given().items() if k in known})

    def plugins(self) -> tuple[Any, Any]:
        """The classes of the method and of the space."""
        owner = method_class(self.method)
        return owner, registry.get("spaces", self.space or owner.SPACE)

    def given(self) -> dict[str, Any]:
        """What is set, shared and own options alike, by name."""
        shared = {name: getattr(self, name) for name in SHARED}
        return {name: value for name, value in shared.items() if value is not None} | dict(self.own)

    def changed(self, **values: Any) -> "SearchConfig":
        """With these options in place of what it has of them; None: not given any more."""
        if self.options is not None or self.space_options is not None:
            raise TypeError("the config is resolved")
        return SearchConfig.of(self.method, **(self.given() | values))

    def with_options(self, usual: Mapping[str, Any]) -> "SearchConfig":
        """With `options` and `space_options` made: what was given, else `usual`, else the
        defaults.

        Raises UsageError for an option that neither has, naming who does.
        """
        known = set().union(*(option_names(plugin) for plugin in self.plugins()))
        for name, _ in self.own:
            if name not in known:
                raise untaken(self.method, name)
        values = {name: value for name, value in usual.items() if value is not None}
        values |= dict(self.own)
        made = [
            part
            if part is not None
            else plugin.Options(**{n: values[n] for n in option_names(plugin) if n in values})
            for plugin, part in zip(self.plugins(), (self.options, self.space_options), strict=True)
        ]
        return dataclasses.replace(self, options=made[0], space_options=made[1])

    def to_settings(self) -> dict[str, Any]:
        """For config.yaml: a flat dictionary of what is set, without what the method fixes."""
        fixed = getattr(method_class(self.method), "FIXED", {})
        shared = {name: getattr(self, name) for name in SHARED if name not in fixed}
        own = [asdict(part) for part in (self.options, self.space_options) if part is not None]
        flat = {"method": self.method, **shared, **dict(self.own)}
        for part in own:
            flat |= part
        return {name: value for name, value in flat.items() if value is not None}

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> "SearchConfig":
        """The inverse of `to_settings`; what else a run's settings hold is passed over."""
        method = str(settings["method"])
        plugins = cls(method, space=settings.get("space") or UNSET).plugins()
        names = {*SHARED, "method"}.union(*(option_names(plugin) for plugin in plugins))
        return cls.of(**{name: value for name, value in settings.items() if name in names})

    def warm_up_epochs(self, epochs: int) -> int:
        """How many of a stage's `epochs` train the weights alone: at most all but one."""
        return int(self.warm_up * epochs + 1e-9)


SHARED = tuple(
    f.name
    for f in fields(SearchConfig)
    if f.name not in ("method", "own", "options", "space_options")
)


OPTUNA = "optuna:"


def is_black_box(method: Any) -> bool:
    """Whether a method, by name or itself, scores whole networks instead of training a supernet."""
    if isinstance(method, str):
        return method.startswith(OPTUNA) or (
            method in registry.names("samplers") and method not in registry.names("methods")
        )
    return bool(getattr(method, "is_black_box", False))


def method_class(name: str) -> Any:
    """The class of a method of either family. Raises UsageError with the nearest names."""
    if name.startswith(OPTUNA):
        return registry.get("samplers", "optuna")
    if is_black_box(name):
        return registry.get("samplers", name)
    if name not in registry.names("methods"):
        known = [*registry.names("methods"), *registry.names("samplers")]
        raise registry.UnknownPlugin("methods", name, str(unknown("method", name, known)))
    return registry.get("methods", name)


def untaken(method: str, option: str) -> UsageError:
    """The error for an option that a method, and the space it searches, do not have."""
    if reason := method_class(method).REASONS.get(option):
        return UsageError(f"method {method} takes no --{option.replace('_', '-')}: {reason}")
    flag = f"--{option.replace('_', '-')}"
    if owners := takers(option, "methods", "samplers", "spaces"):
        return UsageError(f"method {method} takes no {flag} ({owners})")
    known = {*SHARED, *option_names(method_class(method))}
    return unknown("option", flag, [f"--{name.replace('_', '-')}" for name in known])


def parse_attention(text: str | None) -> dict[str, float] | None:
    """`"sep_conv_3x3=4,skip_connect=1"` -> {operation: share}; `none` and None -> None.

    Raises UsageError for anything else.
    """
    if text is None or text == "none":
        return None
    shares: dict[str, float] = {}
    for part in text.split(","):
        name, sign, share = part.partition("=")
        try:
            shares[name.strip()] = float(share)
        except ValueError:
            sign = ""
        if not sign or not 0 < shares[name.strip()] < float("inf"):
            raise UsageError(f"attention '{part}': give NAME=SHARE with a share above 0, or none")
    return shares
