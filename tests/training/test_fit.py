"""Training and evaluating: the interval, drop path's ramp, the loss that is no number."""

import math

import pytest
import torch

from edarts import EdartsError, TrainConfig
from edarts.data.batches import Transform
from edarts.nn.network import Network
from edarts.space import zoo
from edarts.testing import contract as testing
from edarts.training import fit as train
from edarts.training.loop import cosine

TINY = {"cells": 2, "channels": 4, "epochs": 2, "batch_size": 16}


def tiny_network(config: TrainConfig) -> Network:
    data = testing.tiny_data()
    return train.build(
        zoo.get("darts.v2").genotype, train.resolve_config(config, len(data)), data, seed=0
    )


def test_published_recipe() -> None:
    full = train.resolve_config(TrainConfig(size="full"), 50_000)
    expected = (20, 36, 600, 96, 0.025, 0.9, 3e-4, 5.0, 0.4, 0.2, 0.5)
    names = "cells channels epochs batch_size lr momentum weight_decay clip auxiliary drop_path"
    assert tuple(getattr(full, n) for n in [*names.split(), "cutout"]) == expected
    shallow = train.resolve_config(TrainConfig(), 50_000)
    assert (shallow.cells, shallow.channels, shallow.auxiliary) == (5, 16, 0.0)


def test_learning_rate_is_darts_formula() -> None:
    for e in range(50):
        expected = 0.001 + 0.5 * (0.025 - 0.001) * (1 + math.cos(math.pi * e / 50))
        assert cosine(e, 50, 0.025, 0.001) == pytest.approx(expected)


def test_evaluate_is_wilson() -> None:
    data = testing.tiny_data(40, classes=2)
    network = tiny_network(TrainConfig(**TINY))  # type: ignore[arg-type]
    network.classifier.bias.data.fill_(0)
    network.classifier.bias.data[0] = 1e6  # always class 0: half of the images
    result = train.evaluate(network, data, Transform.of(data), device="cpu")
    assert (result.correct, result.total, result.accuracy) == (20, 40, 0.5)
    n, p, z = 40, 0.5, 1.959963984540054
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    assert result.ci95 == pytest.approx((centre - half, centre + half))
    assert result.per_class["0"] == 1.0
    assert result.per_class["1"] == 0.0


def test_fit_learns_with_every_part_of_the_recipe() -> None:
    config = TrainConfig(
        **TINY | {"epochs": 6},  # type: ignore[arg-type]
        auxiliary=0.4,
        drop_path=0.2,
        cutout=0.25,
        valid_fraction=0.25,
    )
    network = tiny_network(config)
    result = train.fit(network, testing.tiny_data(96), config, device="cpu")
    assert result.history[-1]["loss"] < result.history[0]["loss"]
    assert 0 <= result.history[-1]["valid_accuracy"] <= 1
    assert network.cells[0].drop_path == pytest.approx(0.2 * 5 / 6)


def test_a_loss_that_is_no_number_stops(tmp_path: object) -> None:
    config = TrainConfig(**TINY)  # type: ignore[arg-type]
    network = tiny_network(config)
    torch.nn.init.constant_(network.classifier.weight, float("nan"))
    with pytest.raises(EdartsError, match="train, epoch 1, step 1: the loss is not a number"):
        train.fit(network, testing.tiny_data(), config, device="cpu")
