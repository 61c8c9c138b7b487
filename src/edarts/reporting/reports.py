"""What each verb returns: a frozen dataclass, whose `to_dict` is its JSON form."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edarts.reporting.stats import Estimate
from edarts.space.base import Architecture


@dataclass(frozen=True)
class SearchReport:
    """What a one-shot search found, and what it cost.

    `steps`: of the weights and of the architecture. `passes`: forward and backward, of a batch
    through a supernet. `images_seen`: in the forward passes. `seconds`: of each phase.
    """

    genotype: Architecture
    weight_steps: int
    architecture_steps: int
    forward_passes: int
    backward_passes: int
    images_seen: int
    seconds: Mapping[str, float]
    run: Path

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "genotype": self.genotype.to_dict(),
            "skips": self.genotype.skips(),
            "seconds": dict(self.seconds),
            "steps": {"weight": self.weight_steps, "architecture": self.architecture_steps},
            "passes": {"forward": self.forward_passes, "backward": self.backward_passes},
            "images_seen": self.images_seen,
            "run": str(self.run),
        }


@dataclass(frozen=True)
class BlackBoxReport:
    """What a black-box search found: the architecture of the best mean `score`, and its ledger.

    `scored`, `known`, `failed`: trials whose score was computed, was known already, or is missing.
    `storage`: the ledger's URL; `study`: its name there. `images_seen` is not counted.
    """

    genotype: Architecture
    score: float
    scored: int
    known: int
    failed: int
    storage: str
    study: str
    seconds: Mapping[str, float]
    run: Path
    images_seen: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "genotype": self.genotype.to_dict(),
            "skips": self.genotype.skips(),
            "score": self.score,
            "trials": {"scored": self.scored, "known": self.known, "failed": self.failed},
            "seconds": dict(self.seconds),
            "storage": self.storage,
            "study": self.study,
            "run": str(self.run),
        }


@dataclass(frozen=True)
class TrainReport:
    """What a training gave.

    `train_accuracy`: of the last epoch, on augmented images. `valid_accuracy`: on images held out
    of the training split; None if there were none. `flops`: multiply-adds of one image.
    """

    genotype: Architecture
    train_accuracy: float
    valid_accuracy: float | None
    parameters: int
    flops: int
    seconds: Mapping[str, float]
    run: Path

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; `valid_accuracy` only if images were held out."""
        held = {} if self.valid_accuracy is None else {"valid_accuracy": self.valid_accuracy}
        return {
            "train_accuracy": self.train_accuracy,
            **held,
            "parameters": self.parameters,
            "flops": self.flops,
            "seconds": dict(self.seconds),
            "genotype": self.genotype.to_dict(),
            "run": str(self.run),
        }


@dataclass(frozen=True)
class EvaluationReport:
    """How well a trained network does on test images.

    `accuracy`: the share of right answers with Wilson's interval. `per_class`: that of each class;
    None for one without images.
    """

    genotype: Architecture
    accuracy: Estimate
    per_class: Mapping[str, float | None]
    parameters: int
    flops: int
    seconds: Mapping[str, float]
    run: Path

    @property
    def test_accuracy(self) -> float:
        """Share of right answers, 0..1."""
        return self.accuracy.value

    @property
    def test_accuracy_ci95(self) -> tuple[float, float]:
        """Wilson's 95 % interval."""
        assert self.accuracy.low is not None and self.accuracy.high is not None
        return self.accuracy.low, self.accuracy.high

    @property
    def test_images(self) -> int:
        """How many images were tested."""
        return self.accuracy.n

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "test_accuracy": self.test_accuracy,
            "test_accuracy_ci95": list(self.test_accuracy_ci95),
            "test_images": self.test_images,
            "per_class": dict(self.per_class),
            "parameters": self.parameters,
            "flops": self.flops,
            "seconds": dict(self.seconds),
            "genotype": self.genotype.to_dict(),
            "run": str(self.run),
        }


@dataclass(frozen=True)
class FindReport(EvaluationReport):
    """A search, a training and an evaluation in one run folder."""

    weight_steps: int = 0
    architecture_steps: int = 0

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return super().to_dict() | {
            "skips": self.genotype.skips(),
            "steps": {"weight": self.weight_steps, "architecture": self.architecture_steps},
        }


@dataclass(frozen=True)
class Prediction:
    """The class of the highest probability for one image; `file`: the path that was given."""

    file: str
    class_name: str
    probability: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"file": self.file, "class": self.class_name, "probability": self.probability}


@dataclass(frozen=True)
class ExportReport:
    """The files that a trained run was written to."""

    format: str
    files: tuple[Path, ...]
    run: Path

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self) | {"files": [str(file) for file in self.files], "run": str(self.run)}
