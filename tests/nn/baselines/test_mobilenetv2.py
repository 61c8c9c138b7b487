"""MobileNetV2: published counts, the block's formula, rounded widths."""

import pytest
import torch
from torch.nn import functional

from edarts import UsageError
from edarts.nn.baselines.mobilenetv2 import InvertedResidual, MobileNetV2
from edarts.nn.operations import count_parameters
from edarts.space.base import Size


def test_published_count() -> None:
    """Section 6.1: 3.4 M parameters with 1,000 classes; the CIFAR form differs in strides alone."""
    network = MobileNetV2(32).build(Size(), (3, 32, 32), 1000)
    assert count_parameters(network) / 1e6 == pytest.approx(3.4, abs=0.15)
    convolutions = [p for p in network.parameters() if p.dim() == 4]
    assert len(convolutions) == 52  # and the linear layer: 53 layers


@pytest.mark.parametrize(
    ("width", "full", "channels"),
    [(32, 24, 24), (16, 16, 8), (16, 24, 16), (16, 160, 80), (1, 320, 16), (24, 32, 24)],
)
def test_channels_are_multiples_of_eight(width: int, full: int, channels: int) -> None:
    assert MobileNetV2(width).channels(full) == channels


def test_few_channels_are_not_fewer_than_nine_tenths() -> None:
    for width in range(1, 80):
        for full in (16, 24, 32, 64, 96, 160, 320):
            channels = MobileNetV2(width).channels(full)
            assert channels % 8 == 0 and channels >= max(8, 0.9 * full * width / 32)


@pytest.mark.parametrize(("channels", "stride"), [(6, 1), (8, 1), (6, 2)])
def test_an_inverted_residual(channels: int, stride: int) -> None:
    torch.manual_seed(0)
    block, x = InvertedResidual(6, channels, stride, 3).eval(), torch.randn(2, 6, 8, 8)
    conv1, norm1, _, conv2, norm2, _, conv3, norm3 = block.layers
    assert conv2.groups == 18
    y = functional.relu6(norm2(conv2(functional.relu6(norm1(conv1(x))))))
    expected = norm3(conv3(y)) + (x if channels == 6 and stride == 1 else 0)
    torch.testing.assert_close(block(x), expected)


def test_refused() -> None:
    with pytest.raises(UsageError, match="width of MobileNetV2 must be a whole number from 1 on"):
        MobileNetV2(0)
