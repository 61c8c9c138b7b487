"""How a candidate is trained in a race: what judges, batches of short trainings, failed ones."""

from dataclasses import replace

import pytest
import torch

from edarts.config import Budget, TrainConfig
from edarts.errors import NotFinite
from edarts.race.candidates import Candidate, Field, candidates
from edarts.race.halving import Pace
from edarts.race.trainer import STEPS, OnHeldOut
from edarts.runtime import Runtime
from edarts.testing.problems import tiny_data
from edarts.training import fit

DATA = tiny_data(210)


def trainer(**given: int) -> OnHeldOut:
    config = TrainConfig(**given)  # type: ignore[arg-type]
    return OnHeldOut(
        DATA, config, fit.resolve_config(config, len(DATA)), Runtime(torch.device("cpu")), False
    )


def one(name: str) -> Candidate:
    config = fit.resolve_config(TrainConfig(), len(DATA))
    return candidates([name], None, Field(DATA.shape, 3, Budget(), config))[0][0]


def test_a_part_of_the_training_images_judges() -> None:
    rest, held = trainer().split()
    assert (len(rest), len(held)) == (168, 42)
    assert not {x.numpy().tobytes() for x in rest.images} & {
        x.numpy().tobytes() for x in held.images
    }
    trial = trainer().train(one("linear"), Pace(1.0, "fp32"), 1, (2, 1.0))
    assert len(trial.right) == 42 and (trial.epochs, trial.share) == (2, 1.0)
    assert trial == replace(
        trainer().train(one("linear"), Pace(1.0, "fp32"), 1, (2, 1.0)),
        seconds=trial.seconds,
        evaluation=trial.evaluation,
    )


@pytest.mark.parametrize(
    ("images", "epochs", "batch"),
    [(50_000, 10, 512), (50_000, 1, 256), (8_422, 2, 64), (2_000, 2, 32), (100, 40, 32)],
)
def test_short_trainings_have_smaller_batches(images: int, epochs: int, batch: int) -> None:
    """So that there are about `STEPS` steps; the rate follows the batch."""
    given = TrainConfig()
    held = replace(trainer(), config=fit.resolve_config(given, 50_000))
    config = held._short(epochs, images)
    assert config.batch_size == batch
    assert epochs * images / config.batch_size >= STEPS or batch == 32
    assert config.lr == pytest.approx(batch * 11.5 / 7850)
    assert trainer(batch_size=128)._short(1, 100).batch_size == 128


@pytest.mark.parametrize(("half", "precision"), [(0.7, "bf16"), (0.95, "fp32"), (1.5, "fp32")])
def test_bf16_must_be_faster(monkeypatch: pytest.MonkeyPatch, half: float, precision: str) -> None:
    """What rounds is not taken for the noise of a few steps; what is given is taken."""
    seconds = {"fp32": 1.0, "bf16": half}
    monkeypatch.setattr(
        "edarts.race.trainer.seconds_of_step", lambda phase, runtime: seconds[runtime.precision]
    )
    assert trainer().pace(one("linear")).precision == precision
    given = replace(trainer(), runtime=Runtime(torch.device("cpu"), precision="bf16"))
    assert given.pace(one("linear")).precision == "bf16"


def test_whoever_diverges_is_last(monkeypatch: pytest.MonkeyPatch) -> None:
    def diverge(*arguments: object) -> None:
        raise NotFinite("the loss became NaN")

    monkeypatch.setattr(fit, "fit", diverge)
    trial = trainer().train(one("linear"), Pace(1.0, "fp32"), 1, (2, 1.0))
    assert (trial.seconds, sum(trial.right), len(trial.right)) == (0.0, 0, 42)
