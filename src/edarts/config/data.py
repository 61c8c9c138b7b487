"""DataConfig: the data set, and how it is split."""

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import PurePath
from typing import Annotated, Any

from edarts import registry
from edarts.config.fields import Between, check_fields
from edarts.errors import EdartsError, unknown

MAX_GIB = 8.0


def shown(data: str) -> str:
    """DATA without the folders that it lies in, which may tell who its owner is."""
    return data if data.startswith("hf:") else PurePath(data).name or data


@dataclass(frozen=True)
class DataConfig:
    """The data set, and how it is split."""

    data: str = "digits"
    """`digits`, a folder of class folders (with or without train/ and test/), a parquet file or
    folder in the Hugging Face layout, hf:OWNER/NAME, or an .npz file."""
    split_seed: Annotated[int, Between(0, 2**32)] = 0
    """Seed of the test split, when the data set brings none; runs share it whatever their seed."""
    test_fraction: Annotated[float, Between(0.01, 0.9)] = 0.2
    """Share of each class cut off as test split when the data set brings none (0..1)."""
    limit: Annotated[int | None, Between(2)] = None
    """Use at most this many training images, the same share of every class; all if not given."""
    test_limit: Annotated[int | None, Between(2)] = None
    """Evaluate on at most this many test images, the same share of every class; all if not
    given."""
    image_size: Annotated[int | None, Between(8, 256)] = None
    """Resize every image to this many pixels on each side (8..256); if not given, sizes stay, mixed
    sizes become the median one, and sides of 64 pixels and more are halved until the shorter one
    has fewer."""
    flip: bool | None = None
    """Whether a mirrored image keeps its meaning; if not given: yes in colour, no in grey,
    unless find measures otherwise."""
    drop_duplicates: bool = False
    """Leave training images out that are test images too, or nearly."""
    skip_bad: bool = False
    """Go on without image files that cannot be read."""
    max_gib: Annotated[float, Between(1e-6)] = field(default=MAX_GIB, compare=False)
    """GiB that the images of a split may take when decoded, at most, and those of a file when
    unpacked: a small file can hold far more than any memory."""
    options: object | None = None
    """What the source of these data alone takes: its `Options`; None: their defaults."""
    handed_in: object | None = field(default=None, repr=False, compare=False)
    """Data from Python, whose name and fingerprint are `data`; set by giving (X, y) as `data`."""

    def __post_init__(self) -> None:
        self._take_in()
        check_fields(self)
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
        for name, usual in {"drop_duplicates": False, "max_gib": MAX_GIB}.items():
            if flat[name] == usual:  # older configs do not have it
                del flat[name]
        options = self.options
        if options is None:
            kind = registry.locate("edarts.data.sources:options_for")(self.data)
            options = kind() if kind is not None else None
        return flat | (dataclasses.asdict(options) if options is not None else {})  # type: ignore[call-overload]

    @property
    def shown(self) -> str:
        """What others may read of `data`: of a path its last part."""
        return shown(self.data)

    def check_size(self, count: int, what: object) -> None:
        """Raises EdartsError if so many bytes, of `what`, are more than `max_gib`."""
        if count > self.max_gib * 2**30:
            raise EdartsError(
                f"{what}: {count / 2**30:.3g} GiB when decoded, more than --max-gib"
                f" {self.max_gib:g}; raise it, or give --limit or --image-size"
            )

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The options that every data set takes."""
        return tuple(f.name for f in fields(cls) if f.name not in ("data", "options", "handed_in"))
