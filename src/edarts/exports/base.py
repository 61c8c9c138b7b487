"""What an export format is: it writes a trained network to files that others can run.

The built-in formats have one interface: uint8 images (N, H, W, C) in, probabilities (N, K) out.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, contiguous_format, nn

from edarts import __version__
from edarts.config import NoOptions
from edarts.config.data import shown
from edarts.data.decoding import FULL
from edarts.errors import EdartsError, UsageError
from edarts.exports.plain import Classifier
from edarts.nn.mirrored import Mirrored
from edarts.nn.supernet import Supernet
from edarts.reporting.stats import Estimate
from edarts.training.models import TrainedModel

Answer = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""(N, H, W, C) images -> (N, K) probabilities."""


@dataclass(frozen=True)
class Facts:
    """What is known beside the model.

    `accuracy`: on its test images; None if unknown. `images`: (N, H, W, C) uint8 of the training
    split, for a format that calibrates; None if there are none at hand.
    """

    accuracy: Estimate | None = None
    images: Tensor | None = None


class Export(ABC):
    """A format. `Options`: what can be chosen of it. `suffix`: of the file that it writes."""

    Options: ClassVar[type] = NoOptions
    suffix: ClassVar[str]

    def __init__(self, options: Any = None, facts: Facts | None = None) -> None:
        self.options = self.Options() if options is None else options
        self.facts = facts or Facts()

    @property
    def file(self) -> str:
        """What its file or folder is called in a run."""
        return f"model{self.suffix}"

    @abstractmethod
    def write(self, model: TrainedModel, out: Path) -> list[Path]:
        """Write `model` to `out`; returns the files. Raises EdartsError."""

    def open(self, out: Path) -> Answer | None:
        """What was written to `out`, run as its users run it; None: it cannot be run here."""
        return None

    def exact(self) -> "Export | None":
        """Of a format that rounds the network: the one that does not, to compare with."""
        return None


def classifier(model: TrainedModel) -> Classifier:
    """A copy of the model's network with all that surrounds it, on the CPU, in float32.

    An auxiliary head is left out. Raises UsageError for a supernet.
    """
    inner = model.network.network if isinstance(model.network, Mirrored) else model.network
    if isinstance(inner, Supernet):
        raise UsageError(
            "a supernet holds every candidate and cannot be exported: train the architecture that"
            " the search found, and export that run"
        )
    network: nn.Module = copy.deepcopy(model.network)
    for module in network.modules():
        if isinstance(getattr(module, "auxiliary", None), nn.Module):
            del module.auxiliary
    temperature = model.calibration.temperature if model.calibration is not None else 1.0
    network = network.cpu().float().to(memory_format=contiguous_format)  # type: ignore[call-overload]
    made = Classifier(network, model.transform.mean, model.transform.std, temperature)
    return made.eval().requires_grad_(False)


def card(model: TrainedModel, facts: Facts) -> dict[str, Any]:
    """What an export says of itself, JSON-ready.

    `image`: (C, H, W). `white`: the value of a pixel of more than 8 bits that becomes 255. `data`:
    what the data set is called, without its path.
    """
    tested: dict[str, Any] = {}
    if facts.accuracy is not None:
        found = facts.accuracy
        interval = [found.low, found.high]
        tested = {"accuracy": found.value, "accuracy_ci95": interval, "test_images": found.n}
    return {
        "classes": list(model.classes),
        "image": list(model.image),
        "white": model.white or FULL,
        "data": shown(model.data),
        "network": str(model.architecture),
        "parameters": model.parameters,
        **tested,
        "made_by": f"edarts {__version__}",
    }


def check_place(out: Path) -> None:
    """Raises EdartsError, before there is work to be lost, unless `out` lies in a folder."""
    if not out.parent.is_dir():
        raise EdartsError(f"{out}: cannot be written: {out.parent} is no folder")


def unwritable(out: Path, error: Exception) -> EdartsError:
    """The error for a file that could not be written."""
    reason = getattr(error, "strerror", None) or " ".join(str(error).split())
    return EdartsError(f"{out}: cannot be written: {reason}")
