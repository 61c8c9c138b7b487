"""DenseNet-BC: widths, the layer's formula, refusals."""

import pytest
import torch

from edarts import Size, UsageError
from edarts.nn.baselines.densenet_bc import DenseLayer, DenseNetBC


def test_widths() -> None:
    assert DenseNetBC(190, 40).widths == [(80, 1320), (660, 1900), (950, 2190)]
    assert DenseNetBC(190, 40).layers == 31


def test_a_layer_appends() -> None:
    torch.manual_seed(0)
    layer, x = DenseLayer(6, 2).eval(), torch.randn(2, 6, 5, 5)
    norm1, _, conv1, norm2, _, conv2 = layer.layers
    y = layer(x)
    assert torch.equal(y[:, :6], x)
    expected = conv2(torch.relu(norm2(conv1(torch.relu(norm1(x))))))
    torch.testing.assert_close(y[:, 6:], expected)
    assert conv1.out_channels == 8


@pytest.mark.parametrize("image", [(1, 8, 8), (3, 9, 13), (3, 100, 64)])
def test_any_image(image: tuple[int, int, int]) -> None:
    network = DenseNetBC(10, 3).build(Size(), image, 4)
    assert network(torch.randn(2, *image)).shape == (2, 4)


def test_initial_weights() -> None:
    """N(0, 2 / (k^2 out)): He et al. 2015, as in DenseNet's code."""
    torch.manual_seed(0)
    conv = DenseNetBC(10, 64).build(Size(), (3, 8, 8), 4).features[1].layers[5]
    assert conv.weight.std().item() == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.02)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"depth": 191, "growth": 40}, "depth of DenseNet-BC must be 10, 16, 22, ..., got 191"),
        ({"depth": 4, "growth": 40}, "got 4"),
        ({"depth": 190, "growth": 0}, "growth of DenseNet-BC must be at least 1"),
        ({"depth": 190.0, "growth": 12}, "no whole number"),
        ({"depth": 190}, "growth"),
    ],
)
def test_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        DenseNetBC.from_dict(fields)
