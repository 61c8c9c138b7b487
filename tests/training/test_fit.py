"""Training and evaluating: the interval, drop path's ramp, the loss that becomes NaN."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from edarts import EdartsError, TrainConfig, UsageError
from edarts.data.batches import Transform
from edarts.errors import Interrupted
from edarts.nn.baselines.convnet import ConvNet
from edarts.nn.mirrored import Mirrored
from edarts.nn.network import Network
from edarts.nn.whitening import Whitening
from edarts.runs.folder import Run
from edarts.runs.stop import Stop
from edarts.runtime import Runtime, Session
from edarts.space import zoo
from edarts.testing.problems import tiny_data
from edarts.testing.searches import StopAfter
from edarts.training import device, evaluation
from edarts.training import fit as train
from edarts.training.recipe import Recipe
from edarts.training.recipes.darts import Published

TINY: dict[str, Any] = {"cells": 2, "channels": 4, "epochs": 2, "batch_size": 16}


@pytest.fixture
def runtime() -> Runtime:
    return device.runtime(Session(device="cpu"))


def tiny_network(config: TrainConfig) -> Network:
    data = tiny_data()
    return train.build(
        zoo.get("darts.v2").genotype, train.resolve_config(config, len(data)), data, 0
    )


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", ["darts.v2", "convnet.w64"])
def test_every_precision_learns(name: str, precision: str, runtime: Runtime) -> None:
    data, design = tiny_data(96), zoo.get(name).architecture
    given = TrainConfig(**(TINY if design.sized else {"batch_size": 16}) | {"epochs": 6})
    config = train.resolve_config(given, len(data), whole=not design.sized)
    network = train.build(design, config, data, 0)
    result = train.fit(network, data, config, replace(runtime, precision=precision))
    assert result.history[-1]["loss"] < 0.9 * result.history[0]["loss"]
    assert evaluation.evaluate(result.network, data, result.transform, runtime).accuracy > 0.5


def test_an_image_is_mirrored_in_every_other_epoch(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Jordan 2024, section 3.6; which half is mirrored first is drawn."""
    data = tiny_data(40)
    mirrored: list[torch.Tensor | None] = []
    augment = Transform.augment

    def spy(transform: Transform, images: torch.Tensor, which: Any = None) -> torch.Tensor:
        mirrored.append(which)
        return augment(transform, images, which)

    monkeypatch.setattr(Transform, "augment", spy)
    config = train.resolve_config(TrainConfig(**TINY), len(data))
    training = train.Training(tiny_network(config), data, config, runtime)
    sides = torch.zeros(3, len(data), dtype=torch.bool)
    for epoch in range(3):
        for at in range(training.loader.steps):
            training.step(epoch, at)
            which = mirrored.pop()
            assert which is not None
            sides[epoch, training.loader.places(epoch, at)] = which
    assert torch.equal(sides[1], ~sides[0]) and torch.equal(sides[2], sides[0])
    assert 0.2 < sides[0].float().mean() < 0.8
    plain = train.resolve_config(TrainConfig.of("fast", **TINY, alternate=False), len(data))
    train.Training(tiny_network(plain), data, plain, runtime).step(0, 0)
    assert mirrored == [None]


def test_images_that_may_be_mirrored_are_evaluated_both_ways(runtime: Runtime) -> None:
    for flip, mirror, expected in ((True, True, True), (False, True, False), (True, False, False)):
        data = replace(tiny_data(40), flip=flip)
        config = train.resolve_config(TrainConfig.of("fast", **TINY, mirror=mirror), len(data))
        network = tiny_network(config)
        result = train.fit(network, data, config, runtime)
        assert isinstance(result.network, Mirrored) is expected
        if expected:
            x = result.transform.normalise(data.images[:3])
            with torch.no_grad():
                answer = result.network.eval()(x)
                torch.testing.assert_close(answer, (network(x) + network(x.flip(3))) / 2)


@pytest.mark.parametrize("auxiliary", [0.0, 0.4])
def test_the_loss_of_mixed_images_is_that_of_both_labels(
    auxiliary: float, runtime: Runtime
) -> None:
    """Equation 1 of Zhang et al. (2018) in the form of their code: a share of each loss."""
    given = TrainConfig.of("fast", **TINY | {"auxiliary": auxiliary}, mixup=1.0)
    data = tiny_data(24)
    config = train.resolve_config(given, len(data))
    network = tiny_network(config)
    training = train.Training(network, data, config, runtime)
    images, labels = torch.randn(16, *data.shape), data.labels[:16]
    torch.manual_seed(3)
    loss, logits = training.loss(images, labels)
    torch.manual_seed(3)
    drawn, order = float(torch.distributions.Beta(1.0, 1.0).sample()), torch.randperm(16)
    share = min(drawn, 1 - drawn)
    mixed = (1 - share) * images + share * images[order]
    network.train()
    answers = network(mixed, auxiliary > 0)
    answers = answers if auxiliary else (answers,)
    targets = torch.nn.functional.one_hot(labels, len(data.classes)).float()
    targets = (1 - share) * targets + share * targets[order]
    parts = [-(targets * answer.log_softmax(1)).sum(1).mean() for answer in answers]
    torch.testing.assert_close(logits, answers[0])
    torch.testing.assert_close(loss, parts[0] + sum(auxiliary * part for part in parts[1:]))
    assert 0 < share < 0.5 and not torch.equal(targets.max(1).values, torch.ones(16))


def test_fit_learns_with_every_part_of_the_recipe(runtime: Runtime) -> None:
    config = TrainConfig(
        **TINY | {"epochs": 6},
        auxiliary=0.4,
        drop_path=0.2,
        cutout=0.25,
        valid_fraction=0.25,
    )
    network = tiny_network(config)
    result = train.fit(network, tiny_data(96), config, runtime)
    assert result.history[-1]["loss"] < result.history[0]["loss"]
    assert 0 <= result.history[-1]["valid_accuracy"] <= 1
    assert network.cells[0].drop_path == pytest.approx(0.2 * 5 / 6)


def test_nodes_are_dropped_where_the_recipe_says_so(runtime: Runtime) -> None:
    for drop in ("edges", "nodes"):
        config = train.resolve_config(TrainConfig.of("darts", **TINY, drop=drop), 24)
        network = tiny_network(config)
        train.fit(network, tiny_data(24), config, runtime)
        assert {cell.drop_nodes for cell in network.cells} == {drop == "nodes"}
    config = train.resolve_config(TrainConfig.of("darts", **TINY, drop="nodes"), 24)
    with pytest.raises(UsageError, match="only networks of cells"):
        train.fit(torch.nn.Linear(2, 2), tiny_data(24), config, runtime)


def test_a_loss_that_becomes_nan_stops(runtime: Runtime) -> None:
    config = TrainConfig(**TINY)
    network = tiny_network(config)
    torch.nn.init.constant_(network.classifier.weight, float("nan"))
    with pytest.raises(EdartsError, match="train, epoch 1, step 1: the loss became NaN"):
        train.fit(network, tiny_data(), config, runtime)


class Stepwise(Recipe):
    """A recipe as from elsewhere, which overrides every hook and notes what it is asked."""

    DEFAULTS = Published.DEFAULTS | TINY
    asked: list[Any] = []  # noqa: RUF012

    def optimizer(self, network: torch.nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
        return torch.optim.Adam(network.parameters())

    def lr(self, config: TrainConfig, epoch: int, step: int, steps: int) -> float:
        self.asked.append((epoch, step, steps))
        return 0.0

    def loss(self, logits: torch.Tensor, labels: torch.Tensor, config: TrainConfig) -> torch.Tensor:
        self.asked.append((tuple(logits.shape), config.epochs))
        return super().loss(logits, labels, config)

    def transform(self, data: Any, config: TrainConfig) -> Transform:
        return Transform((0.5,), (0.25,))


def test_a_recipe_decides_every_part(runtime: Runtime) -> None:
    data, config = tiny_data(32), TrainConfig.of(Stepwise)
    network = tiny_network(config)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    training = train.Training(network, data, train.resolve_config(config, len(data)), runtime)
    assert isinstance(training.optimizer, torch.optim.Adam)
    Stepwise.asked.clear()
    result = train.fit(network, data, config, runtime)
    assert result.transform == Transform((0.5,), (0.25,))
    # 2 epochs of 2 steps, each of the logits and of the auxiliary head's
    head = ((16, 3), 2)  # logits, and the config's epochs
    calls = [call for e in range(2) for s in range(2) for call in ((e, s, 2), head, head)]
    assert Stepwise.asked == calls
    after = dict(network.named_parameters())
    assert all(torch.equal(before[name], after[name]) for name in before), "the rate is zero"


def test_a_network_is_prepared_on_training_images_once(
    runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On those that it trains on, normalised, before the first step; resumed, it ends the same."""
    data = replace(tiny_data(40), flip=False)
    seen: list[torch.Tensor] = []
    prepare = Whitening.prepare

    def spy(layer: Whitening, images: torch.Tensor) -> None:
        seen.append(images)
        prepare(layer, images)

    monkeypatch.setattr(Whitening, "prepare", spy)
    config = train.resolve_config(
        TrainConfig("fast", epochs=2, batch_size=8, valid_fraction=0.25), len(data), whole=True
    )

    def fitted(run: Run | None = None, stop: Stop | None = None) -> train.FitResult:
        network = train.build(ConvNet(2), config, data, seed=0)
        changed = replace(runtime, run=run, stop=stop or Stop())
        return train.fit(network, data, config, changed)

    whole = fitted()
    rest, _ = train.hold_out(data, 0.25, runtime.seed)
    expected = whole.transform.normalise(rest.images)
    assert [images.shape for images in seen] == [expected.shape]
    torch.testing.assert_close(seen[0], expected)
    first = whole.network.whiten.weight
    assert torch.equal(first, fitted().network.whiten.weight)
    with pytest.raises(Interrupted):
        fitted(Run(tmp_path), StopAfter(3))
    again = fitted(Run(tmp_path))
    for name, tensor in whole.network.state_dict().items():
        assert torch.equal(tensor, again.network.state_dict()[name]), name
