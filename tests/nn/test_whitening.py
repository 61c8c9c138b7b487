"""The whitening layer: what its filters make of patches, sizes, stems that begin with it."""

import pytest
import torch
from torch.nn import functional

from edarts.nn.network import Network
from edarts.nn.whitening import SMALLEST, Whitening
from edarts.space import zoo
from edarts.space.base import Image


@pytest.mark.parametrize("image", [(3, 32, 32), (1, 8, 8), (4, 70, 64)])
def test_the_first_layer_whitens(image: Image) -> None:
    """What its first filters make of the patches has the covariance of identity."""
    torch.manual_seed(0)
    images = torch.randn(300, *image).cumsum(2) / 10  # neighbours are alike
    layer = Whitening(image)
    layer.prepare(images)
    with torch.no_grad():
        layer.bias.zero_()
        shrunk = functional.avg_pool2d(images, layer.shrink)
        maps = layer(images)
    half = maps.shape[1] // 2
    assert half == 4 * image[0]
    torch.testing.assert_close(maps[:, half:], -maps[:, :half])
    flat = maps[:, :half].transpose(0, 1).flatten(1).double()
    covariance = flat @ flat.T / flat.shape[1]
    patches = functional.unfold(shrunk, 2).transpose(1, 2).flatten(0, 1).double()
    values = torch.linalg.eigvalsh(patches.T @ patches / len(patches)).flip(0)
    expected = torch.diag(values / (values + SMALLEST))
    torch.testing.assert_close(covariance, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("image", [(3, 32, 32), (1, 8, 8), (3, 1, 9), (1, 64, 64), (4, 200, 130)])
def test_sides(image: Image) -> None:
    layer = Whitening(image)
    assert layer(torch.randn(2, *image)).shape == (2, 8 * image[0], *layer.sides)
    assert min(layer.sides) < 64


@pytest.mark.parametrize(
    ("side", "map"), [(8, 7), (25, 24), (26, 13), (32, 16), (64, 16), (96, 16)]
)
def test_a_network_of_cells_begins_with_it(side: int, map: int) -> None:
    """Maps of more than 24 pixels are halved before the cells, which is what makes them quick."""
    genotype = zoo.get("darts.v2").genotype
    network = Network(
        genotype, cells=2, channels=4, classes=3, image=(3, side, side), whitening=True
    )
    assert isinstance(network.stem[0], Whitening)
    x = torch.randn(2, 3, side, side)
    assert network.stem(x).shape == (2, 12, map, map)
    assert network(x).shape == (2, 3)
