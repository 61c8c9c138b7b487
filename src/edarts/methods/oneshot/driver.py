"""The driver of the one-shot methods: trains a supernet and asks a method for its architecture.

What eDARTS adds to DARTS - data subset, sparse architecture updates, attention, fixed topology,
shallow supernet - is done here and in the space, so that every one-shot method can use it.
"""

import dataclasses
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from edarts.config import SearchConfig, option_names
from edarts.data.batches import Loader, Transform
from edarts.data.dataset import Dataset
from edarts.data.splits import stratified_split
from edarts.methods.oneshot.base import Batch, Joint, OneShot, Stage, Weights
from edarts.methods.oneshot.derive import entropy
from edarts.methods.oneshot.resolve import resolve_config
from edarts.runs.processes import world_size
from edarts.runs.progress import Progress
from edarts.runs.seeds import seed_all
from edarts.runtime import Runtime
from edarts.space import architecture, operations
from edarts.space.base import Architecture, SearchSpace, Size
from edarts.training import distributed
from edarts.training.device import place
from edarts.training.loop import Loop, Metrics, load_states, seconds_of_step, states
from edarts.training.optim import accuracy, cosine, cross_entropy, descend, not_finite, set_lr, sgd

__all__ = ["Counts", "SearchResult", "one_shot", "resolve_config"]


@dataclass(frozen=True)
class Counts:
    """What a search did: `weight` and `architecture` steps, `forward` and `backward` passes of a
    batch through a supernet, `images` in the forward passes.
    """

    weight: int = 0
    architecture: int = 0
    forward: int = 0
    backward: int = 0
    images: int = 0

    def plus(self, **more: int) -> "Counts":
        """With these added."""
        return dataclasses.replace(self, **{k: getattr(self, k) + n for k, n in more.items()})

    def to_dict(self) -> dict[str, int]:
        """For a checkpoint."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class SearchResult:
    """What a search found, and what it cost.

    `weights`: the final (E, K) weights per group. `history`: one line per epoch, as metrics.jsonl.
    `seconds`: wall time. `settled`: whether it ended early, as its architecture had settled.
    """

    architecture: Architecture
    space: SearchSpace
    config: SearchConfig
    weights: Weights
    history: list[dict[str, Any]]
    counts: Counts
    seconds: float
    settled: bool = False


class SupernetTraining:
    """The training of one supernet: a phase of the loop.

    `halves`: the loaders of the images for the weights and for the architecture. `before`: the
    training of the supernet that this one grows from, where the stage says so.
    """

    def __init__(
        self,
        method: OneShot,
        net: nn.Module,
        halves: tuple[Loader, Loader],
        transform: Transform,
        stage: Stage,
        warn: "Collapse",
        before: "SupernetTraining | None" = None,
    ) -> None:
        self.method, self.net, self.config = method, net, method.config
        self.train, self.valid = halves
        self.transform, self.warn = transform, warn
        config = self.config
        self.begun, self.epochs = stage.rates or (0, stage.epochs)
        rate = self.rate(0) if self.begun else config.lr
        self.optimizer = sgd(
            net, rate, config.momentum, config.weight_decay, nesterov=config.nesterov
        )
        if stage.grows and before is not None:
            self._grow(before)
        self.warm_up = config.warm_up_epochs(stage.epochs)
        self.counts = Counts()
        self.settled = Settled(self.config.patience)
        net.register_forward_hook(self._count)
        if config.drop_path > 0:
            cast(Any, net).set_drop_path(config.drop_path)

    def rate(self, epoch: int) -> float:
        """The learning rate of the weights in an epoch of the stage."""
        return cosine(self.begun + epoch, self.epochs, self.config.lr, self.config.lr_min)

    @torch.no_grad()
    def _grow(self, before: "SupernetTraining") -> None:
        """Weights and momentum of the stage before, widened."""
        grown_from = getattr(self.net, "grown_from", lambda older: ())
        for new, old, spread in grown_from(before.net):
            new.copy_(spread(old))
            momentum = before.optimizer.state.get(old, {}).get("momentum_buffer")
            if momentum is not None:
                self.optimizer.state[new]["momentum_buffer"] = spread(momentum)

    def _count(self, net: nn.Module, inputs: tuple[Any, ...], logits: Tensor) -> None:
        self.counts = self.counts.plus(forward=1, images=len(inputs[0]) * world_size())
        if logits.requires_grad:
            logits.register_hook(self._count_back)

    def _count_back(self, grad: Tensor) -> None:
        self.counts = self.counts.plus(backward=1)

    def prepare(self, batch: Batch) -> Batch:
        """Augmented; of many processes each gets its part, of images that all drew alike."""
        images, labels = distributed.shard(self.transform.augment(batch[0]), batch[1])
        return images, labels

    def step(self, epoch: int, at: int) -> Metrics:
        """One weight step; before it or with it an architecture step, unless updates are sparse."""
        self.method.begin_epoch(self.net, epoch)
        batch = self.prepare(self.train.batch(epoch, at))
        name = f"search, epoch {epoch + 1}, step {at + 1}"
        update = self.config.arch_update if epoch >= self.warm_up else None
        # Counted on over the epochs, so that short ones have their part too.
        due = (epoch * self.train.steps + at + 1) % self.config.arch_every == 0
        metrics = self.arch_step(batch, name) if update == "step" and due else {}
        weights = self.method.weights(training=True)
        if update != "joint":
            weights = {group: w.detach() for group, w in weights.items()}
        logits = self.net(batch[0], weights)
        loss = cross_entropy(logits, batch[1])
        if update == "joint":
            self.joint_step(loss, weights, name)
        else:
            self._descend(loss, name)
        self.counts = self.counts.plus(weight=1)
        return {"loss": loss.item(), "accuracy": accuracy(logits, batch[1]), **metrics}

    def _descend(self, loss: Tensor, name: str) -> None:
        carry = not self.method.RESTS
        descend(loss, self.optimizer, self.config.clip, name, carry=carry)

    def joint_step(self, loss: Tensor, weights: Weights, name: str) -> None:
        """One backward pass, then a step of the weights and one of the architecture."""
        method = cast(Joint, self.method)
        total = loss + method.penalty(self.net, weights)
        self._descend(total, name)
        try:
            method.joint_step()
        except FloatingPointError:
            raise not_finite(name, "--arch-lr or --lr") from None
        self.counts = self.counts.plus(architecture=1)

    def arch_step(self, batch: Batch, name: str) -> Metrics:
        """One architecture step on `batch` and the next validation batches."""
        try:
            metrics = self.method.arch_step(self.net, batch, self.next_valid(), self.optimizer)
        except FloatingPointError:
            raise not_finite(name, "--arch-lr or --lr") from None
        self.counts = self.counts.plus(architecture=1)
        return metrics

    def next_valid(self) -> Batch:
        """What the next architecture step looks at, of the images that are held out for it."""
        count = self.method.valid_batches
        first = self.counts.architecture * count
        every = [self.valid.endless(first + index) for index in range(count)]
        images, labels = (torch.cat(parts) for parts in zip(*every, strict=True))
        if self.method.augments_valid:
            return self.prepare((images, labels))
        plain, labels = distributed.shard(self.transform.normalise(images), labels)
        return plain, labels

    def end(self, epoch: int) -> dict[str, Any]:
        """Sparse architecture updates, the next learning rate, and the epoch's record."""
        metrics = self._sparse_updates(epoch)
        set_lr(self.optimizer, self.rate(epoch + 1))
        weights, found = self.method.weights(training=False), self.method.architecture()
        self.warn(found)
        undecided = entropy(weights)
        if epoch >= self.warm_up:
            self.settled.add(found.digest(), sum(undecided.values()))
        return {
            **metrics,
            "entropy": {group: round(value, 4) for group, value in undecided.items()},
            "skips": found.skips(),
            "genotype": found.to_dict(),
            "weights": {
                group: [[round(v, 4) for v in row] for row in w.detach().tolist()]
                for group, w in weights.items()
            },
        }

    def _sparse_updates(self, epoch: int) -> Metrics:
        """The architecture steps at the end of an epoch; returns their average metrics."""
        metrics: Metrics = {}
        if self.config.arch_update != "epoch" or epoch < self.warm_up:
            return metrics
        updates = self.config.arch_steps
        for _ in range(updates):
            # Second order looks at a training batch too: any of this epoch's.
            at = self.counts.architecture % self.train.steps
            batch = self.prepare(self.train.batch(epoch, at))
            for name, value in self.arch_step(batch, f"search, epoch {epoch + 1}").items():
                metrics[name] = metrics.get(name, 0.0) + value / updates
        return metrics

    def finished(self) -> bool:
        """Whether the architecture has settled."""
        return self.settled.reached

    def state(self) -> dict[str, Any]:
        """Everything a resumed search needs."""
        return {**states(**self._parts()), "counts": self.counts.to_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""
        load_states(state, **self._parts())
        self.counts = Counts(**state["counts"])

    def _parts(self) -> dict[str, Any]:
        parts = {"net": self.net, "optimizer": self.optimizer, "method": self.method}
        return parts | ({"settled": self.settled} if self.settled.patience else {})


def one_shot(
    data: Dataset,
    config: SearchConfig,
    space: SearchSpace,
    runtime: Runtime,
    limit: float | None = None,
) -> SearchResult:
    """Search `space` on the training split `data` with a one-shot method.

    `config`: resolved (see `resolve_config`). A stratified `data_fraction` of the images is cut
    into halves, one for the weights, one for the architecture; with arch_update=joint all train
    both. `limit`: seconds that it may take: see `Loop`. Seeds torch's global generator. Raises
    EdartsError.
    """
    seed = runtime.seed
    halves = _loaders(data, config, runtime)
    transform = Transform.of(data)
    seed_all(seed, "method")
    method: OneShot = config.plugins()[0](space, config, runtime.device)
    warn = Collapse(config, runtime)
    history: list[dict[str, Any]] = []
    counts, seconds, settled = Counts(), 0.0, False
    training: SupernetTraining | None = None
    for index, stage in enumerate(method.stages(config.epochs)):
        seed_all(seed, "supernet", index)
        net = place(build_supernet(space, config, data, stage), runtime.device)
        training = SupernetTraining(method, net, halves, transform, stage, warn, training)
        if runtime.compile:
            net.compile()
        name = f"search-{index + 1}" if index else "search"
        left = None if limit is None else limit - seconds
        loop = Loop(name, stage.epochs, halves[0].steps, runtime, describe, left)
        loop(training)
        history += loop.history
        seconds += loop.seconds
        settled = training.finished()
        counts = counts.plus(**training.counts.to_dict())
        seed_all(seed, "method", index + 1)  # the next stage may draw new parameters
    weights = {g: w.detach().cpu() for g, w in method.weights(training=False).items()}
    found = method.architecture()
    return SearchResult(found, space, config, weights, history, counts, seconds, settled)


def seconds_of_search(
    data: Dataset, config: SearchConfig, space: SearchSpace, runtime: Runtime
) -> float:
    """Seconds that `one_shot` will take, about, by a few steps of each of its supernets."""
    runtime = dataclasses.replace(runtime, run=None, compile=False)
    halves = _loaders(data, config, runtime)
    seed_all(runtime.seed, "method")
    method: OneShot = config.plugins()[0](space, config, runtime.device)
    quiet = Collapse(config, dataclasses.replace(runtime, progress=Progress()))
    total, transform = 0.0, Transform.of(data)
    for stage in method.stages(config.epochs):
        net = place(build_supernet(space, config, data, stage), runtime.device)
        training = SupernetTraining(method, net, halves, transform, stage, quiet)
        total += _seconds_of_stage(training, stage.epochs, runtime)
    return total


def seconds_of_epoch(
    data: Dataset, config: SearchConfig, space: SearchSpace, runtime: Runtime
) -> float:
    """Seconds of an epoch of `one_shot`, on average, by a few steps."""
    return seconds_of_search(data, config, space, runtime) / config.epochs


def _seconds_of_stage(training: SupernetTraining, epochs: int, runtime: Runtime) -> float:
    """By a few steps of the weights, and of the architecture where it has steps of its own."""
    config, steps = training.config, training.train.steps
    learning, joint = epochs - training.warm_up, config.arch_update == "joint"
    training.warm_up = 0 if joint else 1  # then the timed steps, of epoch 0, are of the weights
    total = epochs * steps * seconds_of_step(training, runtime)
    if not joint:
        batch, often = training.prepare(training.train.batch(0, 0)), config.arch_update == "step"
        taken = []
        for _ in range(2 if often else 1):  # the seldom ones may score a thousand cells
            start = time.perf_counter()
            training.arch_step(batch, "time")
            taken.append(time.perf_counter() - start)
        total += learning * min(taken) * (steps / config.arch_every if often else config.arch_steps)
    return total


def _loaders(data: Dataset, config: SearchConfig, runtime: Runtime) -> tuple[Loader, Loader]:
    """Of the images for the weights and of those for the architecture."""
    if config.arch_update == "joint":
        halves = (search_subset(data, config.data_fraction, runtime.seed),) * 2
    else:
        halves = split_halves(data, config.data_fraction, runtime.seed)
    weights, arch = (
        Loader(half, config.batch_size, runtime.seed, stream, runtime.device)
        for half, stream in zip(halves, ("weights", "architecture"), strict=True)
    )
    return weights, arch


def build_supernet(
    space: SearchSpace, config: SearchConfig, data: Dataset, stage: Stage | None = None
) -> nn.Module:
    """The supernet that a resolved config trains on `data`; `stage`: of a method that has many."""
    return space.supernet(
        Size(config.cells if stage is None else stage.cells, config.channels),
        data.shape,
        len(data.classes),
        channel_fraction=(stage and stage.channel_fraction) or config.channel_fraction,
        mask=None if stage is None else stage.mask,
    )


def search_subset(data: Dataset, fraction: float, seed: int) -> Dataset:
    """A stratified `fraction` of the data, at least two images of each class."""
    if fraction == 1:
        return data
    labels = data.labels.numpy()
    smallest = 2 / int(data.labels.bincount().min())
    _, chosen = stratified_split(labels, max(fraction, smallest), seed, stream="fraction")
    return data.subset(torch.from_numpy(chosen))


def split_halves(data: Dataset, fraction: float, seed: int) -> tuple[Dataset, Dataset]:
    """(weights, architecture): disjoint stratified halves of `fraction` of the data.

    Each class has at least one image in both.
    """
    data = search_subset(data, fraction, seed)
    first, second = stratified_split(data.labels.numpy(), 0.5, seed, stream="halves")
    return data.subset(torch.from_numpy(first)), data.subset(torch.from_numpy(second))


def describe(line: Mapping[str, Any]) -> str:
    """The part of the progress line that an epoch's record gives."""
    undecided = "/".join(f"{value:.2f}" for value in line["entropy"].values())
    skips = "/".join(str(count) for count in line["skips"].values())
    return f"entropy {undecided}  skips {skips}  {architecture.from_dict(line['genotype'])}"


class Settled:
    """Whether the architecture has stayed the same for `patience` epochs, and its entropy fallen.

    0: never.
    """

    def __init__(self, patience: int) -> None:
        self.patience = patience
        self._digest, self._entropies = "", [0.0]

    def add(self, digest: str, entropy: float) -> None:
        """An epoch has ended with this architecture, and this entropy of its weights."""
        if digest != self._digest:
            self._digest, self._entropies = digest, []
        self._entropies = [*self._entropies[-self.patience :], entropy]

    @property
    def reached(self) -> bool:
        """Whether the search may end."""
        past = self._entropies
        return 0 < self.patience < len(past) and past[-1] < past[0]

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"digest": self._digest, "entropies": self._entropies}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self._digest, self._entropies = state["digest"], list(state["entropies"])


class Collapse:
    """Warns, once for each group, if over half of what it carries has no convolution."""

    def __init__(self, config: SearchConfig, runtime: Runtime) -> None:
        self.config, self.progress = config, runtime.progress
        self.warned: set[str] = set()

    def __call__(self, found: Architecture) -> None:
        for group, names in found.operations().items():
            free = sum(operations.parameter_free(name) for name in names)
            if 2 * free > len(names) and group not in self.warned:
                self.warned.add(group)
                self.progress.warn(
                    f"{free} of {len(names)} operations of group {group} are skips or pools: the"
                    f" search may be collapsing; try {self.remedy()}"
                )

    def remedy(self) -> str:
        """What to change."""
        config = self.config
        method, space = config.plugins()
        if "attention" not in method.DEFAULTS:
            chooses = "operations" in option_names(space)
            return "--operations without them" if chooses else "another --method"
        if config.arch_update != "epoch":
            return "--arch-update epoch"
        if config.data_fraction > 1 / 6:
            return "a smaller --data-fraction, or a larger share of convolutions in --attention"
        return "a larger share of convolutions in --attention"
