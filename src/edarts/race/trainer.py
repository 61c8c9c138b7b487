"""How a candidate is trained and judged: on training images, a part of which is held out."""

import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch

from edarts.config import TrainConfig
from edarts.config.reading import check_no_link
from edarts.data.dataset import Dataset
from edarts.data.splits import stratified_split
from edarts.errors import NotFinite
from edarts.nn.kernels import enabled
from edarts.nn.whole import Whole
from edarts.race.candidates import Candidate
from edarts.race.halving import Pace, Trial
from edarts.runs.files import disk_errors
from edarts.runs.folder import Run
from edarts.runs.processes import is_main
from edarts.runtime import Runtime
from edarts.training import distributed, evaluation, fit
from edarts.training.loop import seconds_of_step

HELD_OUT = 0.2  # share of the training images that judge
MOST_HELD_OUT = 5000  # images; more would not tell more, and cost training images
# Fewest steps of a training, if smaller batches can make them: with fewer, what learns fast at
# first, as a linear classifier does, would always win.
STEPS, SMALLEST_BATCH = 150, 32
# How many times as fast bf16 must be, which rounds, to be taken unasked. On an AMD EPYC, which has
# its instructions, steps of networks that gain by it are 1.1 to 1.7 times as fast, of others 0.6 to
# 1.1 times: there it hardly matters which is taken.
WORTH = 1.1
TIMED_BATCH = 64  # images of a step whose time is taken
SLACK = 1.3  # how many times its share of the seconds a training takes at most, under a time limit


@dataclass(frozen=True)
class OnHeldOut:
    """Trains by `config`, which is resolved for networks of cells, on all of `data` but a part.

    `given`: the same as the user gave it. `limited`: whether a training that takes longer than
    planned is cut short.
    """

    data: Dataset
    given: TrainConfig
    config: TrainConfig
    runtime: Runtime
    limited: bool

    @cached_property
    def _split(self) -> tuple[Dataset, Dataset]:
        fraction = min(HELD_OUT, MOST_HELD_OUT / len(self.data))
        rest, held = fit.hold_out(self.data, fraction, self.runtime.seed)
        assert held is not None
        return rest, held

    def split(self) -> tuple[Dataset, Dataset]:
        """(images to train on, images that judge)."""
        return self._split

    def pace(self, candidate: Candidate) -> Pace:
        """By a few small steps; in bf16 if the precision is left open and that is much faster.

        Which it is not for cells where there are compiled loops, for they are for fp32.
        """
        data, _ = self.split()
        config = candidate.training(self.config)
        config = replace(config, batch_size=min(config.batch_size, TIMED_BATCH))
        given, loops = self.runtime.precision, enabled() and self.runtime.device.type == "cpu"
        cells, found = not isinstance(candidate.architecture, Whole), []
        both = ("fp32",) if loops and cells else ("fp32", "bf16")
        for precision in both if given == "auto" else (given,):
            runtime = replace(self.runtime, precision=precision, run=None, compile=False)
            network = fit.build(candidate.architecture, config, data, runtime.seed)
            phase = fit.Training(network, data, config, runtime)
            found.append(Pace(seconds_of_step(phase, runtime) * phase.loader.steps, precision))
        first, last = found[0], found[-1]
        return last if WORTH * last.seconds <= first.seconds else first

    def train(self, candidate: Candidate, pace: Pace, round: int, plan: tuple[int, float]) -> Trial:
        """From scratch; one that cannot be trained is right about nothing."""
        held, phase = self.split()[1], f"race {round}: {candidate.name}"
        with self.folder(f"{round}-{candidate.name}") as run:
            try:
                fitted = self.fitted(candidate, pace, phase, plan, run)
            except NotFinite as error:  # whoever cannot be trained is no reason to end the race
                self.runtime.progress.warn(f"{candidate.name} is out of the race: {error}")
                return Trial(candidate.name, round, *plan, 0.0, 0.0, (0,) * len(held))
            right, judged = self.right(fitted, held)
        seconds, answer, *answers = distributed.of_main([fitted.seconds, judged, *right])
        return Trial(
            candidate.name,
            round,
            len(fitted.history),
            plan[1],
            seconds,
            answer,
            tuple(map(int, answers)),
        )

    def fitted(
        self,
        candidate: Candidate,
        pace: Pace,
        phase: str,
        plan: tuple[int, float],
        run: Run | None,
    ) -> fit.FitResult:
        """Train it from scratch by the plan, with checkpoints in `run`.

        Raises NotFinite for a loss that becomes NaN or infinite.
        """
        epochs, share = plan
        data, _ = self.split()
        if share < 1:
            _, part = stratified_split(data.labels.numpy(), share, self.runtime.seed, "race")
            data = data.subset(torch.from_numpy(part))
        config = candidate.training(self._short(epochs, len(data)))
        config = replace(config, epochs=epochs, valid_fraction=0.0)
        runtime = replace(self.runtime, precision=pace.precision, run=run)
        network = fit.build(candidate.architecture, config, data, runtime.seed)
        limit = SLACK * epochs * share * pace.seconds if self.limited else None
        return fit.fit(network, data, config, runtime, limit, phase)

    def right(self, fitted: fit.FitResult, data: Dataset) -> tuple[list[bool], float]:
        """(whether each image of `data` is answered right, seconds of an answer)."""
        judged = evaluation.evaluate(fitted.network, data, fitted.transform, self.runtime)
        right: list[bool] = (judged.probabilities.argmax(dim=1) == data.labels).tolist()
        return right, judged.seconds / judged.total

    def _short(self, epochs: int, images: int) -> TrainConfig:
        """For so few images in all that they would be few steps: smaller batches, unless given."""
        shown, batch = epochs * images, self.config.batch_size
        if self.given.batch_size is not None or shown / batch >= STEPS:
            return self.config
        batch = max(SMALLEST_BATCH, min(batch, int(2 ** math.floor(math.log2(shown / STEPS)))))
        given = replace(self.given, batch_size=batch, epochs=epochs)
        return fit.resolve_config(given, images, whitens=bool(self.config.whitening))

    @contextmanager
    def folder(self, name: str) -> Iterator[Run | None]:
        """A folder of its own below race/ for a training, which goes when the block is done."""
        run = self.runtime.run
        if run is None:
            yield None
            return
        path = Path(run.path) / "race" / name.replace(":", "-").replace("/", "-")
        for place in (path.parent, path):
            check_no_link(place)
        if is_main():
            with disk_errors(path):
                path.mkdir(parents=True, exist_ok=True)
        made = type(run)(path, run.checkpoint_seconds)
        made.loggers = run.loggers
        if run.clock is not None:
            made.count(run.clock)
        yield made
        if is_main():
            shutil.rmtree(path, ignore_errors=True)
