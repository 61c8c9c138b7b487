"""What a trained network says to images, and how often it is right: predict(), evaluate()."""

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from edarts.data.batches import Transform
from edarts.data.dataset import Dataset
from edarts.reporting.stats import wilson
from edarts.runtime import Runtime
from edarts.training.calibration import Answers, Calibration, Responses, answers
from edarts.training.device import place

# Numbers that are kept of what the last layer reads: of more, as a linear classifier reads of large
# images, means of neighbours. All numbers of 10,000 test images of 224 x 224 are 6 GB.
MOST_FEATURES = 2**14
EVALUATION_BATCH = 500  # images, of 64 x 64 pixels at most; of larger ones as many pixels


@dataclass(frozen=True)
class Evaluation:
    """Accuracy on a split: `correct` of `total`, with Wilson's 95 % interval (Wilson 1927).

    `per_class`: accuracy of each class; None for one without images. `answers`: to each image, in
    the order of the split. `seconds`: wall time.
    """

    correct: int
    total: int
    accuracy: float
    ci95: tuple[float, float]
    per_class: dict[str, float | None]
    seconds: float
    answers: Answers = field(repr=False, compare=False)

    @property
    def probabilities(self) -> Tensor:
        """Of each class for each image, (N, classes) float32 on the CPU."""
        return self.answers.probabilities


@torch.no_grad()
def respond(
    network: nn.Module,
    images: Tensor | Dataset,
    transform: Transform,
    runtime: Runtime | torch.device,
) -> Responses:
    """Logits and features of the images of a data set, or uint8 (N, H, W, C)."""
    device = runtime.device if isinstance(runtime, Runtime) else runtime
    place(network, device)
    if any(module.training for module in network.modules()):  # it takes longer than to look
        network.eval()
    logits, features, done = list[Tensor](), torch.empty(0), 0
    with _read_by_last_linear(network) as read:
        for chunk in _chunks(images):
            logits.append(network(transform.normalise(chunk.to(device))).float().cpu())
            last = [*read.values()][-1] if read else [logits[-1]]
            some = _fewer(torch.stack(last).mean(dim=0).float()).cpu()
            if not done:  # made at once, as putting parts together takes the memory of both
                features = torch.empty(len(images), some.shape[1])
            features[done : done + len(some)] = some
            done += len(some)
            read.clear()
    return Responses(torch.cat(logits), features)


def _fewer(features: Tensor) -> Tensor:
    """(n, D) -> (n, at most `MOST_FEATURES`)."""
    if features.shape[1] <= MOST_FEATURES:
        return features
    return nn.functional.adaptive_avg_pool1d(features[:, None], MOST_FEATURES)[:, 0]


def _chunks(images: Tensor | Dataset) -> Iterable[Tensor]:
    """The images in order, as many at a time as a network answers at once."""
    height, width = images.shape[1:3] if isinstance(images, Tensor) else images.shape[1:]
    size = max(1, min(EVALUATION_BATCH, EVALUATION_BATCH * 64 * 64 // (height * width)))
    return images.split(size) if isinstance(images, Tensor) else images.chunks(size)


@contextmanager
def _read_by_last_linear(network: nn.Module) -> Iterator[dict[nn.Module, list[Tensor]]]:
    """What each linear layer reads while the block runs the network; the last one stands last.

    A layer may be called several times, as by `Mirrored`.
    """
    read: dict[nn.Module, list[Tensor]] = defaultdict(list)

    def note(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        read[module].append(inputs[0].detach().flatten(1))

    layers = [module for module in network.modules() if isinstance(module, nn.Linear)]
    handles = [layer.register_forward_pre_hook(note) for layer in layers]
    try:
        yield read
    finally:
        for handle in handles:
            handle.remove()


def predict(
    network: nn.Module,
    images: Tensor | Dataset,
    transform: Transform,
    runtime: Runtime | torch.device,
    calibration: Calibration | None = None,
) -> Answers:
    """Answers to images, as in `respond`, by what images held out have taught."""
    return answers(respond(network, images, transform, runtime), calibration)


def evaluate(
    network: nn.Module,
    data: Dataset,
    transform: Transform,
    runtime: Runtime | torch.device,
    calibration: Calibration | None = None,
) -> Evaluation:
    """Accuracy of `network` on `data`, and its answers."""
    start = time.monotonic()
    found = predict(network, data, transform, runtime, calibration)
    right = found.probabilities.argmax(dim=1) == data.labels
    correct, total = int(right.sum()), len(data)
    return Evaluation(
        correct,
        total,
        correct / total,
        wilson(correct, total),
        {name: _share(right[data.labels == index]) for index, name in enumerate(data.classes)},
        time.monotonic() - start,
        found,
    )


def _share(right: Tensor) -> float | None:
    return int(right.sum()) / len(right) if len(right) else None
