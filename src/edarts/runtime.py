"""Session and Runtime: what surrounds a verb, as the user gave it and as it is carried out."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from edarts.config import Between, check_fields
from edarts.runs.folder import CHECKPOINT_SECONDS, Run
from edarts.runs.loggers import names
from edarts.runs.progress import Progress
from edarts.runs.stop import Stop

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Session:
    """What every verb that makes a run takes beside its config; a verb refuses what it cannot use.

    Making one does nothing but check its numbers: no device is opened, no flag set, no group of
    processes joined. `training.device.runtime` does that.
    """

    seed: Annotated[int, Between(0, 2**63 - 1)] = 0
    """Seed of everything but splits."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    out: str | Path | None = None
    """Run folder; if not given, one below runs/ that the same options find again."""
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    """The most work, in seconds, that a killed run repeats."""
    progress: Progress | None = None
    """Where lines for the user go; None: nowhere."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Of convolutions and products; weights stay in fp32. fp16 needs a GPU; auto: fp32, but in the
    race of find bf16 for each network that is much faster in it here."""
    compile: bool = False
    """Pass networks through torch.compile; needs a C compiler."""
    log: str = ""
    """Where metrics go beside metrics.jsonl, with commas: tensorboard, wandb, mlflow."""
    storage: str | None = None
    """Black-box search: URL of the database with the ledger of trials, for many machines, such as
    postgresql+psycopg://USER@HOST/NAME; if not given, a file of the run folder."""
    workers: Annotated[int, Between(1)] = 1
    """Trials of a black-box search, or runs of a study, at once, by Ray."""
    ray_address: str | None = None
    """The Ray cluster of the workers, or local; if not given, this machine."""

    def __post_init__(self) -> None:
        check_fields(self)
        names(self.log)


@dataclass(frozen=True)
class Runtime:
    """What a verb hands down to all that it calls: made once, by `training.device.runtime`.

    `device`: where tensors go. `run`: the open run folder; None keeps nothing. `stop`: asked after
    every step. The others: see `Session`.
    """

    device: "torch.device"
    seed: int = 0
    run: Run | None = None
    progress: Progress = field(default_factory=Progress)
    stop: Stop = field(default_factory=Stop)
    precision: str = "auto"
    compile: bool = False
