"""The reports of `edarts bench`. Nothing here imports torch.

`to_dict` of each is the JSON of `edarts bench --json`.
"""

from dataclasses import asdict, dataclass
from typing import Any

HEAD = (
    f"{'':24}{'seconds':>20}{'':8}{'MiB':>17}{'':8}{'error':>9}{'rounding':>10}{'images/s':>10}"
    f"{'GFLOP/s':>9}",
    f"{'':24}{'textbook':>10}{'ours':>10}{'ratio':>8}{'textbook':>9}{'ours':>8}{'ratio':>8}",
)


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

    def summary(self) -> str:
        """A line for a terminal."""
        return (
            f"{self.device}, {self.threads} threads, torch {self.torch}, numba {self.numba};"
            f" a large matrix product: {self.matrix_product_gflops} GFLOP/s"
        )


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

    def summary(self) -> str:
        """A line for a terminal, below `HEAD`."""
        return (
            f"{self.what:24}{self.textbook_s:10.3f}{self.ours_s:10.3f}{self.time_ratio:8.2f}"
            f"{self.textbook_mib:9.0f}{self.ours_mib:8.0f}{self.memory_ratio:8.2f}"
            f"{self.max_relative_error:9.0e}{self.rounding:10.0e}{self.images_per_second:10.0f}"
            f"{self.gflops:9.1f}"
        )


@dataclass(frozen=True)
class Scaling:
    """Seconds of one epoch of a search in which one quantity, `what`, has been set to `value`."""

    what: str
    value: int
    epoch_s: float

    def summary(self) -> str:
        """A line for a terminal."""
        return f"{f'{self.what} {self.value}':24}{self.epoch_s:20.2f} s for an epoch"


@dataclass(frozen=True)
class BenchReport:
    """What `edarts bench step`, `train` and `search` found. `scaling` is empty but for `search`."""

    rows: tuple[BenchRow, ...]
    scaling: tuple[Scaling, ...]
    machine: Machine

    def summary(self) -> str:
        """The table for a terminal: the machine first, then a line for each row."""
        lines = [self.machine.summary(), *HEAD, *(row.summary() for row in self.rows)]
        return "\n".join(lines + [row.summary() for row in self.scaling])

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

    def summary(self) -> str:
        """A line for a terminal."""
        return f"{self.what:48}{self.seconds:10.4f} s"


@dataclass(frozen=True)
class LedgerReport:
    """What `edarts bench ledger` found."""

    machine: Machine
    rows: tuple[LedgerRow, ...]

    def summary(self) -> str:
        """The machine first, then a line for each row."""
        return "\n".join([self.machine.summary(), *(row.summary() for row in self.rows)])

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON holds it."""
        return {"machine": asdict(self.machine), "rows": [asdict(row) for row in self.rows]}


@dataclass(frozen=True)
class AnswerRow:
    """Median milliseconds of the answer to one image; `ratio`: onnxruntime's over ours."""

    what: str
    network_ms: float
    """Of the network as it is, evaluated by PyTorch."""
    onnxruntime_ms: float
    ours_ms: float
    """Of the same network, planned."""
    ratio: float
    error: float
    """Largest difference of our logits to onnxruntime's."""

    def summary(self) -> str:
        """A line for a terminal."""
        return (
            f"{self.what:24}{self.network_ms:10.3f}{self.onnxruntime_ms:13.3f}{self.ours_ms:10.3f}"
            f"{self.ratio:8.2f}{self.error:9.0e}"
        )


@dataclass(frozen=True)
class AnswerReport:
    """What `edarts bench answer` found, on one thread."""

    machine: Machine
    rows: tuple[AnswerRow, ...]

    def summary(self) -> str:
        """The machine first, then a line for each row."""
        head = f"{'ms an image':24}{'network':>10}{'onnxruntime':>13}{'ours':>10}"
        head += f"{'ratio':>8}{'error':>9}"
        return "\n".join([self.machine.summary(), head, *(row.summary() for row in self.rows)])

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON holds it."""
        return {"machine": asdict(self.machine), "rows": [asdict(row) for row in self.rows]}


@dataclass(frozen=True)
class ProfileRow:
    """What one part of a step takes; figures of a compiled loop are None for what is none."""

    what: str
    calls: int
    seconds: float
    share: float
    """Of the step's seconds."""
    gflops: float | None
    """GFLOP/s, two for each multiply-add of its convolutions."""
    gbytes: float | None
    """GB/s, of what has to be read or written once."""
    roofline: float | None
    """The least seconds that its operations or its bytes would take here, over those it took."""
    threads: float | None
    """The seconds that it takes with one thread, over those with all: how many were at work."""

    def summary(self) -> str:
        """A line for a terminal."""
        line = f"  {self.what:24}{self.calls:7}{self.seconds:10.4f}{100 * self.share:7.1f} %"
        if self.gflops is None or self.gbytes is None or self.roofline is None:
            return line
        line = f"{line}{self.gflops:9.1f}{self.gbytes:8.1f}{100 * self.roofline:7.0f} %"
        return f"{line}{self.threads:9.2f}"


@dataclass(frozen=True)
class Roofs:
    """What the machine can do at most, as it was before a step was watched."""

    gflops: float
    """GFLOP/s of multiply-adds in registers."""
    gbytes: float
    """GB/s of copying a large array."""


@dataclass(frozen=True)
class StepProfile:
    """Where the seconds of one step go.

    `known`: the share that the rows account for. `pages`: how many the system hands out in a step,
    as memory is asked for; it clears them first, which takes `pages_seconds`, in the rows too.
    """

    what: str
    roofs: Roofs
    seconds: float
    rows: tuple[ProfileRow, ...]
    known: float
    pages: int
    pages_seconds: float

    def summary(self) -> str:
        """A few lines for a terminal."""
        head = (
            f"{self.what}: {self.seconds:.4f} s, of which {100 * self.known:.0f} % are below"
            f" (roofs: {self.roofs.gflops} GFLOP/s, {self.roofs.gbytes} GB/s; {self.pages} pages of"
            f" memory from the system: {self.pages_seconds:.4f} s)"
        )
        return "\n".join([head, *(row.summary() for row in self.rows)])


@dataclass(frozen=True)
class ProfileReport:
    """What `edarts bench profile` found."""

    steps: tuple[StepProfile, ...]
    machine: Machine

    def summary(self) -> str:
        """The machine, then a table for each step."""
        head = f"{'':26}{'calls':>7}{'seconds':>10}{'share':>9}{'GFLOP/s':>9}{'GB/s':>8}{'roof':>9}"
        head += f"{'threads':>9}"
        steps = (step.summary() for step in self.steps)
        return "\n".join([self.machine.summary(), head, *steps])

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON holds it."""
        return {
            "steps": [asdict(step) for step in self.steps],
            "machine": asdict(self.machine),
        }
