"""Recipes: the published values, settings by flat names, and recipes from elsewhere."""

import dataclasses
import math
import pickle
from dataclasses import dataclass
from typing import Annotated

import pytest
import torch
from torch import Tensor, nn

from edarts import UsageError, registry
from edarts.config import Between, TrainConfig, check_fields
from edarts.runtime import Session
from edarts.space import zoo
from edarts.testing.problems import tiny_data
from edarts.training import device, recipe
from edarts.training import fit as train
from edarts.training.optim import cosine
from edarts.training.recipe import Recipe
from edarts.training.recipes.full import Full

PUBLISHED = {
    "cells": 20,
    "channels": 36,
    "epochs": 600,
    "batch_size": 96,
    "lr": 0.025,
    "momentum": 0.9,
    "weight_decay": 3e-4,
    "clip": 5.0,
    "auxiliary": 0.4,
    "drop_path": 0.2,
    "cutout": 0.5,
}
TINY = {"cells": 2, "channels": 4, "epochs": 2, "batch_size": 16}


class Smooth(Full):
    """A recipe that comes from elsewhere: label smoothing, and rates that rise first."""

    name = "smooth"
    DEFAULTS = Full.DEFAULTS | {"epochs": 10, "lr": 0.2}

    @dataclass(frozen=True)
    class Options:
        """What it alone has."""

        smoothing: Annotated[float, Between(0, 1)] = 0.1
        """Share of the label that is spread over all classes (0..1)."""
        rise: int = 2
        """Epochs in which the learning rate rises."""

        def __post_init__(self) -> None:
            check_fields(self)

    def lr(self, config: TrainConfig, epoch: int, step: int, steps: int) -> float:
        return min(1.0, (epoch * steps + step + 1) / (config.options.rise * steps)) * 0.1

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return nn.functional.cross_entropy(logits, labels, label_smoothing=0.1)


def test_published_recipe() -> None:
    full = train.resolve_config(TrainConfig(recipe="full"), 50_000)
    assert {name: getattr(full, name) for name in PUBLISHED} == PUBLISHED
    assert set(Full.DEFAULTS) == set(PUBLISHED)
    shallow = train.resolve_config(TrainConfig(), 50_000)
    assert (shallow.cells, shallow.channels, shallow.auxiliary) == (5, 16, 0.0)
    assert (shallow.batch_size, shallow.lr, shallow.cutout, shallow.epochs) == (128, 0.1, 0.0, 20)
    assert [train.resolve_config(TrainConfig(), n).epochs for n in (100, 40_000)] == [30, 25]


def test_learning_rate_is_darts_formula() -> None:
    for e in range(50):
        expected = 0.001 + 0.5 * (0.025 - 0.001) * (1 + math.cos(math.pi * e / 50))
        assert cosine(e, 50, 0.025, 0.001) == pytest.approx(expected)
    config = train.resolve_config(TrainConfig("full"), 50_000)
    rates = [Full().lr(config, e, step, 9) for e in range(600) for step in (0, 8)]
    for at, rate in enumerate(rates):
        assert rate == pytest.approx(0.0125 * (1 + math.cos(math.pi * (at // 2) / 600)))


def test_whole_networks_have_no_cells_to_set() -> None:
    config = train.resolve_config(TrainConfig("full"), 100, whole=True)
    assert (config.cells, config.channels, config.auxiliary, config.drop_path) == (None, None, 0, 0)
    assert config.cutout == 0.5
    with pytest.raises(UsageError, match="channels is for networks of cells"):
        train.resolve_config(TrainConfig(channels=4), 100, whole=True)


def test_a_recipe_that_leaves_something_open_is_refused() -> None:
    class Sparse(Recipe):
        DEFAULTS = {"lr": 0.1}  # noqa: RUF012

    with pytest.raises(UsageError, match="recipe Sparse sets no cells"):
        train.resolve_config(TrainConfig.of(Sparse), 100)


def test_unknown_recipes_are_named() -> None:
    with pytest.raises(registry.UnknownPlugin, match="unknown recipe 'shalow'; did you mean shal"):
        TrainConfig("shalow")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"cells": 0}, "cells must be at least 1, got 0"),
        ({"lr": 0.0}, "lr must be at least 1e-12, got 0.0"),
        ({"lr": math.nan}, "lr must be at least 1e-12, got nan"),
        ({"auxiliary": -1}, "auxiliary must be at least 0, got -1"),
        ({"momentum": 1.1}, "momentum must be between 0 and 1, got 1.1"),
        ({"drop_path": 1.0}, "drop_path must be between 0 and 0.99, got 1.0"),
        ({"valid_fraction": 0.95}, "valid_fraction must be between 0 and 0.9, got 0.95"),
    ],
)
def test_bounds(settings: dict[str, float], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        TrainConfig(**settings)  # type: ignore[arg-type]
    assert str(caught.value) == words


def test_every_kind_of_bound() -> None:
    @dataclass(frozen=True)
    class Some:
        most: Annotated[int, Between(None, 3)] = 0
        inside: Annotated[float, Between(0, 1)] | None = None
        free: int = -9

    check_fields(Some())
    check_fields(Some(3, 1.0))
    for wrong, words in ((Some(4), "most must be at most 3"), (Some(0, 2), "inside must be betwe")):
        with pytest.raises(UsageError, match=words):
            check_fields(wrong)


def test_flat_names() -> None:
    config = TrainConfig.of(Smooth, smoothing=0.3, cells=3)
    assert (config.recipe, config.cells, config.lr) == ("smooth", 3, None)
    assert config.options == Smooth.Options(smoothing=0.3)
    assert TrainConfig.of("smooth", cells=3).options is None
    assert TrainConfig.of() == TrainConfig("shallow")
    with pytest.raises(UsageError, match="smoothing must be between 0 and 1, got 2"):
        TrainConfig.of("smooth", smoothing=2)
    words = r"recipe full has no smoothing \(recipes that do: smooth\)"
    with pytest.raises(UsageError, match=words):
        TrainConfig.of("full", smoothing=0.3)
    with pytest.raises(UsageError, match="'smothing'; did you mean smoothing"):
        TrainConfig.of("smooth", smothing=0.3)
    with pytest.raises(UsageError, match="'chanels'; did you mean channels"):
        TrainConfig.of(chanels=3)


def test_settings_are_flat_and_read_back() -> None:
    config = train.resolve_config(TrainConfig.of(Smooth, smoothing=0.3, rise=1), 100)
    settings = config.to_settings()
    assert settings["recipe"] == "smooth" and settings["lr"] == 0.2
    assert (settings["smoothing"], settings["rise"]) == (0.3, 1)
    assert TrainConfig.from_settings({"data": "digits", "seed": 0, **settings}) == config
    assert pickle.loads(pickle.dumps(config)) == config  # as Ray's workers get it
    for name in ("shallow", "full"):
        config = train.resolve_config(TrainConfig(name), 100)
        assert set(config.to_settings()) == {"recipe", "valid_fraction", *PUBLISHED}
        again = TrainConfig.from_settings(config.to_settings())
        assert train.resolve_config(again, 100) == config


def test_settings_of_version_0_1() -> None:
    assert TrainConfig.from_settings({"size": "full", "cells": 3, "method": "darts"}) == (
        TrainConfig("full", cells=3)
    )
    assert TrainConfig.from_settings({"cells": 3}) == TrainConfig(cells=3)


def test_a_recipe_from_python_trains() -> None:
    data = tiny_data()
    config = train.resolve_config(TrainConfig.of(Smooth, **TINY), len(data))
    assert config.options == Smooth.Options()
    assert isinstance(recipe.load("smooth"), Smooth)
    network = train.build(zoo.get("darts.v2").architecture, config, data, 0)
    result = train.fit(network, data, config, device.runtime(Session(device="cpu")))
    assert len(result.history) == 2 and math.isfinite(result.history[-1]["loss"])
    assert registry.used()["recipes smooth"]


def test_an_object_is_a_recipe_too() -> None:
    made = Smooth()
    assert TrainConfig.of(made).recipe == "smooth"
    assert recipe.load("smooth") is made
    with pytest.raises(UsageError, match="another recipe is called smooth"):
        TrainConfig.of(dataclasses.make_dataclass("Other", [("name", str, "smooth")])())


def test_built_in_recipes() -> None:
    assert registry.names("recipes") == ["full", "shallow"]
    network = nn.Linear(2, 2)
    for name in registry.names("recipes"):
        config = train.resolve_config(TrainConfig(name), 100)
        optimizer = recipe.load(name).optimizer(network, config)
        assert isinstance(optimizer, torch.optim.SGD)
        group = optimizer.param_groups[0]
        assert (group["lr"], group["momentum"], group["weight_decay"]) == (config.lr, 0.9, 3e-4)
