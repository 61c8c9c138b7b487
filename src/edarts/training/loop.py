"""Loop: the resumable epoch loop that searching and training share.

A phase gives a step, what to do at an epoch's end, and its state; the loop does position, seeds,
precision, metrics, progress, checkpoints, stopping and resuming. Before each step torch is seeded
by (seed, phase, epoch, step), so a resumed run is bit-identical on the CPU without any saved random
state.
"""

import itertools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

import torch

from edarts.config import SearchConfig, TrainConfig
from edarts.errors import EdartsError, Interrupted
from edarts.runs.progress import clock
from edarts.runs.seeds import seed_all
from edarts.runtime import Runtime
from edarts.training import distributed
from edarts.training.device import autocast
from edarts.training.scaling import Scaler, scaling

Metrics = dict[str, float]
Config = TypeVar("Config", SearchConfig, TrainConfig)
SPARED_NOT = 0.3  # share of the epochs, the last ones, that a limit leaves to the end
TIMED = 16  # images of a step that is timed for a plan
RECENT = 3  # epochs, the fastest of which is the pace


class Phase(Protocol):
    """What a loop drives: a search or a training."""

    def step(self, epoch: int, at: int) -> Metrics:
        """Step `at` of `epoch` (both 0-based); returns metrics to be averaged over the epoch."""

    def end(self, epoch: int) -> dict[str, Any]:
        """Ends an epoch; returns what its line has beside the averages, ready for JSON."""

    def finished(self) -> bool:
        """Asked after an epoch: whether the others would change nothing any more."""

    def state(self) -> dict[str, Any]:
        """Everything that a resumed phase needs, of tensors, numbers and text."""

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""


def nothing(line: dict[str, Any]) -> str:
    """Describes an epoch's line by no more than its averages."""
    return ""


@dataclass
class Loop:
    """`epochs` epochs of `steps` steps of the phase called `name`.

    `describe`: what to show of an epoch's line beside the averages. `limit`: seconds that it may
    take; where the epochs that are left would take more, some are passed over, but for the last
    ones, of low learning rates. When it has run, `seconds` is the wall
    time and `history` a line for each epoch, of this and of earlier processes.
    """

    name: str
    epochs: int
    steps: int
    runtime: Runtime
    describe: Callable[[dict[str, Any]], str] = nothing
    limit: float | None = None
    seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._epoch, self._at = 0, 0  # of the next step
        self._sums: Metrics = {}  # of this epoch's metrics
        self._scaler = Scaler(self.runtime.device, enabled=self.runtime.precision == "fp16")
        self._start = self._saved_at = time.monotonic()
        self._before, self._begun = 0.0, 0  # seconds and steps of earlier processes

    def __call__(self, phase: Phase) -> None:
        """Run to the end, from the checkpoint if there is one.

        Raises Interrupted after a checkpoint when a stop was asked for, and EdartsError if a step
        finds a loss that is NaN or infinite: the last checkpoint stays.
        """
        runtime = self.runtime
        self._resume(phase)
        if self._epoch >= self.epochs:
            return
        self._start = self._saved_at = time.monotonic()
        self._before, self._begun = self.seconds, self._done()
        with (
            autocast(runtime.device, runtime.precision),
            scaling(self._scaler),
            runtime.progress.phase(),
        ):
            while self._epoch < self.epochs:
                seed_all(self.runtime.seed, self.name, self._epoch, self._at)
                self._count(phase.step(self._epoch, self._at))
                if self._at == self.steps:
                    self._end_epoch(phase)
                self._keep(phase)

    def _resume(self, phase: Phase) -> None:
        """Go to where the run's checkpoint is, if it knows this phase."""
        run = self.runtime.run
        saved = run.states().get(self.name) if run is not None else None
        if run is None:
            return
        if saved is None:
            run.rewind(self.name, 0)  # epochs that no checkpoint has kept
            return
        try:
            self._load(saved)
            phase.restore(saved["state"])
        except (KeyError, ValueError, TypeError, RuntimeError) as error:
            raise EdartsError(
                f"{run.path / 'checkpoint.pt'}: the {self.name} state does not fit this"
                f" run ({type(error).__name__}); delete it to begin again"
            ) from None
        run.rewind(self.name, self._epoch)
        if self._epoch < self.epochs:
            at = f"epoch {self._epoch + 1}, step {self._at + 1}"
            self.runtime.progress.say(f"{self.name}: continues at {at}")

    def _count(self, metrics: Metrics) -> None:
        """A step is done: add up its metrics, those of all processes, and show the progress."""
        for name, value in distributed.average_values(metrics).items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._at += 1
        self._tick()
        self._show()

    def _end_epoch(self, phase: Phase) -> None:
        """The epoch's line, into history and metrics.jsonl; then the next epoch begins."""
        seed_all(self.runtime.seed, self.name, self._epoch, "end")
        line = {"phase": self.name, "epoch": self._epoch, **self._means()}
        line |= phase.end(self._epoch)
        self._tick()
        line["seconds"] = round(self.seconds, 3)
        self.history.append(line)
        if self.runtime.run is not None:
            self.runtime.run.record(**line)
        self._epoch, self._at, self._sums = self._epoch + 1, 0, {}
        left = self.epochs - self._epoch
        self._epoch += left if phase.finished() else self._passed_over(left)

    def _passed_over(self, left: int) -> int:
        """How many of the epochs that are left are not done, as they do not fit into the limit.

        None until no more than the last ones would fit: a machine that is slow now may be faster
        later, and it is the first epochs, of high learning rates, that can be spared.
        """
        if self.limit is None or left == 0:
            return 0
        ends = [0.0, *(line["seconds"] for line in self.history)][-1 - RECENT :]
        pace = min(after - before for before, after in itertools.pairwise(ends))
        room = self.limit - self.seconds
        fit = int(distributed.average_values({"fit": room / max(pace, 1e-9)})["fit"] + 1e-6)
        return 0 if fit >= min(left, SPARED_NOT * self.epochs) else left - max(0, fit)

    def _keep(self, phase: Phase) -> None:
        """A checkpoint if it is time for one, at the end, and before a stop."""
        run, finished = self.runtime.run, self._epoch == self.epochs
        stopping = distributed.agree(self.runtime.stop.requested)
        if run is not None:
            due = time.monotonic() - self._saved_at >= run.checkpoint_seconds
            if due or finished or stopping:
                run.save(self.name, self._state(phase))
                self._saved_at = time.monotonic()
        if stopping and not finished:
            at = f"epoch {self._epoch + 1}, step {self._at + 1}"
            raise Interrupted(f"{self.name}: stopped in {at}")

    def _state(self, phase: Phase) -> dict[str, Any]:
        scale = {"scaler": self._scaler.state_dict()} if self._scaler.enabled else {}
        return {
            "epoch": self._epoch,
            "step": self._at,
            "sums": self._sums,
            "seconds": self.seconds,
            "history": self.history,
            "state": phase.state(),
            **scale,
        }

    def _load(self, saved: Mapping[str, Any]) -> None:
        self._epoch, self._at, self._sums = saved["epoch"], saved["step"], dict(saved["sums"])
        self.seconds, self.history = saved["seconds"], list(saved["history"])
        if "scaler" in saved:  # a run of version 0.1 had a constant scale
            self._scaler.load_state_dict(saved["scaler"])

    def _tick(self) -> None:
        self.seconds = self._before + time.monotonic() - self._start

    def _done(self) -> int:
        return self._epoch * self.steps + self._at

    def _means(self) -> Metrics:
        return {name: total / self._at for name, total in self._sums.items()}

    def _show(self) -> None:
        done = self._done()
        per_step = (self.seconds - self._before) / (done - self._begun)
        eta = clock(per_step * (self.epochs * self.steps - done))
        parts = [f"{self.name} {self._epoch + 1}/{self.epochs}", f"eta {eta}"]
        parts += [f"{name} {value:.3f}" for name, value in self._means().items()]
        parts += [self.describe(self.history[-1])] if self.history else []
        self.runtime.progress.update("  ".join(parts))


def seconds_of_step(phase: Phase, runtime: Runtime, steps: int = 2) -> float:
    """The least seconds of one of `steps` steps of a phase that is thrown away, after a first."""
    scaler = Scaler(runtime.device, enabled=runtime.precision == "fp16")
    taken = []
    seed_all(runtime.seed, "seconds of a step")
    with autocast(runtime.device, runtime.precision), scaling(scaler):
        for _ in range(1 + steps):
            start = time.perf_counter()
            phase.step(0, 0)
            taken.append(time.perf_counter() - start)
    return distributed.average_values({"least": min(taken[1:])})["least"]


def timed(config: Config, device: torch.device) -> Config:
    """The resolved config with a batch of at most `TIMED` images where a step takes as much longer
    as it has more of them, which is on a CPU: an epoch is as long, and a step is sooner timed.
    """
    few = min(config.batch_size, TIMED) if device.type == "cpu" else config.batch_size
    return replace(config, batch_size=few)


def states(**parts: Any) -> dict[str, Any]:
    """name -> state_dict of each part (a module, optimizer or method)."""
    return {name: part.state_dict() for name, part in parts.items()}


def load_states(state: Mapping[str, Any], **parts: Any) -> None:
    """The inverse of `states`: give each part its entry of `state`."""
    for name, part in parts.items():
        part.load_state_dict(state[name])
