"""Training a network from scratch: resolve_config(), build(), fit()."""

from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from edarts.config import TrainConfig
from edarts.data.batches import Loader, Transform, batches
from edarts.data.dataset import Dataset
from edarts.data.splits import stratified_split
from edarts.errors import UsageError
from edarts.nn.kernels import Recorder
from edarts.nn.mirrored import Mirrored
from edarts.nn.timm import begin_with
from edarts.nn.whitening import Whitening
from edarts.runs.processes import world_size
from edarts.runs.seeds import permutation, seed_all
from edarts.runtime import Runtime
from edarts.space.base import Architecture, Size
from edarts.training import balance, distributed, recipe
from edarts.training.calibration import REFERENCES, Calibration, calibrate
from edarts.training.device import place
from edarts.training.evaluation import evaluate, respond
from edarts.training.loop import Loop, Metrics, load_states, states
from edarts.training.margins import Margins
from edarts.training.optim import accuracy, descend, set_lr

PREPARED_ON = 5000 * 32 * 32  # pixels, about, of the images from which a network is prepared


def resolve_config(
    config: TrainConfig, images: int, *, whole: bool = False, whitens: bool = True
) -> TrainConfig:
    """Fill in by its recipe what `config` leaves open, for a training split of `images`.

    `whole`: for a network with its own depth and width. `whitens`: whether the network can begin
    with the whitening layer. Raises UsageError: see `Recipe.resolve`.
    """
    if not whitens and not whole:
        if config.whitening:
            raise UsageError("whitening: these networks of cells have a first layer of their own")
        config = replace(config, whitening=False)
    resolved = recipe.load(config.recipe).resolve(config, images, whole)
    trained = max(1, round(images * (1 - (resolved.valid_fraction or 0))))
    if resolved.auxiliary and trained // batches(trained, resolved.batch_size) // world_size() < 2:
        raise UsageError(
            f"auxiliary: its norm needs more than one image a step, --batch-size is"
            f" {resolved.batch_size}; give a larger one, or --auxiliary 0"
        )
    return resolved


def size_of(config: TrainConfig) -> Size:
    """What a resolved config gives a network of cells: depth, width, first layer."""
    return Size(config.cells, config.channels, whitening=bool(config.whitening))


def build(architecture: Architecture, config: TrainConfig, data: Dataset, seed: int) -> nn.Module:
    """The network that `config` (resolved) describes for this data, its weights drawn by `seed`."""
    seed_all(seed, "network")
    size = replace(size_of(config), auxiliary=bool(config.auxiliary))
    network = architecture.build(size, data.shape, len(data.classes))
    if config.pretrained:
        begin_with(network, config.pretrained)
    return network


@dataclass(frozen=True)
class FitResult:
    """A trained network, the transform it expects, a line per epoch, and the wall seconds.

    `network`: as it is to be evaluated, which may be `Mirrored`. `calibration`: what the images
    held out have taught; None if there were none, or too few. `margins`: (N,) float32, of each
    image of the data: see `Margins`; NaN for those held out.
    """

    network: nn.Module
    transform: Transform
    history: list[dict[str, Any]]
    seconds: float
    calibration: Calibration | None = None
    margins: Tensor | None = None


def fit(
    network: nn.Module,
    data: Dataset,
    config: TrainConfig,
    runtime: Runtime,
    limit: float | None = None,
    name: str = "train",
) -> FitResult:
    """Train `network` on the training split `data`, for all its epochs; the last weights are kept.

    `limit`: seconds after which it has to end: see `Loop`. `name`: of the phase.

    `config` (see `resolve_config`) names the recipe, which says how: optimizer, learning rates,
    loss and augmentation. Drop path rises with the epochs, and the auxiliary head's loss is added
    with its weight (DARTS' code). Seeds torch's global generator. Raises EdartsError when the loss
    becomes NaN or infinite, and Interrupted when `runtime.stop` asks for it.
    """
    if config.options is None:
        config = resolve_config(config, len(data), whole=not getattr(network, "sized", True))
    training = Training(network, data, config, runtime)
    loop = Loop(name, config.epochs, training.loader.steps, runtime, _describe, limit)
    loop(training)
    if runtime.compile:
        network._compiled_call_impl = None  # it goes back as it came: compiled, it calls no hooks
    return FitResult(
        training.evaluated,
        training.transform,
        loop.history,
        loop.seconds,
        training.calibration(),
        training.margins.of(len(data)),
    )


class Training:
    """The phase of a loop that trains one network; `config` is resolved.

    `transform` has the statistics of all of `data`, of which `valid_fraction` is then held out.
    """

    def __init__(
        self, network: nn.Module, data: Dataset, config: TrainConfig, runtime: Runtime
    ) -> None:
        self.network, self.config, self.runtime = network, config, runtime
        self.recipe = recipe.load(config.recipe)
        self.transform = self.recipe.transform(data, config)
        mirrors = data.flip and self.recipe.mirrors(config)
        self.evaluated = Mirrored(network) if mirrors else network
        rest, held = _rows(data, config.valid_fraction, runtime.seed)
        self.margins = Margins(rest)
        data, self.valid = _parts(data, rest, held)
        self.data = data
        for module in network.modules():
            if isinstance(module, Whitening):
                count = -(-PREPARED_ON // (data.shape[1] * data.shape[2]))
                some = data.at(_some(len(data), runtime.seed, count))
                module.prepare(self.transform.normalise(some))
        how = balance.chosen(config.balance, data.labels)
        order = balance.order if how == "sampler" else None
        self.loader = Loader(data, config.batch_size, runtime.seed, "train", runtime.device, order)
        self.weights: Tensor | None = None  # of the classes, in the loss
        if how == "loss":
            weights = balance.class_weights(data.labels, len(data.classes))
            self.weights = weights.to(runtime.device)
        place(network, runtime.device)
        self.recipe.prepare(network, config)
        self.optimizer = self.recipe.optimizer(network, config)
        self.drop_path = 0.0
        self.recorder = Recorder()
        self.first = permutation(len(data), runtime.seed, "mirrored first", 0) % 2
        if runtime.compile:
            network.compile()

    def step(self, epoch: int, at: int) -> Metrics:
        """One optimizer step on one batch; returns loss and accuracy of the augmented images."""
        config = self.config
        set_lr(self.optimizer, self.recipe.lr(config, epoch, at, self.loader.steps))
        self.drop_path = config.drop_path * epoch / config.epochs
        cast(Any, self.network).set_drop_path(self.drop_path)
        self.network.train()
        images, labels = self.loader.batch(epoch, at)
        mirrored = self._mirrored(epoch, at) if self.recipe.alternates(config) else None
        images, labels = distributed.shard(self.transform.augment(images, mirrored), labels)
        loss, logits = self.loss(images, labels)
        self.margins.add(self.loader.places(epoch, at), logits, labels)
        step = f"train, epoch {epoch + 1}, step {at + 1}"
        descend(loss, self.optimizer, config.clip, step)
        return {"loss": loss.item(), "accuracy": accuracy(logits, labels)}

    def _mirrored(self, epoch: int, at: int) -> Tensor:
        """(B,) bool: which images of a step are mirrored; each in every other epoch."""
        return (self.first[self.loader.places(epoch, at).cpu()] + epoch) % 2 == 1

    def loss(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The loss of images (B, C, H, W), with the auxiliary head's, and their logits.

        Each may be mixed with another one of them, and then it counts for that one's label too.
        """
        weight, alpha = self.config.auxiliary, self.recipe.mixes(self.config)
        share, order = 0.0, None
        if alpha > 0:
            drawn = float(torch.distributions.Beta(alpha, alpha).sample())
            share = min(drawn, 1 - drawn)
            order = torch.randperm(len(images)).to(images.device)
            images = images.lerp(images[order], share)

        def passes(images: Tensor) -> Tensor:
            return cast(Tensor, self.network(images, weight > 0))

        def lost(logits: Tensor) -> Tensor:
            loss = self._loss(logits, labels)
            return loss if order is None else loss.lerp(self._loss(logits, labels[order]), share)

        logits = self.recorder(passes, self.network, self.drop_path, images)
        if weight == 0:
            return lost(logits), logits
        first, second = (lost(part) for part in logits)
        return first + weight * second, logits[0]

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The recipe's, with the weights of the classes if they have some."""
        if self.weights is not None:
            logits = balance.weighted(logits, labels, self.weights)
        return self.recipe.loss(logits, labels, self.config)

    def end(self, epoch: int) -> dict[str, Any]:
        """The accuracy on the images held out, if there are any."""
        if self.valid is None:
            return {}
        found = evaluate(self.evaluated, self.valid, self.transform, self.runtime)
        return {"valid_accuracy": found.accuracy}

    def calibration(self) -> Calibration | None:
        """What the images held out teach about the answers of the trained network."""
        if self.valid is None:
            return None
        some = _some(len(self.data), self.runtime.seed, REFERENCES)
        held, trained = (
            respond(self.evaluated, images, self.transform, self.runtime)
            for images in (self.valid, self.data.subset(some))
        )
        return calibrate(held, self.valid.labels, trained)

    def finished(self) -> bool:
        """Never before the last epoch."""
        return False

    def state(self) -> dict[str, Any]:
        """Weights, the optimizer's state, and the margins."""
        return states(network=self.network, optimizer=self.optimizer, margins=self.margins)

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""
        load_states(state, network=self.network, optimizer=self.optimizer)
        if "margins" in state:  # a checkpoint of an older version has none: they begin there
            self.margins.load_state_dict(state["margins"])


def _some(images: int, seed: int, count: int) -> Tensor:
    """Places of `count` of the images, from everywhere in the data, in order."""
    return permutation(images, seed, "prepare", 0)[:count].sort().values


def hold_out(data: Dataset, fraction: float, seed: int) -> tuple[Dataset, Dataset | None]:
    """(images to train on, a stratified `fraction` of the images to validate on; None for 0)."""
    return _parts(data, *_rows(data, fraction, seed))


def _rows(data: Dataset, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Where the images to train on, and those held out, lie in the data."""
    if fraction == 0:
        return torch.arange(len(data)), torch.arange(0)
    rest, held = stratified_split(data.labels.numpy(), fraction, seed, stream="valid")
    return torch.from_numpy(rest), torch.from_numpy(held)


def _parts(data: Dataset, rest: Tensor, held: Tensor) -> tuple[Dataset, Dataset | None]:
    return (data.subset(rest), data.subset(held)) if len(held) else (data, None)


def _describe(line: dict[str, Any]) -> str:
    return f"valid {line['valid_accuracy']:.3f}" if "valid_accuracy" in line else ""
