"""Evaluation: the interval, the probabilities, and the features that the last layer reads."""

import math

import pytest
import torch
from torch import nn

from edarts import TrainConfig
from edarts.data.batches import Transform
from edarts.data.dataset import Dataset
from edarts.nn.mirrored import Mirrored
from edarts.nn.network import Network
from edarts.runtime import Runtime, Session
from edarts.space import zoo
from edarts.testing.problems import tiny_data
from edarts.training import device, evaluation
from edarts.training import fit as train


@pytest.fixture
def runtime() -> Runtime:
    return device.runtime(Session(device="cpu"))


def tiny_network() -> Network:
    data = tiny_data()
    config = train.resolve_config(TrainConfig(cells=2, channels=4), len(data))
    return train.build(zoo.get("darts.v2").genotype, config, data, 0)


def test_evaluate_is_wilson(runtime: Runtime) -> None:
    data = tiny_data(40, classes=2)
    network = tiny_network()
    network.classifier.bias.data.fill_(0)
    network.classifier.bias.data[0] = 1e6  # always class 0: half of the images
    result = evaluation.evaluate(network, data, Transform.of(data), runtime)
    assert (result.correct, result.total, result.accuracy) == (20, 40, 0.5)
    n, p, z = 40, 0.5, 1.959963984540054
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    assert result.ci95 == pytest.approx((centre - half, centre + half))
    assert result.per_class["0"] == 1.0
    assert result.per_class["1"] == 0.0


def test_evaluation_keeps_the_probabilities(runtime: Runtime) -> None:
    data = tiny_data(40)
    network = tiny_network()
    result = evaluation.evaluate(network, data, Transform.of(data), runtime.device)
    assert result.probabilities.shape == (40, 3)
    assert torch.allclose(result.probabilities.sum(dim=1), torch.ones(40))
    right = result.probabilities.argmax(dim=1) == data.labels
    assert result.correct == int(right.sum())
    again = evaluation.predict(network, data.images, Transform.of(data), runtime).probabilities
    assert torch.equal(again, result.probabilities)


def test_a_class_without_images_has_no_accuracy(runtime: Runtime) -> None:
    data = tiny_data(40)
    some = data.subset(torch.nonzero(data.labels != 1).flatten())
    network = tiny_network()
    result = evaluation.evaluate(network, some, Transform.of(data), runtime)
    assert result.per_class["1"] is None and result.per_class["0"] is not None


@pytest.mark.parametrize(("side", "most"), [(16, 500), (64, 500), (65, 484), (224, 40)])
def test_of_large_images_fewer_are_answered_at_once(side: int, most: int, runtime: Runtime) -> None:
    seen = list[int]()

    class Counting(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(len(x))
            return x.new_zeros(len(x), 2)

    images = torch.zeros(1, side, side, 1, dtype=torch.uint8).expand(501, -1, -1, -1)
    data = Dataset(images, torch.arange(501) % 2, ("a", "b"))
    for given in (images, data, data.subset(torch.arange(500, -1, -1))):
        seen.clear()
        evaluation.respond(Counting(), given, Transform((0.0,), (1.0,)), runtime)
        assert sum(seen) == 501 and max(seen) == most


def test_features_are_what_the_last_linear_layer_reads(runtime: Runtime) -> None:
    """Of a mirrored network the mean of both images'; the logits where there is no such layer."""
    data, network = tiny_data(7), tiny_network()
    transform = Transform.of(data)
    found = evaluation.respond(network, data.images, transform, runtime)
    weight, bias = network.classifier.weight.detach(), network.classifier.bias.detach()
    torch.testing.assert_close(found.features @ weight.T + bias, found.logits)
    both = evaluation.respond(Mirrored(network), data.images, transform, runtime)
    torch.testing.assert_close(both.features @ weight.T + bias, both.logits)
    assert not torch.allclose(both.features, found.features)
    pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    plain = evaluation.respond(pooled, data.images, transform, runtime)
    assert torch.equal(plain.features, plain.logits)
    assert not any(module._forward_pre_hooks for module in network.modules())


@pytest.mark.parametrize(("side", "most"), [(73, 3 * 73 * 73), (74, 2**14), (224, 2**14)])
def test_of_many_features_means_of_neighbours_are_kept(
    side: int, most: int, runtime: Runtime
) -> None:
    """A linear classifier reads every number of an image, and there may be 10,000 images."""
    images = torch.randint(256, (3, side, side, 3)).byte()
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * side * side, 2))
    found = evaluation.respond(network, images, Transform((0.0,) * 3, (1.0,) * 3), runtime)
    assert found.features.shape == (3, most)
    # Means of neighbours that may overlap, so no more than about the mean stays the same.
    values = images.permute(0, 3, 1, 2).flatten(1).float() / 255
    torch.testing.assert_close(found.features.mean(1), values.mean(1), rtol=0.02, atol=0.0)


def test_a_part_in_training_mode_is_evaluated() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(48, 2), nn.Dropout(0.5)).eval()
    net[2].train()
    images = torch.randint(256, (8, 4, 4, 3), dtype=torch.uint8)
    transform = Transform((0.5,) * 3, (0.5,) * 3)
    device = torch.device("cpu")
    first, second = (evaluation.respond(net, images, transform, device) for _ in range(2))
    assert torch.equal(first.logits, second.logits)
    assert not net[2].training
