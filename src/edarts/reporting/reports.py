"""What each verb returns: a frozen dataclass, whose `to_dict` is its JSON form."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edarts.reporting.paired import Comparison
from edarts.reporting.stats import Estimate
from edarts.reporting.trust import Learned, Overlap, Trust
from edarts.space.base import Architecture

if TYPE_CHECKING:
    from edarts.training.models import TrainedModel


def text(lines: Mapping[str, str], run: Path | None = None, *after: str) -> str:
    """Headings and their texts, a line each; then what to do next, RUN standing for the run."""
    items = [*lines.items()]
    folder = "" if run is None else shlex.quote(str(run))
    items += [
        ("" if index else "next", command.replace("RUN", folder))
        for index, command in enumerate(after)
    ]
    return "\n".join(f"{heading:18}{line}" for heading, line in items)


def _found(design: Architecture) -> dict[str, str]:
    counts = [f"{count} {group}" for group, count in design.skips().items()]
    return design.lines() | ({"skip connections": ", ".join(counts)} if counts else {})


def _size(parameters: int, flops: int) -> dict[str, str]:
    return {"parameters": f"{parameters:,}", "FLOPs": f"{flops:,} multiply-adds per image"}


def _seconds(seconds: Mapping[str, float]) -> dict[str, str]:
    return {"seconds": ", ".join(f"{phase} {value:.1f}" for phase, value in seconds.items())}


@dataclass(frozen=True)
class SearchReport:
    """What a one-shot search found, and what it cost.

    `steps`: of the weights and of the architecture. `passes`: forward and backward, of a batch
    through a supernet. `images_seen`: in the forward passes. `seconds`: of each phase. `data`: what
    was searched for.
    """

    genotype: Architecture
    weight_steps: int
    architecture_steps: int
    forward_passes: int
    backward_passes: int
    images_seen: int
    seconds: Mapping[str, float]
    run: Path
    data: str

    def summary(self) -> str:
        """The report as text for a terminal."""
        return text(
            {
                **_found(self.genotype),
                "steps": f"{self.weight_steps} weight, {self.architecture_steps} architecture",
                "passes": f"{self.forward_passes} forward, {self.backward_passes} backward;"
                f" {self.images_seen} images seen",
                **_seconds(self.seconds),
                "run": f"{self.run}   (cells drawn in cell.png)",
            },
            self.run,
            f"edarts train RUN {shlex.quote(self.data)}",
        )

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-ready fields."""
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
    data: str
    images_seen: int | None = None

    def summary(self) -> str:
        """The report as text for a terminal."""
        return text(
            {
                **_found(self.genotype),
                "score": f"{self.score:.4f} (best of the search, so too good a guess)",
                "trials": f"{self.scored} scored, {self.known} known already, {self.failed} failed",
                **{k: f"{v}, of all trials together" for k, v in _seconds(self.seconds).items()},
                "ledger": f"{self.storage}, study {self.study}",
                "run": f"{self.run}   (cells drawn in cell.png)",
            },
            self.run,
            f"edarts train RUN {shlex.quote(self.data)}",
        )

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-ready fields."""
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
    of the training split; None if there were none. `flops`: multiply-adds of one image. `model`:
    the network itself, for an evaluation in this process; no part of the JSON form.
    """

    genotype: Architecture
    train_accuracy: float
    valid_accuracy: float | None
    parameters: int
    flops: int
    seconds: Mapping[str, float]
    run: Path
    model: "TrainedModel | None" = field(default=None, repr=False, compare=False)

    def summary(self) -> str:
        """The report as text for a terminal."""
        held = {}
        if self.valid_accuracy is not None:
            held = {"valid accuracy": f"{self.valid_accuracy:.2%} (held out of the training split)"}
        return text(
            {
                **self.genotype.lines(),
                "train accuracy": f"{self.train_accuracy:.2%} (augmented images, last epoch)",
                **held,
                **_size(self.parameters, self.flops),
                **_seconds(self.seconds),
                "run": str(self.run),
            },
            self.run,
            "edarts evaluate RUN",
        )

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
    None for one without images. `trust`: what else the probabilities say. `overlap`: of the test
    images with the training images; None where it was not looked for.
    """

    genotype: Architecture
    accuracy: Estimate
    per_class: Mapping[str, float | None]
    parameters: int
    flops: int
    seconds: Mapping[str, float]
    run: Path
    trust: Trust | None = None
    overlap: Overlap | None = None

    @classmethod
    def from_dict(
        cls, fields: Mapping[str, Any], genotype: Architecture, run: Path
    ) -> "EvaluationReport":
        """The inverse of `to_dict`, for the evaluation.json of a run."""
        low, high = fields["test_accuracy_ci95"]
        accuracy = Estimate(fields["test_accuracy"], low, high, fields["test_images"])
        trust = Trust.from_dict(fields["trust"]) if "trust" in fields else None
        overlap = Overlap.from_dict(fields["duplicates"]) if "duplicates" in fields else None
        each, parameters, flops = fields["per_class"], fields["parameters"], fields["flops"]
        seconds = fields["seconds"]
        return cls(genotype, accuracy, each, parameters, flops, seconds, run, trust, overlap)

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

    def tested(self) -> dict[str, str]:
        """Accuracy and size, in words."""
        low, high = self.test_accuracy_ci95
        accuracy = {
            "test accuracy": f"{self.test_accuracy:.2%}, 95 % interval {low:.2%} to {high:.2%}"
            f" ({self.test_images} images)",
        }
        first, then = ({}, {}) if self.trust is None else _trusted(self.trust)
        said = self.overlap.sentences() if self.overlap is not None else []
        twice = {"duplicates": said[0]} if said else {}
        return {**first, **accuracy, **twice, **then, **_size(self.parameters, self.flops)}

    def summary(self) -> str:
        """The report as text for a terminal."""
        return text(self.tested())

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-ready fields."""
        return {
            "test_accuracy": self.test_accuracy,
            "test_accuracy_ci95": list(self.test_accuracy_ci95),
            "test_images": self.test_images,
            "per_class": dict(self.per_class),
            **({} if self.trust is None else {"trust": self.trust.to_dict()}),
            **({} if self.overlap is None else {"duplicates": asdict(self.overlap)}),
            "parameters": self.parameters,
            "flops": self.flops,
            "seconds": dict(self.seconds),
            "genotype": self.genotype.to_dict() if self.genotype.sized else None,
            "run": str(self.run),
        }


def _trusted(trust: Trust) -> tuple[dict[str, str], dict[str, str]]:
    """What stands above the accuracy, where classes are unbalanced, and what below it."""
    balanced = trust.balanced_accuracy
    first = {
        "balanced accuracy": f"{balanced.value:.2%}, 95 % interval {balanced.low:.2%} to"
        f" {balanced.high:.2%}: the mean over the classes, which are of unequal size"
    }
    always = {
        "largest class": f"{trust.majority.value:.2%} of the test images are"
        f" '{trust.majority_class}': so accurate is who always says so"
    }
    top = {} if trust.top5 is None else {"among five": f"{trust.top5.value:.2%}"}
    error, brier = trust.calibration_error, trust.brier
    low, high = (100 * (end or 0.0) for end in (error.low, error.high))
    rest = {
        "calibration": f"expected error {100 * error.value:.1f} points ({low:.1f} to {high:.1f}),"
        f" Brier score {brier.value:.3f}",
        **({} if trust.learned is None else _learned(trust.learned)),
    }
    return (first, {**always, **top, **rest}) if trust.unbalanced else ({}, {**top, **rest})


def _learned(learned: Learned) -> dict[str, str]:
    """What images held out have taught, and how well it holds."""
    coverage, unlike = learned.coverage, learned.unlike
    return {
        "": f"{100 * learned.before.value:.1f} points before logits were divided by"
        f" {learned.temperature:.2f}, learned from {learned.images} images held out",
        "sets of classes": f"hold the right one for {coverage.value:.1%} of the images"
        f" ({coverage.low:.1%} to {coverage.high:.1%}; meant are 90 %), {learned.set_size:.2f}"
        " classes on average",
        "flagged": f"{unlike.value:.1%} of the images as unlike the training data"
        f" ({unlike.low:.1%} to {unlike.high:.1%}; meant are 5 %)",
    }


@dataclass(frozen=True)
class Entrant:
    """A candidate of a race: what its last training gave on the images held out.

    `seconds`: that the training took. `round`: in which it was, from 1.
    """

    name: str
    accuracy: Estimate
    parameters: int
    flops: int
    seconds: float
    round: int

    def to_dict(self) -> dict[str, Any]:
        """The candidate as JSON-ready fields."""
        return {
            "name": self.name,
            "valid_accuracy": self.accuracy.value,
            "ci95": [self.accuracy.low, self.accuracy.high],
            "parameters": self.parameters,
            "flops": self.flops,
            "seconds": round(self.seconds, 2),
            "round": self.round,
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any], images: int = 0) -> "Entrant":
        """The inverse of `to_dict`; `images`: held out, if known."""
        low, high = fields["ci95"]
        accuracy = Estimate(fields["valid_accuracy"], low, high, images)
        names = ("parameters", "flops", "seconds", "round")
        return cls(fields["name"], accuracy, *(fields[name] for name in names))


@dataclass(frozen=True)
class FindReport(EvaluationReport):
    """A search, a race, a training and an evaluation in one run folder.

    `candidates`: from best to worst; none where only one took part. `verdict`: what the race has
    shown, in a sentence. `cut`: what was shortened or left out to stay within the budget.
    """

    weight_steps: int = 0
    architecture_steps: int = 0
    winner: str = ""
    candidates: tuple[Entrant, ...] = ()
    verdict: str = ""
    cut: tuple[str, ...] = ()

    def summary(self) -> str:
        """The report as text for a terminal."""
        return text(
            {
                **_found(self.genotype),
                **_entrants(self.candidates),
                "verdict": self.verdict,
                **({"cut": "; ".join(self.cut)} if self.cut else {}),
                **self.tested(),
                **_seconds(self.seconds),
                "run": f"{self.run}   (drawn in cell.png, model in model.safetensors)",
            },
            self.run,
            "edarts predict RUN IMAGE...",
            "edarts evaluate RUN OTHER_DATA",
            "edarts train RUN DATA --recipe darts",
        )

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-ready fields."""
        return super().to_dict() | {
            "skips": self.genotype.skips(),
            "steps": {"weight": self.weight_steps, "architecture": self.architecture_steps},
            "winner": self.winner,
            "candidates": [entrant.to_dict() for entrant in self.candidates],
            "verdict": self.verdict,
            "cut": list(self.cut),
        }


def _entrants(entrants: Sequence[Entrant]) -> dict[str, str]:
    """A line for each candidate of a race."""
    return {
        f"{'candidates' if index == 0 else '':10}{index + 1:>6}": (
            f"{entrant.name:16}{entrant.accuracy.value:7.2%}"
            f" ({entrant.accuracy.low:.2%} to {entrant.accuracy.high:.2%})"
            f"{entrant.parameters:>11,} parameters{entrant.flops / 1e6:>9,.1f} M multiply-adds"
            f"{entrant.seconds:>8.1f} s in round {entrant.round}"
        )
        for index, entrant in enumerate(entrants)
    }


@dataclass(frozen=True)
class PagesReport:
    """Pages that were drawn, and how each pair of the runs does on the same test images."""

    files: tuple[Path, ...]
    comparisons: tuple[Comparison, ...] = ()

    def summary(self) -> str:
        """The report as text for a terminal."""
        return "\n".join([*map(str, self.files), *(pair.summary() for pair in self.comparisons)])

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-ready fields."""
        pairs = [pair.to_dict() for pair in self.comparisons]
        return {"files": [str(file) for file in self.files], "comparisons": pairs}


@dataclass(frozen=True)
class FilesReport:
    """Files that were written; `name`: of what."""

    files: tuple[Path, ...]
    name: str | None = None

    def summary(self) -> str:
        """The report as text for a terminal."""
        return "\n".join(map(str, self.files))

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-ready fields."""
        named = {} if self.name is None else {"name": self.name}
        return named | {"files": [str(file) for file in self.files]}
