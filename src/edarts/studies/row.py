"""One row of a study: which run it is, and what was measured or why the run failed.

A row is one line of ledger.jsonl and one entry of `rows` in the JSON; `to_dict` and `from_dict`
convert between the two forms.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Literal

from edarts.space import architecture
from edarts.space.base import Architecture

Factor = str | int | float | bool


@dataclass(frozen=True)
class Row:
    """What is known of one run of a study. What was not measured is None.

    `factors`: the columns that tell the run from the others. Seconds are wall time, sizes MiB,
    accuracies shares from 0 to 1. `valid`: of training images held out; `test`: of the test split.
    """

    name: str
    factors: Mapping[str, Factor] = field(default_factory=dict)
    seed: int = 0
    status: Literal["done", "failed"] = "done"
    reason: str | None = None
    """Why the run failed, on one line."""
    search_seconds: float | None = None
    images_seen: int | None = None
    """Images in all forward passes of the search; one-shot methods only."""
    search_peak_mib: float | None = None
    """The peak of the process' memory, or of the GPU's, while the search ran."""
    train_seconds: float | None = None
    train_peak_mib: float | None = None
    valid_accuracy: float | None = None
    valid_images: int | None = None
    parameters: int | None = None
    flops: int | None = None
    """Multiply-adds of one image."""
    normal_skips: int | None = None
    """Skip connections of the normal cell; None where the architecture has no cells."""
    reduce_skips: int | None = None
    test_accuracy: float | None = None
    test_low: float | None = None
    """Lower end of the 95 % interval of `test_accuracy`."""
    test_high: float | None = None
    test_images: int | None = None
    genotype: Architecture | None = None
    """What was trained: cells, or a whole network."""
    run: str | None = None
    """The folder of the training, relative to the study's."""
    seconds: float | None = None
    """Of the whole run: search, training and evaluation."""
    folder: Path | None = field(default=None, compare=False)
    """The study's folder, where it is known; it stands in no file."""

    UNITS: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("search_seconds", "train_seconds", "seconds"), "s"),
        **dict.fromkeys(("search_peak_mib", "train_peak_mib"), "MiB"),
        **dict.fromkeys(("valid_accuracy", "test_accuracy", "test_low", "test_high"), "share"),
    }
    """The unit of each column that has one, as `reporting.model.Column` names them."""

    @property
    def skips(self) -> int | None:
        """Skip connections of both cells."""
        if self.normal_skips is None or self.reduce_skips is None:
            return None
        return self.normal_skips + self.reduce_skips

    def get(self, column: str) -> Any:
        """The value of a factor or of a measured field; None where there is none."""
        return self.factors[column] if column in self.factors else getattr(self, column, None)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, without what was not measured; the factors stand among the fields.

        A peak that the system does not tell stays, as null, beside the seconds of its phase.
        """
        told = {"search_peak_mib": self.search_seconds, "train_peak_mib": self.train_seconds}
        measured = {
            name: value
            for name in MEASUREMENTS
            if (value := getattr(self, name)) is not None or told.get(name) is not None
        }
        if self.genotype is not None:
            measured["genotype"] = self.genotype.to_dict()
        return {
            "name": self.name,
            **self.factors,
            "seed": self.seed,
            "status": self.status,
            **measured,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], folder: Path | None = None) -> "Row":
        """The inverse of `to_dict`: whatever is no field of a row is a factor of it.

        Raises KeyError without a name, UsageError for an architecture that cannot be read.
        """
        known = {name: values[name] for name in (*IDENTITY, *MEASUREMENTS) if name in values}
        if "genotype" in known:
            known["genotype"] = architecture.from_dict(known["genotype"])
        factors = {name: value for name, value in values.items() if name not in known}
        return cls(**{"name": values["name"], **known}, factors=factors, folder=folder)


IDENTITY = ("name", "seed", "status")
MEASUREMENTS = tuple(f.name for f in fields(Row) if f.name not in (*IDENTITY, "factors", "folder"))
