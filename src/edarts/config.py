"""What a user can set, as dataclasses: a sentence and a unit under every field, checked when made.

A field left None takes the default of the method (SearchConfig) or of the size (TrainConfig); the
run folder's config.yaml holds the resolved values. Nothing here imports torch.
"""

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml

from edarts import registry
from edarts.errors import EdartsError, UsageError, unknown

Value = TypeVar("Value")
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
