"""Where a network looks: against the formula by hand, and on a network that looks at one corner."""

import pytest
import torch
from torch import Tensor, nn

from edarts.nn.activation import activation_map
from edarts.nn.mirrored import Mirrored
from edarts.space import named, zoo
from edarts.space.base import Size


class Pooled(nn.Module):
    """A convolution, the mean of each map, a linear layer: the case of the first such maps."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 4, 3, padding=1)
        self.linear = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.linear(self.convolution(x).relu().mean(dim=(2, 3)))
        return logits


def test_formula_of_a_pooled_network() -> None:
    """With a mean and a linear layer it is CAM (Zhou et al. 2016): weights times maps."""
    torch.manual_seed(0)
    network, x = Pooled(), torch.rand(1, 1, 6, 5)
    maps = network.convolution(x).relu()[0]
    by_hand = torch.einsum("c,chw->hw", network.linear.weight[1], maps).relu().detach()
    assert by_hand.max() > 0
    torch.testing.assert_close(activation_map(network, x, 1), by_hand / by_hand.max())


def test_it_finds_the_place() -> None:
    """A linear classifier that reads one pixel looks at that pixel."""
    network = named.architecture("linear").build(Size(), (1, 8, 8), 2)
    with torch.no_grad():
        network.classifier.weight.zero_()
        network.classifier.weight[1, 8 * 2 + 5] = 3.0
    found = activation_map(network, torch.ones(1, 1, 8, 8), 1)
    assert found[2, 5] == 1 and found.sum() == 1
    assert torch.equal(activation_map(Mirrored(network), torch.ones(1, 1, 8, 8), 1), found)
    assert activation_map(network, torch.ones(1, 1, 8, 8), 0).sum() == 0


@pytest.mark.parametrize("name", ["convnet", "resnet", "mobilenetv2", "darts.v2", "enas.script"])
def test_every_kind_of_network(name: str) -> None:
    """Nothing of the network changes, neither its mode nor its weights nor their gradients."""
    design = zoo.get(name).architecture if "." in name else named.architecture(name)
    size = Size(3, 4) if design.sized else Size()
    torch.manual_seed(1)
    network = Mirrored(design.build(size, (3, 16, 16), 3)).train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    found = activation_map(network, torch.rand(1, 3, 16, 16), 2)
    assert found.shape == (16, 16) and 0 <= found.min() <= found.max() <= 1
    assert network.training and all(p.grad is None for p in network.parameters())
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
