"""How a candidate is trained and judged: on training images, a part of which is held out."""

import math
import shutil
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch

from edarts.config import TrainConfig
from edarts.data.dataset import Dataset
from edarts.data.splits import stratified_split
from edarts.errors import NotFinite
from edarts.race.candidates import Candidate
from edarts.race.halving import Pace, Trial
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
        """By a few small steps, in the faster of fp32 and bf16 if the precision is left open."""
        data, _ = self.split()
        config = candidate.training(self.config)
        config = replace(config, batch_size=min(config.batch_size, TIMED_BATCH))
        given = self.runtime.precision
        found = []
        for precision in ("fp32", "bf16") if given == "auto" else (given,):
            runtime = replace(self.runtime, precision=precision, run=None, compile=False)
            network = fit.build(candidate.architecture, config, data, runtime.seed)
            phase = fit.Training(network, data, config, runtime)
            found.append(Pace(seconds_of_step(phase, runtime) * phase.loader.steps, precision))
        return min(found, key=lambda pace: pace.seconds)

    def train(self, candidate: Candidate, pace: Pace, round: int, plan: tuple[int, float]) -> Trial:
        """From scratch, in a folder of its own below race/, which goes when it is done."""
        epochs, share = plan
        data, held = self.split()
        if share < 1:
            _, part = stratified_split(data.labels.numpy(), share, self.runtime.seed, "race")
            share, data = len(part) / len(data), data.subset(torch.from_numpy(part))
        config = candidate.training(self._short(epochs, len(data)))
        config = replace(config, epochs=epochs, valid_fraction=0.0)
        run = self._run(f"{round}-{candidate.name}")
        runtime = replace(self.runtime, precision=pace.precision, run=run)
        network = fit.build(candidate.architecture, config, data, runtime.seed)
        limit = SLACK * epochs * share * pace.seconds if self.limited else None
        name = f"race {round}: {candidate.name}"
        try:
            fitted = fit.fit(network, data, config, runtime, limit, name)
        except NotFinite as error:  # whoever cannot be trained is no reason to end the race
            self.runtime.progress.warn(f"{candidate.name} is out of the race: {error}")
            return Trial(candidate.name, round, epochs, share, 0.0, 0.0, (0,) * len(held))
        judged = evaluation.evaluate(fitted.network, held, fitted.transform, runtime)
        right = (judged.probabilities.argmax(dim=1) == held.labels).tolist()
        seconds, answer, *answers = distributed.of_main(
            [fitted.seconds, judged.seconds / judged.total, *right]
        )
        if run is not None and is_main():
            shutil.rmtree(run.path, ignore_errors=True)
        return Trial(
            candidate.name,
            round,
            len(fitted.history),
            share,
            seconds,
            answer,
            tuple(map(int, answers)),
        )

    def _short(self, epochs: int, images: int) -> TrainConfig:
        """For so few images in all that they would be few steps: smaller batches, unless given."""
        shown, batch = epochs * images, self.config.batch_size
        if self.given.batch_size is not None or shown / batch >= STEPS:
            return self.config
        batch = max(SMALLEST_BATCH, min(batch, int(2 ** math.floor(math.log2(shown / STEPS)))))
        given = replace(self.given, batch_size=batch, epochs=epochs)
        return fit.resolve_config(given, images, whitens=bool(self.config.whitening))

    def _run(self, name: str) -> Run | None:
        run = self.runtime.run
        if run is None:
            return None
        path = Path(run.path) / "race" / name.replace(":", "-").replace("/", "-")
        if is_main():
            path.mkdir(parents=True, exist_ok=True)
        made = type(run)(path, run.checkpoint_seconds)
        if run.clock is not None:
            made.count(run.clock)
        return made
