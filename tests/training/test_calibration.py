"""Calibration: the temperature by another optimizer, coverage and false alarms as promised."""

import math

import pytest
import torch

from edarts.training.calibration import (
    FEWEST,
    NEIGHBOURS,
    Responses,
    answers,
    best_temperature,
    calibrate,
    distances,
)


def drawn(count: int, sharpness: float, seed: int) -> tuple[Responses, torch.Tensor]:
    """Labels drawn by softmax(z) of five classes, and logits `sharpness` times z."""
    torch.manual_seed(seed)
    z = 2 * torch.randn(count, 5)
    labels = torch.distributions.Categorical(logits=z).sample()
    return Responses(sharpness * z, torch.randn(count, 8) + 4), labels


@pytest.mark.parametrize("sharpness", [0.3, 1.0, 4.0])
def test_the_temperature_is_the_one_that_labels_were_drawn_at(sharpness: float) -> None:
    responses, labels = drawn(4000, sharpness, 0)
    found = best_temperature(responses.logits, labels)
    assert found == pytest.approx(sharpness, rel=0.08)
    # Against a grid: nowhere are the labels likelier.
    costs = {
        t: float(torch.nn.functional.cross_entropy(responses.logits.double() / t, labels))
        for t in torch.logspace(-1, 1, 400).tolist()
    }
    least = min(costs, key=lambda t: costs[t])
    assert found == pytest.approx(least, rel=0.02)


def test_sets_hold_the_right_class_and_flags_are_rare_as_promised() -> None:
    covered, flagged, sizes = [], [], []
    for seed in range(30):
        held, labels = drawn(200, 3.0, seed)
        trained, _ = drawn(500, 3.0, 1000 + seed)
        found = calibrate(held, labels, trained)
        assert found is not None
        new, right = drawn(2000, 3.0, 2000 + seed)
        said = answers(new, found)
        assert said.sets is not None and said.unlike is not None
        covered.append(float(said.sets[torch.arange(2000), right].float().mean()))
        flagged.append(float(said.unlike.float().mean()))
        sizes.append(float(said.sets.float().sum(dim=1).mean()))
        torch.testing.assert_close(said.probabilities, (new.logits / found.temperature).softmax(1))
    # Over draws of the images held out the mean is 0.9 and 0.05; its error here is below 0.005.
    assert sum(covered) / 30 == pytest.approx(0.9, abs=0.015)
    assert sum(flagged) / 30 == pytest.approx(0.05, abs=0.015)
    assert 1 < sum(sizes) / 30 < 4


def test_what_is_far_from_all_training_images_is_flagged() -> None:
    held, labels = drawn(200, 1.0, 0)
    trained, _ = drawn(500, 1.0, 1)
    found = calibrate(held, labels, trained)
    strange = Responses(torch.zeros(50, 5), torch.randn(50, 8) - 4)
    said = answers(strange, found)
    assert said.unlike is not None and said.unlike.all()


def test_distances_are_to_the_fifth_nearest() -> None:
    torch.manual_seed(0)
    features, references = torch.randn(20, 6), torch.nn.functional.normalize(torch.randn(40, 6))
    for row, found in zip(features, distances(features, references), strict=True):
        unit = row / row.norm()
        every = sorted(math.dist(unit.tolist(), one) for one in references.tolist())
        assert float(found) == pytest.approx(every[NEIGHBOURS - 1], abs=1e-5)


def test_the_likeliest_class_is_always_in_the_set() -> None:
    held, labels = drawn(200, 1.0, 0)
    sure = Responses(50 * torch.nn.functional.one_hot(labels, 5).float(), held.features)
    found = calibrate(sure, labels, held)
    said = answers(Responses(torch.zeros(3, 5), held.features[:3]), found)
    assert said.sets is not None and said.sets.any(dim=1).all()


def test_few_images_teach_nothing() -> None:
    held, labels = drawn(FEWEST - 1, 1.0, 0)
    assert calibrate(held, labels, held) is None
    plain = answers(held, None)
    assert plain.sets is None and plain.unlike is None
    assert torch.equal(plain.probabilities, plain.raw)
