"""ConvNet: published counts, convolutions that begin as identities, images of any size."""

import pytest
import torch

from edarts import UsageError
from edarts.nn.baselines.convnet import ConvNet
from edarts.nn.operations import count_parameters
from edarts.space.base import Image, Size


def test_published_count() -> None:
    """1.97 M parameters (Jordan 2024, section 3); scales of norms and whitening are not learned."""
    network = ConvNet(64).build(Size(), (3, 32, 32), 10)
    assert count_parameters(network) / 1e6 == pytest.approx(1.97, abs=0.005)
    fixed = {n for n, p in network.named_parameters() if not p.requires_grad}
    assert len(fixed) == 1 + 6 and "whiten.weight" in fixed


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
    network.whiten.prepare(torch.randn(9, *image))
    logits = network(torch.randn(5, *image))
    assert logits.shape == (5, 4) and logits.isfinite().all()


def test_refused() -> None:
    with pytest.raises(UsageError, match="width of ConvNet must be a whole number from 1 on"):
        ConvNet.from_dict({"format": "baselines.convnet/1"})


@pytest.mark.parametrize("images", [2, 3])
def test_gradients_of_a_few_small_images_are_finite(images: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(40, 1, 8, 8).cumsum(2)
    network = ConvNet().build(Size(), (1, 8, 8), 10)
    network.whiten.prepare(x)
    network(x[:images]).logsumexp(1).sum().backward()
    norms = [p.grad.norm().item() for p in network.parameters() if p.grad is not None]
    assert len(norms) == 14 and max(norms) < 1e6
