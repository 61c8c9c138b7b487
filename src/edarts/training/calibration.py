"""How far a network's answers can be trusted, learned from training images that were held out.

Three things: a temperature, by which confidence comes to equal accuracy (Guo et al., ICML 2017); a
threshold, by which the classes that an image may have become a set that holds the right one in nine
of ten images (split conformal prediction: Sadinle, Lei and Wasserman, JASA 2019); and a distance
beyond which an image is unlike the training data (nearest neighbours: Sun et al., ICML 2022).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from edarts.errors import EdartsError
from edarts.reporting.stats import conformal_quantile

FEWEST = 30  # images held out, below which nothing is learned from them
COVERAGE = 0.9  # share of the images whose set of classes is to hold the right one
FALSE_ALARMS = 0.05  # share of images like the training data that are called unlike it
TEMPERATURES = 0.05, 20.0  # bounds
REFERENCES = 2000  # training images, at most, to which an image is compared
NEIGHBOURS = 5  # of so many the farthest tells how far an image is from the training data


@dataclass(frozen=True)
class Responses:
    """What a network says to N images: (N, K) logits, (N, D) features, both float32 on the CPU.

    Features are what its last linear layer reads; the logits where it has none.
    """

    logits: Tensor
    features: Tensor


@dataclass(frozen=True)
class Answers:
    """What a model says to N images.

    `probabilities`: (N, K) float32. `raw`: likewise, at a temperature of 1. `sets`: (N, K) bool,
    which classes an image may have. `unlike`: (N,) bool, which images are unlike the training data.
    Both are None where no images were held out to learn from.
    """

    probabilities: Tensor
    raw: Tensor
    sets: Tensor | None = None
    unlike: Tensor | None = None

    def checked(self) -> "Answers":
        """Itself. Raises EdartsError if it holds what is no number."""
        if not self.probabilities.isfinite().all():
            raise EdartsError(
                "the network's answers are no numbers: a file of the model is damaged, or its"
                " training went astray; restore the run from a copy, or train it again"
            )
        return self


@dataclass(frozen=True)
class Calibration:
    """What `images` held out have taught.

    `temperature`: by which logits are divided. `threshold`: a class belongs to an image's set if
    its probability is at least so much. `farthest`: distance to the `NEIGHBOURS`-th nearest of
    `references` above which an image is unlike the training data. `references`: (n, D) float16,
    features of training images, of length 1.
    """

    images: int
    temperature: float
    threshold: float
    farthest: float
    references: Tensor

    def answers(self, responses: Responses) -> Answers:
        """Probabilities, the sets of classes, which always hold the likeliest, and the flags."""
        raw = responses.logits.softmax(dim=1)
        probabilities = (responses.logits / self.temperature).softmax(dim=1)
        sets = probabilities >= self.threshold
        sets |= torch.nn.functional.one_hot(probabilities.argmax(dim=1), raw.shape[1]).bool()
        far = distances(responses.features, self.references) > self.farthest
        return Answers(probabilities, raw, sets, far)


def answers(responses: Responses, calibration: Calibration | None) -> Answers:
    """By what was learned from images held out, if there were any."""
    if calibration is not None:
        return calibration.answers(responses)
    raw = responses.logits.softmax(dim=1)
    return Answers(raw, raw)


def calibrate(held: Responses, labels: Tensor, trained: Responses) -> Calibration | None:
    """From the responses to images held out, of the (N,) `labels`, and to training images.

    None if they are too few.
    """
    if len(labels) < FEWEST:
        return None
    temperature = best_temperature(held.logits, labels)
    right = (held.logits / temperature).softmax(dim=1)[torch.arange(len(labels)), labels]
    references = _unit(trained.features).half()
    far = distances(held.features, references)
    return Calibration(
        len(labels),
        temperature,
        1 - conformal_quantile((1 - right).tolist(), COVERAGE),
        conformal_quantile(far.tolist(), 1 - FALSE_ALARMS),
        references,
    )


def best_temperature(logits: Tensor, labels: Tensor) -> float:
    """The one at which the labels are likeliest, within `TEMPERATURES`."""
    from scipy.optimize import minimize_scalar

    z = logits.double()

    def cost(log: float) -> float:
        return float(torch.nn.functional.cross_entropy(z / math.exp(log), labels))

    low, high = map(math.log, TEMPERATURES)
    found = minimize_scalar(cost, bounds=(low, high), method="bounded")
    return round(math.exp(float(found.x)), 4)


def distances(features: Tensor, references: Tensor) -> Tensor:
    """(N, D) and (n, D) -> (N,): to the `NEIGHBOURS`-th nearest reference, both of length 1."""
    known = references.float()
    count = min(NEIGHBOURS, len(known))
    found = [
        torch.cdist(chunk, known).kthvalue(count, dim=1).values
        for chunk in _unit(features).split(1000)
    ]
    return torch.cat(found)


def _unit(features: Tensor) -> Tensor:
    return torch.nn.functional.normalize(features.float(), dim=1)
