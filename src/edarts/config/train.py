"""TrainConfig: how a network is trained from scratch."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Annotated, Any, Literal

from edarts import registry
from edarts.config.fields import (
    UNSET,
    Between,
    Count,
    NotNegative,
    Positive,
    Share,
    check_fields,
    takers,
)
from edarts.config.files import upgraded
from edarts.errors import UsageError, unknown


@dataclass(frozen=True)
class TrainConfig:
    """How a network is trained from scratch. What is not given is the default of its recipe."""

    recipe: str = "fast"
    """How networks are trained: fast, 5 cells of 16 channels as the CIFAR-10 speed record is;
    darts, the published training of 20 cells of 36 channels with auxiliary head, drop path and
    cutout; shallow, that of 5 cells of 16 channels without these; or a plug-in's."""
    cells: Annotated[int, Between(1, 1000)] = UNSET
    """Depth of the network in cells."""
    channels: Count = UNSET
    """Channels of its first cell."""
    epochs: Count = UNSET
    """Passes over the training images; darts: 600; fast: as many as show it about 200,000 images,
    from 10 to 40."""
    batch_size: Count = UNSET
    """Images per step."""
    lr: Positive = UNSET
    """First learning rate (SGD with momentum, cosine to zero by epoch)."""
    momentum: Share = UNSET
    """Momentum (0..1)."""
    weight_decay: NotNegative = UNSET
    """L2 decay of all parameters."""
    clip: Positive = UNSET
    """Largest norm of the gradient."""
    auxiliary: NotNegative = UNSET
    """Weight of the auxiliary head's loss; 0 builds none."""
    drop_path: Annotated[float, Between(0, 0.99)] = UNSET
    """Probability of dropping an edge, reached at the end of the training (0..1)."""
    cutout: Share = UNSET
    """Side of the square cut out of every training image, as a share of the image (0..1)."""
    whitening: bool | None = UNSET
    """Whether networks of cells begin with a whitening layer and pooling, as the speed record's
    network does, not with DARTS' convolution."""
    balance: Literal["auto", "none", "loss", "sampler"] = "auto"
    """How a rare class gets its due: loss, as if all classes were equally large; sampler, its
    images are drawn more often; none; auto: loss where the largest class has more than three times
    the images of the smallest, else none."""
    pretrained: str = ""
    """Weights that a network named timm:NAME begins with: a safetensors file, or hub for those that
    timm knows by that name; if not given, it is trained from scratch."""
    valid_fraction: Annotated[float, Between(0, 0.9)] = UNSET
    """Share of the training images held out (0..1), to show accuracy while training, and to learn
    how far answers can be trusted; if not given: none; find holds out a twentieth, at most 1,000
    images."""
    options: Any = None
    """What the recipe alone has: an instance of its `Options`; None: their defaults."""

    def __post_init__(self) -> None:
        if self.recipe not in registry.names("recipes"):
            registry.get("recipes", self.recipe)  # raises UnknownPlugin, with the nearest names
        check_fields(self)

    @classmethod
    def of(cls, recipe: Any = "fast", **settings: Any) -> "TrainConfig":
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
        for name in ("pretrained", "balance"):  # which older configs do not have
            if shared[name] == getattr(type(self), name):
                del shared[name]
        return shared | (asdict(self.options) if self.options is not None else {})

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> "TrainConfig":
        """The inverse of `to_settings`; other keys of a run's config.yaml are passed over.

        A config of version 0.1 calls the recipe `size`. Raises UnknownPlugin if it is not here.
        """
        recipe = upgraded(settings).get("recipe", cls.recipe)
        known = {f.name for f in fields(cls)} - {"recipe", "options"} | _option_names(recipe)
        return cls.of(recipe, **{k: v for k, v in settings.items() if k in known})


def _options_of(recipe: str, given: Mapping[str, Any]) -> object:
    """The recipe's `Options` with these values."""
    for name in given:
        if name in _option_names(recipe):
            continue
        if others := takers(name, "recipes"):
            raise UsageError(f"recipe {recipe} has no {name} ({others})")
        shared = [f.name for f in fields(TrainConfig) if f.name != "options"]
        raise unknown(f"setting of recipe {recipe}", name, [*shared, *_option_names(recipe)])
    return registry.get("recipes", recipe).Options(**given)


def _option_names(recipe: str) -> set[str]:
    options = getattr(registry.get("recipes", recipe), "Options", None)
    return set() if options is None else {f.name for f in fields(options)}
