"""Session and Runtime: what surrounds a verb, as the user gave it and as it is carried out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from edarts.config import Between, DataConfig, check_fields
from edarts.runs.folder import CHECKPOINT_SECONDS, Run, default_path
from edarts.runs.progress import Progress
from edarts.runs.stop import Stop

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Session:
    """What every verb that makes a run takes beside its config.

    Making one does nothing but check its numbers: no device is opened, no flag set, no group of
    processes joined. `training.device.runtime` does that.

    `seed`: of everything but splits. `device`: auto, cpu, cuda or mps. `out`: the run folder; None:
    a folder below runs/ that the same options find again. `checkpoint_seconds`: the most work, in
    seconds, that a killed run repeats. `progress`: where lines for the user go; None: nowhere.
    `precision`: fp32, bf16 or fp16; `compile`: whether networks pass through torch.compile.
    `storage`: the URL of the database that holds the ledger of a black-box search; None: a file of
    the run folder. `workers`: trials of a black-box search, or runs of a study, at once, through
    Ray if `ray_address` (`local` or a cluster's) is given or there are more than one.
    A verb refuses what it cannot use.
    """

    seed: int = 0
    device: str = "auto"
    out: str | Path | None = None
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    progress: Progress | None = None
    precision: str = "fp32"
    compile: bool = False
    storage: str | None = None
    workers: Annotated[int, Between(1, None)] = 1
    ray_address: str | None = None

    def __post_init__(self) -> None:
        check_fields(self)

    def folder(self, verb: str, data: DataConfig, settings: Mapping[str, Any]) -> Path:
        """The run folder: `out`, or the one below runs/ that these settings always get."""
        return Path(self.out) if self.out is not None else default_path(verb, data.data, settings)


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
    precision: str = "fp32"
    compile: bool = False
