"""Recipes: the published values, settings by flat names, and recipes from elsewhere."""

import dataclasses
import math
import pickle
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
import torch
from torch import Tensor, nn

from edarts import UsageError, load, registry
from edarts.config import Between, TrainConfig, check_fields
from edarts.data.batches import Transform
from edarts.data.dataset import Dataset
from edarts.runtime import Session
from edarts.space import zoo
from edarts.testing.problems import tiny_data
from edarts.training import device, recipe
from edarts.training import fit as train
from edarts.training.optim import cosine
from edarts.training.recipe import Recipe
from edarts.training.recipes.darts import Published
from edarts.training.recipes.fast import Fast
from edarts.training.recipes.shallow import Shallow

PUBLISHED: dict[str, Any] = {
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
    "whitening": False,
}
TINY = {"cells": 2, "channels": 4, "epochs": 2, "batch_size": 16}


class Smooth(Published):
    """A recipe that comes from elsewhere: label smoothing, and rates that rise first."""

    name = "smooth"
    DEFAULTS = Published.DEFAULTS | {"epochs": 10, "lr": 0.2}

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

    def loss(self, logits: Tensor, labels: Tensor, config: TrainConfig) -> Tensor:
        return nn.functional.cross_entropy(logits, labels, label_smoothing=0.1)


def test_published_recipe() -> None:
    full = train.resolve_config(TrainConfig(recipe="darts"), 50_000)
    assert {name: getattr(full, name) for name in PUBLISHED} == PUBLISHED
    assert {*Published.DEFAULTS, "whitening"} == set(PUBLISHED)
    shallow = train.resolve_config(TrainConfig("shallow"), 50_000)
    assert (shallow.cells, shallow.channels, shallow.auxiliary) == (5, 16, 0.0)
    assert (shallow.batch_size, shallow.lr, shallow.cutout, shallow.epochs) == (128, 0.1, 0.0, 20)
    epochs = [train.resolve_config(TrainConfig("shallow"), n).epochs for n in (100, 40_000)]
    assert epochs == [30, 25]


def test_learning_rate_is_darts_formula() -> None:
    for e in range(50):
        expected = 0.001 + 0.5 * (0.025 - 0.001) * (1 + math.cos(math.pi * e / 50))
        assert cosine(e, 50, 0.025, 0.001) == pytest.approx(expected)
    config = train.resolve_config(TrainConfig("darts"), 50_000)
    rates = [Published().lr(config, e, step, 9) for e in range(600) for step in (0, 8)]
    for at, rate in enumerate(rates):
        assert rate == pytest.approx(0.0125 * (1 + math.cos(math.pi * (at // 2) / 600)))


def test_whole_networks_have_no_cells_to_set() -> None:
    config = train.resolve_config(TrainConfig("darts"), 100, whole=True)
    assert (config.cells, config.channels, config.auxiliary, config.drop_path) == (None, None, 0, 0)
    assert config.cutout == 0.5
    with pytest.raises(UsageError, match="channels is for networks of cells"):
        train.resolve_config(TrainConfig(channels=4), 100, whole=True)
    with pytest.raises(UsageError, match="whitening is for networks of cells"):
        train.resolve_config(TrainConfig(whitening=True), 100, whole=True)


def test_cells_with_a_first_layer_of_their_own() -> None:
    """The whitening layer, which the recipe has as default, is left out; asked for, refused."""
    assert train.resolve_config(TrainConfig(), 100).whitening is True
    assert train.resolve_config(TrainConfig(), 100, whitens=False).whitening is False
    with pytest.raises(UsageError, match="have a first layer of their own"):
        train.resolve_config(TrainConfig(whitening=True), 100, whitens=False)


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
        ({"cells": 0}, "cells must be between 1 and 1000, got 0"),
        ({"lr": 0.0}, "lr must be at least 1e-12, got 0.0"),
        ({"lr": math.nan}, "lr must be at least 1e-12, got nan"),
        ({"lr": 1e300}, "lr is too large, got 1e+300"),
        ({"weight_decay": math.inf}, "weight_decay is too large, got inf"),
        ({"epochs": 10**400}, f"epochs is too large, got 1{'0' * 39}"),
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
    assert TrainConfig.of() == TrainConfig("fast")
    with pytest.raises(UsageError, match="smoothing must be between 0 and 1, got 2"):
        TrainConfig.of("smooth", smoothing=2)
    words = r"recipe darts has no smoothing \(recipes that do: fast, smooth\)"
    with pytest.raises(UsageError, match=words):
        TrainConfig.of("darts", smoothing=0.3)
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
    for name in ("shallow", "darts"):
        config = train.resolve_config(TrainConfig(name), 100)
        assert set(config.to_settings()) == {"recipe", "valid_fraction", "drop", *PUBLISHED}
        again = TrainConfig.from_settings(config.to_settings())
        assert train.resolve_config(again, 100) == config


def test_settings_of_version_0_1() -> None:
    assert TrainConfig.from_settings({"size": "full", "cells": 3, "method": "darts"}) == (
        TrainConfig("darts", cells=3)
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
    assert registry.names("recipes") == ["darts", "fast", "shallow"]
    network = nn.Linear(2, 2)
    for name in registry.names("recipes"):
        config = train.resolve_config(TrainConfig(name), 100)
        optimizer = recipe.load(name).optimizer(network, config)
        assert isinstance(optimizer, torch.optim.SGD)
        group = optimizer.param_groups[0]
        fast = name == "fast"
        assert (group["lr"], group["momentum"]) == (config.lr, 0.85 if fast else 0.9)
        assert group["weight_decay"] == (0.0153 / 11.5 if fast else 3e-4)


# -- fast -----------------------------------------------------------------------------------------


def fast(**changes: float | bool | str) -> TrainConfig:
    return train.resolve_config(TrainConfig.of("fast", **changes), 1000)


def test_the_rate_is_in_proportion_to_the_batch() -> None:
    """11.5 for a kilostep of 7,850 images (Jordan 2024): 1.5 for a batch of 1,024."""
    for batch in (16, 1024):
        assert fast(batch_size=batch).lr == pytest.approx(11.5 * batch / 7850)
    assert fast(batch_size=16, lr=0.3).lr == 0.3


@pytest.mark.parametrize(
    ("images", "batch", "epochs"),
    [(100, 32, 40), (1_653, 32, 40), (5_000, 64, 40), (10_527, 128, 19), (50_000, 512, 10)],
)
def test_batch_and_epochs_by_the_number_of_images(images: int, batch: int, epochs: int) -> None:
    config = train.resolve_config(TrainConfig("fast"), images)
    assert (config.batch_size, config.epochs) == (batch, epochs)


def test_images_are_mixed_in_long_trainings() -> None:
    """From one and a half times the usual 40 epochs on, unless somebody says otherwise."""
    for epochs, share in ((40, 0.0), (59, 0.0), (60, 0.2), (100, 0.2)):
        assert Fast().mixes(fast(epochs=epochs)) == share
    assert Fast().mixes(fast(epochs=100, mixup=0.0)) == 0.0
    assert Fast().mixes(fast(mixup=0.4)) == 0.4
    assert Shallow().mixes(train.resolve_config(TrainConfig("shallow", epochs=1000), 1000)) == 0.0


def test_parts_can_be_switched_off() -> None:
    assert Fast().alternates(fast()) and Fast().mirrors(fast())
    assert not Fast().alternates(fast(alternate=False)) and not Fast().mirrors(fast(mirror=False))
    data = load("digits")
    assert Fast().transform(data, fast()).jitter == 0.2
    plain = Fast().transform(data, fast(jitter=0.0, shift=0.125, edge="zeros"))
    assert plain == Transform.of(data)
    for name in ("darts", "shallow"):
        config = train.resolve_config(TrainConfig(name), 100)
        plain = recipe.load(name)
        assert not plain.alternates(config) and not plain.mirrors(config)


@pytest.mark.parametrize(("shape", "auto"), [((16, 40), "mirror"), ((40, 15), "zeros")])
def test_what_lies_beyond_the_edge_of_an_image(shape: tuple[int, int], auto: str) -> None:
    pixels = torch.arange(2 * shape[0] * shape[1]).remainder(251).to(torch.uint8)
    data = Dataset(pixels.view(2, *shape, 1), torch.arange(2), ("a", "b"), "pixels")
    assert Fast().transform(data, fast()).edge == auto
    assert Fast().transform(data, fast()).shift == 1 / 16
    for edge in ("mirror", "zeros"):
        assert Fast().transform(data, fast(edge=edge)).edge == edge


@pytest.mark.parametrize("rise", [0.0, 0.23, 0.5, 1.0])
def test_the_rate_rises_once_and_falls_as_a_cosine(rise: float) -> None:
    config, peak = fast(rise=rise, lr=2.0, epochs=5), round(rise * 35)
    found = [Fast().lr(config, e, step, 7) for e in range(5) for step in range(7)]
    assert found[:peak] == pytest.approx([2 * (0.2 + 0.8 * n / peak) for n in range(peak)])
    falls = 35 - peak
    assert found[peak:] == pytest.approx([1 + math.cos(math.pi * n / falls) for n in range(falls)])


def test_labels_are_smoothed_where_asked_for() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(6, 4), torch.randint(4, (6,))
    plain = -logits.log_softmax(1)[range(6), labels].mean()
    torch.testing.assert_close(Fast().loss(logits, labels, fast()), plain)
    target = torch.full((6, 4), 0.3 / 4)
    target[range(6), labels] += 0.7
    expected = -(target * logits.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(Fast().loss(logits, labels, fast(smoothing=0.3)), expected)


@pytest.mark.parametrize("all_decay", [False, True])
def test_what_decays(all_decay: bool) -> None:
    """One step on a loss whose gradient is zero takes lr * decay of what decays, and no more."""
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 3))
    before = {name: p.detach().clone().fill_(1.0) for name, p in network.named_parameters()}
    network.load_state_dict(before, strict=False)
    network[3].weight.requires_grad_(False)
    config = fast(lr=0.5, weight_decay=0.1, momentum=0.0, nesterov=False, decay_all=all_decay)
    optimizer = Fast().optimizer(network, config)
    sum(0 * p.sum() for p in network.parameters()).backward()  # type: ignore[union-attr]
    optimizer.step()
    for name, p in network.named_parameters():
        decays = p.requires_grad and (all_decay or p.dim() > 1)
        torch.testing.assert_close(p.detach(), before[name] * (0.95 if decays else 1.0))


def test_nesterov() -> None:
    """Sutskever et al. 2013, in PyTorch's form: v = m v + g, the step is g + m v."""
    network = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(network.weight)
    optimizer = Fast().optimizer(network, fast(lr=0.1, momentum=0.5, weight_decay=0.0))
    position, velocity = 0.0, 0.0
    for gradient in (1.0, -2.0, 0.5):
        network.weight.grad = torch.full((1, 1), gradient)
        optimizer.step()
        velocity = 0.5 * velocity + gradient
        position -= 0.1 * (gradient + 0.5 * velocity)
        assert network.weight.item() == pytest.approx(position)


def test_norms_follow_the_batches() -> None:
    """After one step a running mean is 0.4 of the batch's, as it began at 0."""
    network = nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), nn.BatchNorm2d(3))
    Fast().prepare(network, fast())
    images = torch.rand(5, 3, 2, 2)
    network(images)
    torch.testing.assert_close(network[0].running_mean, 0.4 * images.mean((0, 2, 3)))  # type: ignore[arg-type]
    Fast().prepare(network, fast(norm_momentum=1.0))
    network(images)
    torch.testing.assert_close(network[0].running_mean, images.mean((0, 2, 3)))  # type: ignore[arg-type]
