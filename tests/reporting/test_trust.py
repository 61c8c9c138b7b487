"""Measures of trust: against formulas written out by hand, and on answers that are known."""

import json
from dataclasses import replace

import numpy as np
import pytest

from edarts.reporting import trust as trust_module
from edarts.reporting.stats import conformal_quantile, wilson
from edarts.reporting.trust import Trust, learned, trust


def certain(said: list[int], classes: int, confidence: float = 1.0) -> np.ndarray:  # type: ignore[type-arg]
    """Probabilities of answers that are given with the same confidence."""
    p = np.full((len(said), classes), (1 - confidence) / (classes - 1))
    p[range(len(said)), said] = confidence
    return p


def test_a_model_that_always_says_healthy() -> None:
    """95 % right, and worth nothing: balanced accuracy says so."""
    labels = np.array([0] * 190 + [1] * 10)
    found = trust(certain([0] * 200, 2), labels, ("healthy", "ill"))
    assert found.unbalanced
    assert found.balanced_accuracy.value == 0.5
    assert (found.balanced_accuracy.low, found.balanced_accuracy.high) == (0.5, 0.5)
    assert (found.majority.value, found.majority_class) == (0.95, "healthy")
    assert (found.majority.low, found.majority.high) == wilson(190, 200)
    assert found.confusion == ((190, 0), (10, 0))
    healthy, ill = found.classes
    assert healthy.recall is not None and healthy.recall.value == 1
    assert healthy.precision is not None and healthy.precision.value == 0.95
    assert (healthy.precision.low, healthy.precision.high) == wilson(190, 200)
    assert ill.precision is None and ill.f1 is not None and ill.f1.value == 0
    assert ill.recall is not None and (ill.recall.value, ill.recall.n) == (0.0, 10)


def random_answers(n: int = 300, k: int = 4) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    rng = np.random.default_rng(1)
    labels = rng.integers(0, k, n)
    logits = rng.normal(size=(n, k)) + 1.5 * np.eye(k)[labels]
    p = np.exp(logits)
    return p / p.sum(axis=1, keepdims=True), labels


def test_formulas_by_hand() -> None:
    p, y = random_answers()
    found = trust(p, y, tuple("abcd"))
    said = p.argmax(1)
    for k, one in enumerate(found.classes):
        right = int(((said == k) & (y == k)).sum())
        precision, recall = right / (said == k).sum(), right / (y == k).sum()
        assert one.precision is not None and one.precision.value == pytest.approx(precision)
        assert one.recall is not None and one.recall.value == pytest.approx(recall)
        assert one.f1 is not None and one.f1.low is not None and one.f1.high is not None
        assert one.f1.value == pytest.approx(2 * precision * recall / (precision + recall))
        assert one.f1.low < one.f1.value < one.f1.high
    recalls = [(said[y == k] == k).mean() for k in range(4)]
    assert found.balanced_accuracy.value == pytest.approx(np.mean(recalls))
    brier = sum(sum((p[i, k] - (y[i] == k)) ** 2 for k in range(4)) for i in range(300)) / 300
    assert found.brier.value == pytest.approx(brier)
    error = 0.0
    for bin_ in range(15):
        inside = (p.max(1) >= bin_ / 15) & (p.max(1) < (bin_ + 1) / 15)
        if inside.any():
            gap = p.max(1)[inside].mean() - (said == y)[inside].mean()
            error += inside.mean() * abs(gap)
    assert found.calibration_error.value == pytest.approx(error)
    assert found.top5 is None


@pytest.mark.parametrize("name", ["balanced_accuracy", "calibration_error", "brier"])
def test_intervals_are_those_of_resampled_images(name: str) -> None:
    """About as wide as the spread of the measure over fresh samples of the same kind."""
    p, y = random_answers()
    found = getattr(trust(p, y, tuple("abcd")), name)
    rng = np.random.default_rng(2)
    again = []
    for _ in range(60):
        rows = rng.integers(0, 300, 300)
        again.append(getattr(trust(p[rows], y[rows], tuple("abcd")), name).value)
    spread = 2 * 1.96 * np.std(again)
    assert found.low < found.high
    assert found.high - found.low == pytest.approx(spread, rel=0.35)


@pytest.mark.parametrize(("confidence", "error"), [(0.8, 0.05), (0.75, 0.0), (1.0, 0.25)])
def test_calibration_of_a_known_confidence(confidence: float, error: float) -> None:
    """Three of four answers are right, all given with the same confidence."""
    labels = np.zeros(400, dtype=int)
    p = certain([0, 0, 0, 1] * 100, 3, confidence)
    found = trust(p, labels, tuple("abc"))
    assert found.calibration_error.value == pytest.approx(error)


def test_top_five_from_ten_classes_on() -> None:
    p = np.tile(np.arange(10, 0, -1) / 55, (10, 1))
    found = trust(p, np.arange(10), tuple("abcdefghij"))
    assert found.top5 is not None and found.top5.value == 0.5
    assert (found.top5.low, found.top5.high) == wilson(5, 10)


def test_a_class_without_images() -> None:
    found = trust(certain([0, 1, 2], 3), np.array([0, 1, 0]), tuple("abc"))
    assert found.classes[2].recall is None and found.classes[2].images == 0
    assert found.balanced_accuracy.value == 0.75
    assert isinstance(found, Trust) and found.to_dict()["confusion"][0] == (1, 0, 1)
    with pytest.raises(ValueError, match="no images"):
        trust(np.zeros((0, 3)), np.zeros(0), tuple("abc"))


def test_what_was_learned_by_hand() -> None:
    p, y = random_answers()
    sets = p > 0.2
    unlike = np.arange(300) < 12
    found = learned(50, 0.5, p, sets, unlike, y)
    covered = sum(bool(sets[i, y[i]]) for i in range(300))
    assert found.coverage.value == covered / 300
    assert (found.coverage.low, found.coverage.high) == wilson(covered, 300)
    assert found.set_size == pytest.approx(sum(int(row.sum()) for row in sets) / 300)
    assert found.unlike.value == 12 / 300
    assert found.before == trust(p, y, tuple("abcd")).calibration_error
    assert (found.images, found.temperature) == (50, 0.5)
    whole = replace(trust(p, y, tuple("abcd")), learned=found)
    assert Trust.from_dict(json.loads(json.dumps(whole.to_dict()))) == whole


def test_the_reliability_diagram_holds_every_answer_once() -> None:
    p, y = random_answers()
    bins = trust(p, y, tuple("abcd")).bins
    assert sum(one.accuracy.n for one in bins) == 300
    assert [one.confidence for one in bins] == sorted(one.confidence for one in bins)
    gaps = sum(one.accuracy.n * abs(one.confidence - one.accuracy.value) for one in bins) / 300
    assert gaps == pytest.approx(trust(p, y, tuple("abcd")).calibration_error.value)


def test_the_conformal_quantile() -> None:
    values = [float(n) for n in range(1, 20)]  # 19 values
    assert conformal_quantile(values, 0.9) == 18.0  # the 18th: ceil(20 * 0.9)
    assert conformal_quantile(values, 0.95) == 19.0
    assert conformal_quantile(values, 0.96) == float("inf")


def test_intervals_of_f1_hold_what_other_images_give() -> None:
    """Of 60 draws of 300 images the 95 % intervals hold the F1 of 100,000 images, about."""
    rng = np.random.default_rng(0)

    def draw(n: int) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
        labels = rng.integers(0, 3, n)
        logits = rng.normal(size=(n, 3)) + np.eye(3)[labels]
        return np.exp(logits) / np.exp(logits).sum(1, keepdims=True), labels

    p, y = draw(100_000)
    said = p.argmax(1)
    right = ((said == 0) & (y == 0)).sum()
    truth = 2 * right / ((said == 0).sum() + (y == 0).sum())
    held = 0
    for _ in range(60):
        f1 = trust(*draw(300), tuple("abc")).classes[0].f1
        assert f1 is not None and f1.low is not None and f1.high is not None
        held += f1.low <= truth <= f1.high
    assert held >= 52  # of 60; below it with a probability of 1 %


def test_many_classes_take_little_memory() -> None:
    """Blocks of classes give what all at once do."""
    y = np.arange(400) % 40
    said = (y + (np.arange(400) % 7 == 0)) % 40
    whole = trust_module._f1_scores(y, said, 40)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trust_module, "CHUNK", 4000)
        assert trust_module._f1_scores(y, said, 40) == whole
