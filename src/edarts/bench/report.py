"""The reports of `edarts bench`. Nothing here imports torch.

`to_dict` of each is the JSON of `edarts bench --json`.
"""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Machine:
    """The machine and the versions that gave the figures of a report."""

    device: str
    """The name of the processor, or of the GPU."""
    threads: int
    """Threads that torch and the compiled loops use."""
    torch: str
    numba: str
    numpy: str
    python: str
    matrix_product_gflops: float
    """GFLOP/s of a 2048 x 2048 matrix product, two operations for each multiply-add."""


@dataclass(frozen=True)
class BenchRow:
    """One comparison of a step of this project with the textbook's; figures of times are medians.

    A ratio is the textbook's figure divided by ours, so more than 1 means that ours needs less.
    """

    what: str
    """The name of the comparison."""
    textbook_s: float
    """Seconds of one step of the textbook formulation."""
    ours_s: float
    """Seconds of one step of this project."""
    time_ratio: float
    textbook_mib: float
    """MiB that the textbook's step takes at its peak, above what the idle process holds."""
    ours_mib: float
    """MiB that our step takes at its peak, above what the idle process holds."""
    memory_ratio: float
    max_relative_error: float
    """Largest relative difference of our logits and gradients to the textbook's."""
    rounding: float
    """Largest relative difference of the textbook's to its own in float64."""
    images_per_second: float
    """Images that our step takes in a second."""
    gflops: float
    """GFLOP/s of our step, two for each multiply-add of convolutions and linear layers."""


@dataclass(frozen=True)
class Scaling:
    """Seconds of one epoch of a search in which one quantity, `what`, has been set to `value`."""

    what: str
    value: int
    epoch_s: float


@dataclass(frozen=True)
class BenchReport:
    """What `edarts bench step`, `train` and `search` found. `scaling` is empty but for `search`."""

    rows: tuple[BenchRow, ...]
    scaling: tuple[Scaling, ...]
    machine: Machine

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON holds it."""
        return {
            "rows": [asdict(row) for row in self.rows],
            "scaling": [asdict(row) for row in self.scaling],
            "machine": asdict(self.machine),
        }


@dataclass(frozen=True)
class LedgerRow:
    """Seconds that one piece of work on genotypes or on a ledger of trials takes."""

    what: str
    seconds: float


@dataclass(frozen=True)
class LedgerReport:
    """What `edarts bench ledger` found."""

    machine: Machine
    rows: tuple[LedgerRow, ...]

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON holds it."""
        return {"machine": asdict(self.machine), "rows": [asdict(row) for row in self.rows]}
