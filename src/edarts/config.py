"""What a user can set, as dataclasses: a sentence and a unit under every field, checked when made.

A field left None takes the default of the method (SearchConfig) or of the size (TrainConfig); the
run folder's config.yaml holds the resolved values. Nothing here imports torch.
"""

import ast
import dataclasses
import inspect
import os
import textwrap
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import yaml

from edarts import registry
from edarts.errors import EdartsError, UsageError, unknown

Value = TypeVar("Value")
UNSET: Any = None
"""Not given: the default of the method or recipe is taken when the config is resolved."""


@dataclass(frozen=True)
class Between:
    """Bounds of a number in an annotation, both included; None: no upper bound."""

    low: float
    high: float | None = None


def check_fields(config: Any) -> None:
    """Raises UsageError for a field out of its `Between`, or that is none of its `Literal`."""
    for name, hint in _hints(type(config)).items():
        value = getattr(config, name, None)
        for bound in getattr(hint, "__metadata__", ()):
            if isinstance(bound, Between):
                _between(name, value, bound.low, bound.high)
        kind = hint.__origin__ if hasattr(hint, "__metadata__") else hint
        for part in (kind, *get_args(kind)):
            if get_origin(part) is Literal and isinstance(value, str):
                _one_of(name, value, get_args(part))


@cache
def docs(kind: type) -> dict[str, str]:
    """Name of each field of a dataclass -> the text under it, its bases' fields included."""
    found: dict[str, str] = {}
    for owner in reversed(kind.__mro__[:-1]):
        try:
            (tree,) = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
        except (OSError, TypeError, SyntaxError):
            continue  # a class without its source has no texts
        body = tree.body if isinstance(tree, ast.ClassDef) else []
        for item, text in pairwise(body):
            named = isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
            said = isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
            if named and said:
                found[ast.unparse(item.target)] = " ".join(str(text.value.value).split())
    return found


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


Config = TypeVar("Config", bound="DataConfig | SearchConfig | TrainConfig")


@dataclass(frozen=True)
class DataConfig:
    """The data set, and how it is split."""

    data: str = "digits"
    """`digits`, a folder of class folders (with or without train/ and test/), a parquet file or
    folder in the Hugging Face layout, hf:OWNER/NAME, or an .npz file."""
    split_seed: int = 0
    """Seed of the test split, when the data set brings none; runs share it whatever their seed."""
    test_fraction: float = 0.2
    """Share of each class cut off as test split when the data set brings none (0..1)."""
    limit: int | None = None
    """Use at most this many training images, the same share of every class; all if not given."""
    test_limit: int | None = None
    """Evaluate on at most this many test images, the same share of every class; all if not
    given."""
    image_size: int | None = None
    """Resize every image to this many pixels on each side (8..256); if not given, sizes stay, and
    mixed sizes become the median one."""
    flip: bool | None = None
    """Whether a mirrored image keeps its meaning; if not given: yes in colour, no in grey."""
    skip_bad: bool = False
    """Go on without image files that cannot be read."""
    options: object | None = None
    """What the source of these data alone takes: its `Options`; None: their defaults."""
    handed_in: object | None = field(default=None, repr=False, compare=False)
    """Data from Python, whose name and fingerprint are `data`; set by giving (X, y) as `data`."""

    def __post_init__(self) -> None:
        _between("test_fraction", self.test_fraction, 0.01, 0.9)
        _between("image_size", self.image_size, 8, 256)
        _between("limit", self.limit, 2, None)
        _between("test_limit", self.test_limit, 2, None)
        _between("split_seed", self.split_seed, 0, 2**32)
        self._take_in()
        if self.options is not None and self.options == type(self.options)():
            object.__setattr__(self, "options", None)  # configs that mean the same are equal

    def _take_in(self) -> None:
        """Data from Python are known by a name; they go when other data take their place."""
        given: object = self.data
        if isinstance(given, os.PathLike):
            object.__setattr__(self, "data", os.fspath(given))
        elif not isinstance(given, str):
            found = registry.locate("edarts.data.sources.arrays:hand_in")(given)
            object.__setattr__(self, "data", found.name)
            object.__setattr__(self, "handed_in", found)
        elif getattr(self.handed_in, "name", None) != given:
            object.__setattr__(self, "handed_in", None)

    @classmethod
    def of(cls, data: object = "digits", **flat: Any) -> "DataConfig":
        """From the options by name: those of every data set, and those of this data's source.

        `data`: what DATA may be on the command line, or (X, y), or a Dataset. Raises UsageError
        for an option that is unknown, or that this source does not take; EdartsError for data that
        are not there, if one of their source's options is given.
        """
        own = {name: value for name, value in flat.items() if name in cls.names()}
        config = cls(data, **own)  # type: ignore[arg-type]
        known = registry.locate("edarts.data.sources:option_names")() if own != flat else {}
        for name in flat:
            if name not in own and name not in known:
                raise unknown("option of data", name, {*cls.names(), *known})
        # None is what an option holds that is not given: any source may be told so.
        rest = {k: v for k, v in flat.items() if k not in own and v is not None}
        if not rest:
            return config
        make = registry.locate("edarts.data.sources:make_options")
        return dataclasses.replace(config, options=make(config.data, rest))

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> "DataConfig":
        """The part of a run's flat config.yaml that is about the data.

        Options that the source does not take are passed over: old files name `label_column` for
        all data, and other data may have been put in the place of `data`.
        """
        own = {name: settings[name] for name in cls.names() if name in settings}
        config = cls(settings.get("data", "digits"), **own)
        kind = registry.locate("edarts.data.sources:options_for")(config.data)
        if kind is None:
            return config
        chosen = {f.name: settings[f.name] for f in fields(kind) if f.name in settings}
        return dataclasses.replace(config, options=kind(**chosen))

    def to_settings(self) -> dict[str, Any]:
        """Flat, for config.yaml: with the options of the source, also where they are defaults."""
        flat = {name: getattr(self, name) for name in ("data", *self.names())}
        options = self.options
        if options is None:
            kind = registry.locate("edarts.data.sources:options_for")(self.data)
            options = kind() if kind is not None else None
        return flat | (dataclasses.asdict(options) if options is not None else {})  # type: ignore[call-overload]

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The options that every data set takes."""
        return tuple(f.name for f in fields(cls) if f.name not in ("data", "options", "handed_in"))


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
    epochs: Annotated[int, Between(1)] = UNSET
    """Passes over the search images that train the weights, in all stages together; of a black-box
    method, of each network's training."""
    warm_up: Annotated[float, Between(0, 0.99)] = UNSET
    """Share of the epochs, in each stage, that train the weights alone (0..1, 1 excluded)."""
    batch_size: Annotated[int, Between(1)] = UNSET
    """Images per step."""
    cells: Annotated[int, Between(1)] = UNSET
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

    @classmethod
    def of(cls, method: Any = "edarts", **values: Any) -> "SearchConfig":
        """With options of the method and of its space among the `values`; None: not given.

        Raises UsageError for an option that neither has, naming who does.
        """
        given = {name: value for name, value in values.items() if value is not None}
        config = cls(method, **{name: given.pop(name) for name in SHARED if name in given})
        known = set().union(*(option_names(plugin) for plugin in config.plugins()))
        for name in given:
            if name not in known:
                raise untaken(config.method, name)
        config = dataclasses.replace(config, own=tuple(given.items()))
        config.with_options({})  # checks the values
        return config

    @classmethod
    def of_many(cls, **values: Any) -> "SearchConfig":
        """Of several methods together: options of any are kept, for each method to take its own."""
        shared = {name: values.pop(name) for name in SHARED if name in values}
        return cls(**shared, own=tuple(values.items()))

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
        """
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
        """For config.yaml: a flat dictionary of what is set."""
        shared = {name: getattr(self, name) for name in SHARED}
        own = [asdict(part) for part in (self.options, self.space_options) if part is not None]
        flat = {"method": self.method, **shared, **dict(self.own)}
        for part in own:
            flat |= part
        return {name: value for name, value in flat.items() if value is not None}

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> "SearchConfig":
        """The inverse of `to_settings`; what else a run's settings hold is passed over."""
        method = str(settings["method"])
        plugins = cls(method, space=settings.get("space")).plugins()
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


@dataclass(frozen=True)
class NoOptions:
    """Of a plug-in that has no options of its own."""


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
    flag = f"--{option.replace('_', '-')}"
    owners = [
        f"{registry.GROUPS[group].what}s that do: {', '.join(found)}"
        for group in ("methods", "samplers", "spaces")
        if (found := [n for n, p in registry.members(group) if option in option_names(p)])
    ]
    if owners:
        return UsageError(f"method {method} takes no {flag} ({'; '.join(owners)})")
    known = {*SHARED, *option_names(method_class(method))}
    return unknown("option", flag, [f"--{name.replace('_', '-')}" for name in known])


def option_names(plugin: Any) -> set[str]:
    """The names of a plug-in's own options."""
    return {f.name for f in fields(getattr(plugin, "Options", NoOptions))}


@dataclass(frozen=True)
class TrainConfig:
    """How a network is trained from scratch. What is not given is the default of its size."""

    size: Literal["shallow", "full"] = "shallow"
    """shallow: 5 cells, 16 channels; full: the published recipe with 20 cells, 36 channels,
    auxiliary head, drop path and cutout."""
    cells: int | None = None
    """Depth of the network in cells."""
    channels: int | None = None
    """Channels of its first cell."""
    epochs: int | None = None
    """Passes over the training images; full: 600; shallow: as many as show it about a million
    images, from 20 to 30."""
    batch_size: int | None = None
    """Images per step."""
    lr: float | None = None
    """First learning rate (SGD with momentum, cosine to zero by epoch)."""
    momentum: float | None = None
    """Momentum (0..1)."""
    weight_decay: float | None = None
    """L2 decay of all parameters."""
    clip: float | None = None
    """Largest norm of the gradient."""
    auxiliary: float | None = None
    """Weight of the auxiliary head's loss; 0 builds none."""
    drop_path: float | None = None
    """Probability of dropping an edge, reached at the end of the training (0..1)."""
    cutout: float | None = None
    """Side of the square cut out of every training image, as a share of the image (0..1)."""
    valid_fraction: float = 0.0
    """Share of the training images held out to show accuracy while training (0..1)."""

    def __post_init__(self) -> None:
        _one_of("size", self.size, ("shallow", "full"))
        for name in ("cells", "channels", "epochs", "batch_size"):
            _between(name, getattr(self, name), 1, None)
        for name in ("weight_decay", "auxiliary"):
            _between(name, getattr(self, name), 0, None)
        for name in ("lr", "clip"):
            _between(name, getattr(self, name), 1e-12, None)
        for name in ("momentum", "cutout"):
            _between(name, getattr(self, name), 0, 1)
        _between("drop_path", self.drop_path, 0, 0.99)
        _between("valid_fraction", self.valid_fraction, 0, 0.9)


def resolve(config: Config, defaults: Mapping[str, Any]) -> Config:
    """`config` with every field that is None taken from `defaults`."""
    missing = {k: v for k, v in defaults.items() if getattr(config, k) is None}
    return dataclasses.replace(config, **missing)


def from_settings(kind: type[Config], settings: Mapping[str, Any]) -> Config:
    """The part of a run's config.yaml that `kind` holds."""
    return kind(**{f.name: settings[f.name] for f in fields(kind) if f.name in settings})


def given(value: Value | None) -> Value:
    """A field of a resolved config, which is never None."""
    if value is None:
        raise TypeError("the config is not resolved")
    return value


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


def flat_config(path: str) -> dict[str, Any]:
    """Option, with dots where it is nested -> value, of a YAML file. Raises EdartsError."""
    flat: dict[str, Any] = {}
    for key, value in read_yaml(path).items():
        flat |= (
            {f"{key}.{k}": v for k, v in value.items()}
            if isinstance(value, dict)
            else {str(key): value}
        )
    return flat


def write_yaml(path: Path, settings: Mapping[str, Any]) -> None:
    """Write settings in the order given."""
    path.write_text(yaml.safe_dump(dict(settings), sort_keys=False), encoding="utf-8")


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read settings; raises EdartsError that names the file."""
    try:
        settings = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise EdartsError(f"{path}: no such file; give a YAML file with options") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())
        raise EdartsError(f"{path}: cannot be read as YAML: {reason}") from None
    if not isinstance(settings, dict):
        raise EdartsError(f"{path}: expected 'option: value' lines")
    return settings


def _between(name: str, value: float | None, low: float, high: float | None) -> None:
    if value is None:
        return
    if not low <= value or (high is not None and not value <= high):
        bound = f"at least {low:g}" if high is None else f"between {low:g} and {high:g}"
        raise UsageError(f"{name} must be {bound}, got {value}")


def _one_of(name: str, value: str | None, known: tuple[str, ...]) -> None:
    if value is not None and value not in known:
        raise unknown(f"value of {name}", value, known)
