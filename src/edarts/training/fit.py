"""Training a network from scratch, and evaluating it once: fit(), evaluate()."""

import time
from dataclasses import dataclass
from typing import Any

import torch
from scipy.stats import binomtest
from torch import Tensor

from edarts.config import TrainConfig, given, resolve
from edarts.data.batches import Loader, Transform
from edarts.data.dataset import Dataset
from edarts.data.splits import stratified_split
from edarts.errors import UsageError
from edarts.nn.whole import WholeNetwork
from edarts.runs.folder import Run, Stop
from edarts.runs.progress import Progress
from edarts.seeds import seed_all
from edarts.space.architecture import Architecture, Model
from edarts.space.architecture import build as build_model
from edarts.training import distributed as ranks
from edarts.training.loop import (
    Loop,
    Metrics,
    accuracy,
    autocast,
    cosine,
    cross_entropy,
    descend,
    device_of,
    load_states,
    place,
    set_lr,
    sgd,
    states,
)

EVALUATION_BATCH = 500
SHALLOW_IMAGES = 1_000_000  # that a shallow training sees, unless epochs says otherwise

# full: DARTS' retraining recipe (methods.md section 2). shallow: the slides' shallow network, with
# the higher learning rate that a short training needs.
SIZES: dict[str, dict[str, Any]] = {
    "shallow": {
        "cells": 5,
        "channels": 16,
        "batch_size": 128,
        "lr": 0.1,
        "momentum": 0.9,
        "weight_decay": 3e-4,
        "clip": 5.0,
        "auxiliary": 0.0,
        "drop_path": 0.0,
        "cutout": 0.0,
    },
    "full": {
        "cells": 20,
        "channels": 36,
        "epochs": 600,
        "batch_size": 96,
        "lr": 0.025,
        "momentum": 0.9,
        "weight_decay": 3e-4,
        "clip": 5.0,
        "auxiliary": 0.4,
        "drop_path": 0.2,
        "cutout": 0.5,
    },
}
# What a whole network has not: a choice of depth and width, an auxiliary head, edges to drop.
NOT_WHOLE = {"cells": None, "channels": None, "auxiliary": 0.0, "drop_path": 0.0}


def resolve_config(config: TrainConfig, images: int, *, whole: bool = False) -> TrainConfig:
    """Fill in what `config` leaves open, for a training split of `images`.

    `whole`: for a whole network. Raises UsageError if `config` asks for what only cells have.
    """
    epochs = min(30, max(20, round(SHALLOW_IMAGES / images)))
    defaults = {"epochs": epochs} | SIZES[config.size]
    if whole:
        for name, nothing in NOT_WHOLE.items():
            if getattr(config, name):
                raise UsageError(f"{name} is for networks of cells; this is a whole network")
            defaults[name] = nothing
    return resolve(config, defaults)


@dataclass(frozen=True)
class FitResult:
    """A trained network, the transform it expects, a line per epoch, and the wall time."""

    network: Model
    transform: Transform
    history: list[dict[str, Any]]
    seconds: float


@dataclass(frozen=True)
class Evaluation:
    """Accuracy on a split: `correct` of `total`, with Wilson's 95 % interval.

    `per_class`: accuracy of each class; None for one without images.
    """

    correct: int
    total: int
    accuracy: float
    ci95: tuple[float, float]
    per_class: dict[str, float | None]
    seconds: float


def fit(
    network: Model,
    data: Dataset,
    config: TrainConfig,
    *,
    seed: int = 0,
    device: str = "auto",
    run: Run | None = None,
    progress: Progress | None = None,
    stop: Stop | None = None,
    precision: str = "fp32",
    compiled: bool = False,
) -> FitResult:
    """Train `network` on the training split `data`, for all its epochs; the last weights are kept.

    SGD with momentum, cosine to zero by epoch, random crop and flip; with the published size also
    cutout, drop path rising with the epochs and the auxiliary loss (DARTS' code: methods.md
    section 2). `config`: see `resolve_config`. `precision`: see `loop.autocast`; `compiled`: pass
    the network through torch.compile. Seeds torch's global generator. Raises EdartsError when the
    loss is no number any more.
    """
    config = resolve_config(config, len(data), whole=isinstance(network, WholeNetwork))
    epochs, lr, clip = given(config.epochs), given(config.lr), given(config.clip)
    drop_path, weight = given(config.drop_path), given(config.auxiliary)
    where = device_of(device)
    transform = Transform.of(data, given(config.cutout))
    valid: Dataset | None = None
    if config.valid_fraction > 0:
        rest, held = stratified_split(
            data.labels.numpy(), config.valid_fraction, seed, stream="valid"
        )
        data, valid = data.subset(torch.from_numpy(rest)), data.subset(torch.from_numpy(held))
    loader = Loader(data, given(config.batch_size), seed, "train", where)
    place(network, where)
    optimizer = sgd(network, lr, given(config.momentum), given(config.weight_decay))
    if compiled:
        network.compile()

    def step(epoch: int, at: int) -> Metrics:
        if at == 0:
            set_lr(optimizer, cosine(epoch, epochs, lr, 0.0))
        network.set_drop_path(drop_path * epoch / epochs)
        network.train()
        images, labels = loader.batch(epoch, at)
        images, labels = ranks.share(transform.augment(images), labels)
        logits = network(images, weight > 0)
        if weight > 0:
            loss = cross_entropy(logits[0], labels) + weight * cross_entropy(logits[1], labels)
            logits = logits[0]
        else:
            loss = cross_entropy(logits, labels)
        descend(loss, optimizer, clip, f"train, epoch {epoch + 1}, step {at + 1}")
        return {"loss": loss.item(), "accuracy": accuracy(logits, labels)}

    def end(epoch: int) -> dict[str, Any]:
        if valid is None:
            return {}
        return {"valid_accuracy": evaluate(network, valid, transform, device=device).accuracy}

    def restore(state: dict[str, Any]) -> None:
        load_states(state, network=network, optimizer=optimizer)

    def describe(line: dict[str, Any]) -> str:
        return f"valid {line['valid_accuracy']:.3f}" if "valid_accuracy" in line else ""

    loop = Loop(
        "train",
        epochs,
        loader.steps,
        seed,
        run,
        progress or Progress(),
        stop or Stop(),
        describe,
    )
    with autocast(where, precision):
        loop(step, end, lambda: states(network=network, optimizer=optimizer), restore)
    return FitResult(network, transform, loop.history, loop.seconds)


def build(architecture: Architecture, config: TrainConfig, data: Dataset, *, seed: int) -> Model:
    """The network that `config` (resolved) describes for this data, its weights drawn by `seed`."""
    seed_all(seed, "network")
    return build_model(
        architecture,
        cells=config.cells,
        channels=config.channels,
        classes=len(data.classes),
        image=data.shape,
        auxiliary=bool(config.auxiliary),
    )


@torch.no_grad()
def predict(network: Model, images: Tensor, transform: Transform, device: str = "auto") -> Tensor:
    """uint8 images (N, H, W, C) -> class probabilities (N, classes), on the CPU."""
    where = device_of(device)
    place(network, where)
    network.eval()
    probabilities = [
        network(transform.normalise(chunk.to(where))).softmax(dim=1).cpu()
        for chunk in images.split(EVALUATION_BATCH)
    ]
    return torch.cat(probabilities)


def evaluate(
    network: Model, data: Dataset, transform: Transform, *, device: str = "auto"
) -> Evaluation:
    """Accuracy of `network` on `data`, with Wilson's 95 % interval (Wilson 1927)."""
    start = time.monotonic()
    answers = predict(network, data.images, transform, device).argmax(dim=1)
    right = answers == data.labels
    correct, total = int(right.sum()), len(data)
    interval = binomtest(correct, total).proportion_ci(method="wilson")
    per_class: dict[str, float | None] = {}
    for index, name in enumerate(data.classes):
        members = data.labels == index
        count = int(members.sum())
        per_class[name] = int(right[members].sum()) / count if count else None
    return Evaluation(
        correct,
        total,
        correct / total,
        (float(interval.low), float(interval.high)),
        per_class,
        time.monotonic() - start,
    )
