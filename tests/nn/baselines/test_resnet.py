"""ResNet for CIFAR: published counts, the block's formula, shortcuts without parameters."""

import pytest
import torch
from torch.nn import functional

from edarts import UsageError
from edarts.nn.baselines.resnet import Block, ResNet
from edarts.nn.operations import count_flops, count_parameters
from edarts.space.base import Size


def test_published_counts() -> None:
    """Table 6 of the paper: 0.27 M, 0.46 M, 0.66 M, 0.85 M and 1.7 M parameters."""
    for depth, millions in ((20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.7)):
        network = ResNet(depth).build(Size(), (3, 32, 32), 10)
        assert count_parameters(network) / 1e6 == pytest.approx(millions, abs=0.03)
        convolutions = [p for p in network.parameters() if p.dim() == 4]
        assert len(convolutions) == depth - 1  # and the linear layer
    assert count_parameters(ResNet(20).build(Size(), (3, 32, 32), 10)) == 269_722


def test_multiply_adds_by_hand() -> None:
    first = 9 * 3 * 16 * 32 * 32
    stages = [
        9 * width * (before + width) * side**2
        for before, width, side in ((16, 16, 32), (16, 32, 16), (32, 64, 8))
    ]
    network = ResNet(8).build(Size(), (3, 32, 32), 10)
    assert count_flops(network, (3, 32, 32)) == first + sum(stages) + 64 * 10


@pytest.mark.parametrize(("channels", "stride"), [(6, 1), (12, 2)])
def test_a_block_adds_to_its_input(channels: int, stride: int) -> None:
    torch.manual_seed(0)
    block, x = Block(6, channels, stride).eval(), torch.randn(2, 6, 8, 8)
    conv1, norm1, _, conv2, norm2 = block.layers
    shortcut = torch.zeros(2, channels, 8 // stride, 8 // stride)
    shortcut[:, :6] = x[:, :, ::stride, ::stride]
    expected = functional.relu(shortcut + norm2(conv2(functional.relu(norm1(conv1(x))))))
    torch.testing.assert_close(block(x), expected)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"depth": 9, "width": 16}, "depth of ResNet must be 8, 14, 20, ..., got 9"),
        ({"depth": 2, "width": 16}, "got 2"),
        ({"depth": 8, "width": 0}, "width of ResNet must be a whole number from 1 on, got 0"),
        ({"depth": 8.0, "width": 16}, "depth of ResNet must be a whole number"),
        ({"depth": 8}, "width"),
    ],
)
def test_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ResNet.from_dict(fields)
