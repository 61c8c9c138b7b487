"""Balance: equal draws, logits by hand, and the rare class found more often."""

import pytest
import torch

from edarts.config import TrainConfig
from edarts.data.dataset import Dataset
from edarts.runtime import Session
from edarts.space import named
from edarts.training import balance, device, evaluation, fit

LABELS = torch.tensor([0] * 95 + [1] * 5)


def test_what_is_chosen() -> None:
    assert balance.chosen("auto", LABELS) == "loss"
    assert (
        balance.chosen("auto", torch.tensor([0] * 6 + [1] * 2)) == "none"
    )  # three times, not more
    assert balance.chosen("auto", torch.tensor([0] * 7 + [1] * 2)) == "loss"
    assert balance.chosen("none", LABELS) == "none"
    assert balance.chosen("sampler", LABELS) == "sampler"
    (note,) = balance.note("auto", LABELS, ("well", "ill"))
    assert note.startswith("95 images of 'well' and 5 of 'ill': classes count alike in the loss")
    assert balance.note("loss", LABELS, ("well", "ill")) == []


def test_draws_are_equally_many_of_each_class_and_none_is_left_out() -> None:
    orders = [balance.order(LABELS, 0, "train", epoch) for epoch in range(3)]
    for order in orders:
        assert len(order) == 100
        assert LABELS[order].bincount().tolist() == [50, 50]
        assert order[LABELS[order] == 1].bincount()[95:].tolist() == [10] * 5
        assert len(set(order[LABELS[order] == 0].tolist())) == 50  # none twice while others wait
    assert not torch.equal(orders[0], orders[1])
    assert torch.equal(orders[0], balance.order(LABELS, 0, "train", 0))


def test_weights_by_hand() -> None:
    assert balance.class_weights(LABELS, 3).tolist() == pytest.approx([100 / 190, 10.0, 0.0])


def test_the_gradient_is_that_of_the_weighted_loss() -> None:
    """Against cross entropy with weights, written out; the loss itself stays as it was."""
    data = problem(0)
    config = fit.resolve_config(TrainConfig(balance="loss"), len(data), whole=True)
    network = fit.build(named.architecture("linear"), config, data, 0)
    runtime = device.runtime(Session(device="cpu"))
    training = fit.Training(network, data, config, runtime)
    x, y = torch.randn(6, 1, 8, 8), torch.tensor([0, 1, 0, 0, 1, 0])
    loss, logits = training.loss(x, y)
    (grad,) = torch.autograd.grad(loss, network.classifier.weight)
    each = -network(x).log_softmax(dim=1)[range(6), y]
    torch.testing.assert_close(loss, each.mean())
    weights = torch.tensor([400 / (2 * 360), 400 / (2 * 40)])[y]
    (expected,) = torch.autograd.grad((weights * each).mean(), network.classifier.weight)
    torch.testing.assert_close(grad, expected)
    assert torch.equal(logits, network(x))


def problem(seed: int, images: int = 400, rare: float = 0.1) -> Dataset:
    """Dark and bright images that overlap; the bright ones are rare."""
    generator = torch.Generator().manual_seed(seed)
    labels = (torch.arange(images) < rare * images).long()
    bright = 110 + 25 * labels + 18 * torch.randn(images, generator=generator)
    noise = 12 * torch.randn(images, 8, 8, 1, generator=generator)
    pixels = (bright[:, None, None, None] + noise).clamp(0, 255).to(torch.uint8)
    return Dataset(pixels, labels, ("dark", "bright"), flip=False)


@pytest.mark.parametrize("how", ["loss", "sampler"])
def test_a_rare_class_is_found_more_often(how: str) -> None:
    runtime = device.runtime(Session(device="cpu"))
    test, recalls = problem(99, 2000), {}
    for given in ("none", how):
        config = fit.resolve_config(TrainConfig(balance=given, epochs=8), 400, whole=True)  # type: ignore[arg-type]
        data = problem(0)
        network = fit.build(named.architecture("linear"), config, data, 0)
        fitted = fit.fit(network, data, config, runtime)
        found = evaluation.evaluate(fitted.network, test, fitted.transform, runtime)
        recalls[given] = found.per_class["bright"]
    assert recalls[how] > recalls["none"] + 0.2, recalls  # type: ignore[operator]
