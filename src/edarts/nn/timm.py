"""Networks of timm (PyTorch Image Models, Wightman 2019), named `timm:NAME`: the extra `timm`.

timm is imported when such a network is named, for it is large and brings torchvision along.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from safetensors import safe_open
from torch import Tensor, nn
from torch.nn import functional

from edarts.errors import EdartsError, UsageError, one_line, unknown
from edarts.nn.whole import Whole, WholeNetwork
from edarts.space.base import Image

PREFIX = "timm:"
HUB = "hub"


@dataclass(frozen=True)
class Timm(Whole):
    """`name`: of a model of timm, such as resnet18. Raises UsageError if timm has no such model."""

    FORMAT: ClassVar[str] = "edarts.timm/1"

    name: str

    def __post_init__(self) -> None:
        timm = _timm()
        if self.name not in timm.list_models():
            raise unknown("model of timm", self.name, timm.list_models())

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Timm":
        """The inverse of `to_dict`; raises UsageError."""
        return cls(str(fields.get("name", "")))

    @property
    def label(self) -> str:
        return f"{PREFIX}{self.name}"

    def network(self, image: Image, classes: int) -> WholeNetwork:
        return TimmNetwork(self, image, classes)

    def __str__(self) -> str:
        return self.label


class TimmNetwork(WholeNetwork):
    """(B, C, H, W) -> (B, classes); images are resized to what the model was made for."""

    def __init__(self, architecture: Timm, image: Image, classes: int) -> None:
        super().__init__(architecture, image)
        self.made_of = {"num_classes": classes, "in_chans": image[0]}
        self.model: nn.Module = _timm().create_model(architecture.name, **self.made_of)
        config: Any = self.model.pretrained_cfg
        self.sides: tuple[int, int] = tuple(config["input_size"][1:])

    def logits(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) -> logits (B, classes)."""
        if x.shape[2:] != self.sides:
            x = functional.interpolate(x, self.sides, mode="bilinear", align_corners=False)
        logits: Tensor = self.model(x)
        return logits

    def begin_with(self, weights: str) -> None:
        """Take the weights of a safetensors file, or for `hub` those that timm names its own.

        The classifier is left as it is where the number of classes differs, and the first layer is
        adapted where the number of channels does. Raises EdartsError.
        """
        name, overlay = self.architecture.name, {}  # type: ignore[attr-defined]
        if weights != HUB:
            if not Path(weights).is_file():
                raise EdartsError(f"{weights}: no such file; give a safetensors file, or {HUB}")
            overlay = {"file": weights}
        try:
            if weights != HUB:
                _check_names(weights, self.model)
            made = _timm().create_model(
                name, pretrained=True, pretrained_cfg_overlay=overlay, **self.made_of
            )
        except Exception as error:  # timm, the hub and safetensors each raise their own
            raise EdartsError(f"{weights}: not the weights of {name}: {one_line(error)}") from None
        self.model.load_state_dict(made.state_dict())


def _check_names(weights: str, model: nn.Module) -> None:
    """Raises ValueError unless the file names most of the weights: timm passes over others."""
    with safe_open(weights, "pt") as file:
        known = set(file.keys())
    own = set(model.state_dict())
    if len(own & known) <= len(own) / 2:
        raise ValueError(f"it names {len(own & known)} of {len(own)}")


def begin_with(network: nn.Module, weights: str) -> None:
    """Let a network of timm begin with known weights. Raises EdartsError, UsageError for others."""
    if not isinstance(network, TimmNetwork):
        raise UsageError(f"pretrained is for networks named {PREFIX}NAME")
    network.begin_with(weights)


def _timm() -> Any:
    try:
        import timm
    except Exception as error:  # a torchvision that does not fit raises a RuntimeError
        raise EdartsError(
            f"{PREFIX}NAME needs timm (in a clone: pip install -c constraints.txt -e '.[timm]'), "
            f"and a torchvision that fits this torch: {one_line(error)}"
        ) from None
    return timm
