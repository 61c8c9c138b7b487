"""ConvNet: published counts, a first layer that whitens, convolutions that begin as identities."""

import pytest
import torch
from torch.nn import functional

from edarts import UsageError
from edarts.nn.baselines.convnet import SMALLEST, ConvNet
from edarts.nn.operations import count_parameters
from edarts.space.base import Image, Size


def test_published_count() -> None:
    """1.97 M parameters (Jordan 2024, section 3); scales of norms and whitening are not learned."""
    network = ConvNet(64).build(Size(), (3, 32, 32), 10)
    assert count_parameters(network) / 1e6 == pytest.approx(1.97, abs=0.005)
    fixed = {n for n, p in network.named_parameters() if not p.requires_grad}
    assert len(fixed) == 1 + 6 and "whiten.weight" in fixed


@pytest.mark.parametrize("image", [(3, 32, 32), (1, 8, 8), (4, 70, 64)])
def test_the_first_layer_whitens(image: Image) -> None:
    """What its first filters make of the patches has the covariance of identity."""
    torch.manual_seed(0)
    images = torch.randn(300, *image).cumsum(2) / 10  # neighbours are alike
    network = ConvNet(4).build(Size(), image, 3)
    network.prepare(images)
    with torch.no_grad():
        network.whiten.bias.zero_()
        shrunk = functional.avg_pool2d(images, network.shrink)
        maps = network.whiten(shrunk)
    half = maps.shape[1] // 2
    assert half == 4 * image[0]
    torch.testing.assert_close(maps[:, half:], -maps[:, :half])
    flat = maps[:, :half].transpose(0, 1).flatten(1).double()
    covariance = flat @ flat.T / flat.shape[1]
    patches = functional.unfold(shrunk, 2).transpose(1, 2).flatten(0, 1).double()
    values = torch.linalg.eigvalsh(patches.T @ patches / len(patches)).flip(0)
    expected = torch.diag(values / (values + SMALLEST))
    torch.testing.assert_close(covariance, expected, rtol=1e-3, atol=1e-3)


def test_convolutions_begin_as_identities() -> None:
    network = ConvNet(32).build(Size(), (3, 32, 32), 10)
    for before, after in ((24, 32), (32, 128), (128, 128)):
        conv = next(
            m
            for m in network.modules()
            if getattr(m, "in_channels", 0) == before and getattr(m, "out_channels", 0) == after
        )
        x = torch.randn(1, before, 6, 6)
        torch.testing.assert_close(conv(x)[:, :before], x)


@pytest.mark.parametrize("image", [(3, 1, 1), (1, 2, 9), (3, 3, 3), (3, 31, 33), (3, 130, 67)])
def test_any_image(image: Image) -> None:
    network = ConvNet(2).build(Size(), image, 4)
    network.prepare(torch.randn(9, *image))
    logits = network(torch.randn(5, *image))
    assert logits.shape == (5, 4) and logits.isfinite().all()


def test_refused() -> None:
    with pytest.raises(UsageError, match="width of ConvNet must be a whole number from 1 on"):
        ConvNet.from_dict({"format": "baselines.convnet/1"})
