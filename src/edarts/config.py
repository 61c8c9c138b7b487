"""What a user can set, as dataclasses: a sentence and a unit under every field, checked when made.

A field left None takes the default of the method (SearchConfig) or of the recipe (TrainConfig); the
run folder's config.yaml holds the resolved values. Nothing here imports torch.
"""

import dataclasses
import typing
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml

from edarts import registry
from edarts.errors import EdartsError, UsageError, unknown

Value = TypeVar("Value")
Config = TypeVar("Config", bound="DataConfig | SearchConfig | TrainConfig")


@dataclass(frozen=True)
class Between:
    """The bounds of a field, both included: `Annotated[int, Between(1, None)]`; None: no bound."""

    low: float | None
    high: float | None

    def check(self, name: str, value: float | None) -> None:
        """Raises UsageError that names the field if `value` lies outside; None always passes."""
        if value is None:
            return
        low, high = self.low, self.high
        if (low is None or low <= value) and (high is None or value <= high):
            return  # written so that NaN, which compares with nothing, does not pass
        if high is None:
            bound = f"at least {low:g}"
        else:
            bound = f"at most {high:g}" if low is None else f"between {low:g} and {high:g}"
        raise UsageError(f"{name} must be {bound}, got {value}")


def check_bounds(settings: object) -> None:
    """Check every field of a dataclass instance that has a `Between`. Raises UsageError."""
    kind: Any = type(settings)
    for name, bounds in _bounds(kind):
        bounds.check(name, getattr(settings, name))


@cache
def _bounds(kind: Any) -> list[tuple[str, Between]]:
    hints = typing.get_type_hints(kind, include_extras=True)
    return [(name, b) for name, hint in hints.items() for b in _annotations(hint)]


def _annotations(hint: Any) -> Iterator[Between]:
    """The `Between`s of a type, of `Annotated[int, ...] | None` too."""
    yield from (m for m in getattr(hint, "__metadata__", ()) if isinstance(m, Between))
    if typing.get_origin(hint) is not Annotated:
        for part in typing.get_args(hint):
            yield from _annotations(part)


# The kinds of numbers that several fields are; None: the recipe's default.
Count = Annotated[int | None, Between(1, None)]
Positive = Annotated[float | None, Between(1e-12, None)]
NotNegative = Annotated[float | None, Between(0, None)]
Share = Annotated[float | None, Between(0, 1)]


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
    label_column: str | None = None
    """Label column of a parquet or hub data set; if not given: label, labels, fine_label, ..."""
    skip_bad: bool = False
    """Go on without image files that cannot be read."""

    def __post_init__(self) -> None:
        _between("test_fraction", self.test_fraction, 0.01, 0.9)
        _between("image_size", self.image_size, 8, 256)
        _between("limit", self.limit, 2, None)
        _between("test_limit", self.test_limit, 2, None)
        _between("split_seed", self.split_seed, 0, 2**32)


@dataclass(frozen=True)
class SearchConfig:
    """How an architecture is searched. What is not given is the method's default."""

    method: str = "edarts"
    """How the architecture is learned: a file name of methods/ (one-shot) or of samplers/
    (black-box), or optuna:NAME, a sampler of Optuna's such as optuna:TPESampler."""
    order: Literal[1, 2] | None = None
    """DARTS: 1 takes the gradient at the current weights, 2 after a virtual training step."""
    epochs: int | None = None
    """Passes over the search images that train the weights, in all stages together."""
    warm_up: float | None = None
    """Share of the epochs, in each stage, that train the weights alone (0..1, 1 excluded)."""
    batch_size: int | None = None
    """Images per step."""
    cells: int | None = None
    """Depth of the supernet in cells."""
    channels: int | None = None
    """Channels of its first cell."""
    operations: str | None = None
    """Candidate operations: SS1..SS8, all, or names with commas."""
    topology: str | None = None
    """Edges of a cell: all, an index 0..179, or sources such as "01 01 01 02"; NORMAL/REDUCE; or
    enas, the space in which a node may take the same source twice."""
    attention: str | None = None
    """Relative share of each operation at the start, NAME=SHARE with commas, or none; an operation
    without a share is not built."""
    partial: int | None = None
    """Pass one of this many parts of the channels through the operations, the rest around them."""
    data_fraction: float | None = None
    """Share of the training images that the search uses (0..1), stratified by class."""
    arch_update: Literal["step", "epoch", "joint"] | None = None
    """Update the architecture before every weight step, only at the end of each epoch (both on the
    other half of the images), or with the weights, from one loss on all images."""
    arch_steps: int | None = None
    """Architecture updates at the end of an epoch; needs arch_update=epoch."""
    arch_lr: float | None = None
    """Learning rate of the architecture (Adam)."""
    arch_weight_decay: float | None = None
    """L2 decay of the architecture parameters."""
    lr: float | None = None
    """First learning rate of the weights (SGD, cosine by epoch)."""
    lr_min: float | None = None
    """Learning rate that the cosine ends at."""
    momentum: float | None = None
    """Momentum of the weights (0..1)."""
    weight_decay: float | None = None
    """L2 decay of the weights."""
    clip: float | None = None
    """Largest norm of the weights' gradient."""
    drop_path: float | None = None
    """Probability of dropping an operation's output in the supernet, for each image (0..1)."""
    constraint: Literal["none", "mild", "moderate", "aggressive"] | None = None
    """SNAS: how much size, FLOPs and memory accesses of the cells cost."""
    threshold: float | None = None
    """Fair DARTS: least weight of an operation that is kept (0..1)."""
    zero_one: float | None = None
    """Fair DARTS: factor of the loss that drives weights to zero or one."""
    skip_cap: int | None = None
    """P-DARTS: most skip connections in the normal cell."""
    samples: int | None = None
    """ENAS, random_ws: cells drawn and scored, of which the best is returned."""
    trials: int | None = None
    """Black-box: architectures proposed in all; more than before continue a search."""
    score: str | None = None
    """Black-box: what an architecture is judged by. train: accuracy after a training from scratch,
    on images held out; supernet RUN: with the weights of a one-shot search; table FILE: JSON."""
    repeats: int | None = None
    """Black-box: how often an architecture that is proposed again is scored anew; then it gets
    the mean of its scores."""
    population: int | None = None
    """Evolution: architectures that live at once (regularized), or are drawn at first."""
    tournament: int | None = None
    """Regularized evolution: how many of them compete to be the parent."""
    beam: int | None = None
    """PNAS: cells tried, and widened, at each level."""
    surrogate: Literal["mlp", "lstm"] | None = None
    """PNAS: what predicts scores."""

    def __post_init__(self) -> None:
        _between("order", self.order, 1, 2)
        _one_of("arch_update", self.arch_update, ("step", "epoch", "joint"))
        _one_of("constraint", self.constraint, ("none", "mild", "moderate", "aggressive"))
        for name in ("epochs", "batch_size", "cells", "channels", "partial"):
            _between(name, getattr(self, name), 1, None)
        for name in ("arch_steps", "samples", "trials", "repeats", "population", "tournament"):
            _between(name, getattr(self, name), 1, None)
        _between("beam", self.beam, 1, None)
        _one_of("surrogate", self.surrogate, ("mlp", "lstm"))
        for name in ("zero_one", "skip_cap"):
            _between(name, getattr(self, name), 0, None)
        _between("threshold", self.threshold, 0, 1)
        for name in ("warm_up", "drop_path"):
            _between(name, getattr(self, name), 0, 0.99)
        for name in ("lr_min", "arch_weight_decay", "weight_decay"):
            _between(name, getattr(self, name), 0, None)
        for name in ("lr", "arch_lr", "clip"):
            _between(name, getattr(self, name), 1e-12, None)
        _between("momentum", self.momentum, 0, 1)
        _between("data_fraction", self.data_fraction, 1e-6, 1)
        if self.arch_steps is not None and self.arch_update in ("step", "joint"):
            raise UsageError("arch_steps counts updates per epoch: it needs arch_update=epoch")

    def warm_up_epochs(self, epochs: int) -> int:
        """How many of a stage's `epochs` train the weights alone: at most all but one."""
        return int(given(self.warm_up) * epochs + 1e-9)


@dataclass(frozen=True)
class TrainConfig:
    """How a network is trained from scratch. What is not given is the default of its recipe."""

    recipe: str = "shallow"
    """How networks are trained: shallow, 5 cells of 16 channels in some minutes; full, the
    published training of 20 cells of 36 channels with auxiliary head, drop path and cutout; or a
    plug-in's."""
    cells: Count = None
    """Depth of the network in cells."""
    channels: Count = None
    """Channels of its first cell."""
    epochs: Count = None
    """Passes over the training images; full: 600; shallow: as many as show it about a million
    images, from 20 to 30."""
    batch_size: Count = None
    """Images per step."""
    lr: Positive = None
    """First learning rate (SGD with momentum, cosine to zero by epoch)."""
    momentum: Share = None
    """Momentum (0..1)."""
    weight_decay: NotNegative = None
    """L2 decay of all parameters."""
    clip: Positive = None
    """Largest norm of the gradient."""
    auxiliary: NotNegative = None
    """Weight of the auxiliary head's loss; 0 builds none."""
    drop_path: Annotated[float | None, Between(0, 0.99)] = None
    """Probability of dropping an edge, reached at the end of the training (0..1)."""
    cutout: Share = None
    """Side of the square cut out of every training image, as a share of the image (0..1)."""
    valid_fraction: Annotated[float, Between(0, 0.9)] = 0.0
    """Share of the training images held out to show accuracy while training (0..1)."""
    options: Any = None
    """What the recipe alone has: an instance of its `Options`; None: their defaults."""

    def __post_init__(self) -> None:
        if self.recipe not in registry.names("recipes"):
            registry.get("recipes", self.recipe)  # raises UnknownPlugin, with the nearest names
        check_bounds(self)

    @classmethod
    def of(cls, recipe: Any = "shallow", **settings: Any) -> "TrainConfig":
        """From flat names: those of fields go there, the others to the recipe's options.

        `recipe`: a name, or from Python the recipe itself. Raises UsageError that names a setting
        which the recipe does not have, and the recipes that do.
        """
        if not isinstance(recipe, str):
            recipe = registry.name_of("recipes", registry.add("recipes", recipe))
        shared = {f.name for f in fields(cls)} - {"recipe", "options"}
        own = {name: settings.pop(name) for name in [*settings] if name not in shared}
        options = _options_of(recipe, own) if own else None
        return cls(recipe, **settings, options=options)

    def to_settings(self) -> dict[str, Any]:
        """The flat dictionary for config.yaml: the fields, then the recipe's own options."""
        shared = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "options"}
        return shared | (asdict(self.options) if self.options is not None else {})

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> "TrainConfig":
        """The inverse of `to_settings`; other keys of a run's config.yaml are passed over.

        A config of version 0.1 calls the recipe `size`. Raises UnknownPlugin if it is not here.
        """
        recipe = settings.get("recipe", settings.get("size", cls.recipe))
        known = {f.name for f in fields(cls)} - {"recipe", "options"} | _option_names(recipe)
        return cls.of(recipe, **{k: v for k, v in settings.items() if k in known})


def _options_of(recipe: str, given: Mapping[str, Any]) -> object:
    """The recipe's `Options` with these values."""
    for name in given:
        if name in _option_names(recipe):
            continue
        others = [other for other, _ in registry.members("recipes") if name in _option_names(other)]
        if others:
            raise UsageError(
                f"recipe {recipe} has no {name} (recipes that do: {', '.join(others)})"
            )
        shared = [f.name for f in fields(TrainConfig) if f.name != "options"]
        raise unknown(f"setting of recipe {recipe}", name, [*shared, *_option_names(recipe)])
    return registry.get("recipes", recipe).Options(**given)


def _option_names(recipe: str) -> set[str]:
    options = getattr(registry.get("recipes", recipe), "Options", None)
    return set() if options is None else {f.name for f in fields(options)}


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
    Between(low, high).check(name, value)


def _one_of(name: str, value: str | None, known: tuple[str, ...]) -> None:
    if value is not None and value not in known:
        raise unknown(f"value of {name}", value, known)
