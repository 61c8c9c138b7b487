"""The driver of the one-shot methods: trains a supernet and asks a method for its architecture.

What eDARTS adds to DARTS - data subset, sparse architecture updates, attention, fixed topology,
shallow supernet - is done here and in the space, so that every one-shot method can use it.
"""

import dataclasses
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor

from edarts.config import SearchConfig, given, parse_attention, resolve
from edarts.data.data import Dataset, Loader, Transform, stratified_split
from edarts.errors import UsageError, unknown
from edarts.methods.oneshot import registry_ as methods
from edarts.methods.oneshot.base import entropy
from edarts.nn.operations import PARAMETER_FREE
from edarts.nn.supernet import Supernet
from edarts.runs.folder import Run
from edarts.runs.processes import world_size
from edarts.runs.progress import Progress
from edarts.runs.stop import Stop
from edarts.runtime import Session
from edarts.seeds import seed_all
from edarts.space.darts import Space
from edarts.space.genotype import KINDS, Genotype
from edarts.training import device as devices
from edarts.training import distributed
from edarts.training.loop import Loop, Metrics, load_states, states
from edarts.training.optim import (
    accuracy,
    cosine,
    cross_entropy,
    descend,
    not_finite,
    set_lr,
    sgd,
)

# Fewest search images per class, on average: below that the default fraction is raised. Half of
# them train the weights, so this is an epoch of a few batches for ten classes.
ENOUGH_PER_CLASS = 50
ARCH_STEPS = 4  # updates at the end of an epoch: one batch alone is too noisy to decide on
# How far Adam can move an alpha in DARTS' search of CIFAR-10: its learning rate times 50 epochs of
# 391 steps. Sparse updates get the learning rate that lets them move as far.
TRAVEL = 3e-4 * 50 * 391
LARGEST_ARCH_LR = 0.1


@dataclass(frozen=True)
class SearchResult:
    """What a search found, and what it cost.

    `weights`: the final (E, K) weights per kind. `history`: one line per epoch, as metrics.jsonl.
    `steps`: numbers of weight and architecture steps. `passes`: forward and backward passes of a
    batch through a supernet. `images_seen`: images in the forward passes. `seconds`: wall time.
    """

    genotype: Genotype
    space: Space
    config: SearchConfig
    weights: dict[str, Tensor]
    history: list[dict[str, Any]]
    steps: dict[str, int]
    passes: dict[str, int]
    images_seen: int
    seconds: float


def resolve_config(
    config: SearchConfig, images: int, classes: int
) -> tuple[SearchConfig, Space, list[str]]:
    """Fill in what `config` leaves open, for a training split of `images` in `classes`.

    Returns the config with nothing left open, its space, and notes for the user.
    Raises UsageError if options exclude each other, or the method takes one of them not.
    """
    methods.check_options(config)
    defaults = methods.options(config.method)
    notes: list[str] = []
    config = _resolve_operations(config, defaults)
    if config.data_fraction is None:
        enough = min(1.0, ENOUGH_PER_CLASS * classes / images)
        if enough > defaults["data_fraction"]:
            notes.append(
                f"a small data set: the search uses {enough:.0%} of the training images"
                f" in place of {defaults['data_fraction']:.0%}"
            )
            defaults["data_fraction"] = enough
    arch_lr = config.arch_lr
    own_steps = defaults.pop("arch_steps", None)  # then its arch_lr is made for sparse updates
    config = resolve(config, defaults)
    if config.arch_update == "epoch":
        config = resolve(config, {"arch_steps": own_steps or ARCH_STEPS})
        if arch_lr is None and own_steps is None:
            learning = given(config.epochs) - config.warm_up_epochs(given(config.epochs))
            updates = learning * given(config.arch_steps)
            config = dataclasses.replace(config, arch_lr=min(LARGEST_ARCH_LR, TRAVEL / updates))
    elif config.arch_steps is not None:
        raise UsageError("arch_steps counts updates per epoch: it needs arch_update=epoch")
    space = Space.parse(given(config.operations), given(config.topology))
    _check_method(config, space)
    return config, space, notes


def _check_method(config: SearchConfig, space: Space) -> None:
    """Let the method refuse what it cannot take, before a run folder holds it."""
    with torch.random.fork_rng(devices=[]):
        method = methods.load(config.method).PLUGIN(space, config, torch.device("cpu"))
    if config.arch_update == "joint" and not isinstance(method, methods.Joint):
        raise UsageError(f"arch_update=joint: {config.method} learns from no loss of the weights")


def _resolve_operations(config: SearchConfig, defaults: dict[str, Any]) -> SearchConfig:
    """Make `operations` and `attention` name the same operations, in one order."""
    given = parse_attention(config.attention)
    named = Space.parse(config.operations).operations if config.operations is not None else None
    if given is not None:
        for name in given:
            if named is not None and name not in named:
                raise unknown("operation of attention", name, named)
        named = tuple(name for name in (named or given) if name in given)
        shares: dict[str, float] | None = given
    elif config.attention is None and defaults.get("attention", "none") != "none":
        usual = parse_attention(defaults["attention"]) or {}
        named = named or tuple(usual)
        shares = {name: usual.get(name, 1.0) for name in named}
    else:
        shares = None
        if named is None:
            fallback = parse_attention(defaults.get("attention"))
            named = tuple(fallback) if fallback else Space.parse(defaults["operations"]).operations
    attention = (
        defaults.get("attention") and "none"  # None where the method takes no attention
        if shares is None
        else ",".join(f"{name}={shares[name]:g}" for name in named)
    )
    return dataclasses.replace(config, operations=",".join(named), attention=attention)


@dataclass
class _Stage:
    """What one supernet's training needs at hand."""

    method: methods.OneShot
    net: Supernet
    optimizer: torch.optim.SGD
    train: Loader
    valid: Loader
    transform: Transform
    config: SearchConfig
    epochs: int
    progress: Progress
    warned: set[str]
    counts: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(
            ("weight", "architecture", "forward", "backward", "images"), 0
        )
    )

    def __post_init__(self) -> None:
        self.net.register_forward_hook(self._count)
        self.net.set_drop_path(given(self.config.drop_path))
        self.warm_up = self.config.warm_up_epochs(self.epochs)

    def _count(self, net: torch.nn.Module, inputs: tuple[Any, ...], logits: Tensor) -> None:
        self.counts["forward"] += 1
        self.counts["images"] += len(inputs[0]) * world_size()
        if logits.requires_grad:
            logits.register_hook(self._count_back)

    def _count_back(self, gradient: Tensor) -> None:
        self.counts["backward"] += 1

    def prepare(self, batch: methods.Batch) -> methods.Batch:
        """Augmented; of many processes each gets its part, of images that all drew alike."""
        images, labels = distributed.shard(self.transform.augment(batch[0]), batch[1])
        return images, labels

    def step(self, epoch: int, at: int) -> Metrics:
        """One weight step; before it or with it an architecture step, unless updates are sparse."""
        self.method.begin_epoch(self.net, epoch)
        batch = self.prepare(self.train.batch(epoch, at))
        where = f"search, epoch {epoch + 1}, step {at + 1}"
        update = self.config.arch_update if epoch >= self.warm_up else None
        metrics = self.arch_step(batch, where) if update == "step" else {}
        weights = self.method.weights(training=True)
        if update != "joint":
            weights = {kind: w.detach() for kind, w in weights.items()}
        logits = self.net(batch[0], weights)
        loss = cross_entropy(logits, batch[1])
        if update == "joint":
            self.joint_step(loss, weights, where)
        else:
            descend(loss, self.optimizer, given(self.config.clip), where)
        self.counts["weight"] += 1
        return {"loss": loss.item(), "accuracy": accuracy(logits, batch[1]), **metrics}

    def joint_step(self, loss: Tensor, weights: dict[str, Tensor], where: str) -> None:
        """One backward pass, then a step of the weights and one of the architecture."""
        method = cast(methods.Joint, self.method)
        total = loss + method.penalty(self.net, weights)
        descend(total, self.optimizer, given(self.config.clip), where)
        try:
            method.joint_step()
        except FloatingPointError:
            raise not_finite(where, "--arch-lr or --lr") from None
        self.counts["architecture"] += 1

    def arch_step(self, batch: methods.Batch, where: str) -> Metrics:
        """One architecture step on `batch` and the next validation batch."""
        valid = self.prepare(self.valid.endless(self.counts["architecture"]))
        try:
            metrics = self.method.arch_step(self.net, batch, valid, self.optimizer)
        except FloatingPointError:
            raise not_finite(where, "--arch-lr or --lr") from None
        self.counts["architecture"] += 1
        return metrics

    def end(self, epoch: int) -> dict[str, Any]:
        """Sparse architecture updates, the next learning rate, and the epoch's record."""
        metrics: Metrics = {}
        if self.config.arch_update == "epoch" and epoch >= self.warm_up:
            updates = given(self.config.arch_steps)
            for _ in range(updates):
                # Second order looks at a training batch too: any of this epoch's.
                at = self.counts["architecture"] % self.train.steps
                batch = self.prepare(self.train.batch(epoch, at))
                for name, value in self.arch_step(batch, f"search, epoch {epoch + 1}").items():
                    metrics[name] = metrics.get(name, 0.0) + value / updates
        self.set_lr(epoch + 1)
        weights = self.method.weights(training=False)
        genotype = self.method.genotype()
        for message in collapse(genotype, self.config, self.warned):
            self.progress.warn(message)
        return {
            **metrics,
            "entropy": {kind: round(value, 4) for kind, value in entropy(weights).items()},
            "skips": genotype.skips(),
            "genotype": genotype.to_dict(),
            "weights": {
                kind: [[round(v, 4) for v in row] for row in weights[kind].detach().tolist()]
                for kind in KINDS
            },
        }

    def set_lr(self, epoch: int) -> None:
        """Cosine by epoch, within the stage."""
        c = self.config
        set_lr(self.optimizer, cosine(epoch, self.epochs, given(c.lr), given(c.lr_min)))

    def state(self) -> dict[str, Any]:
        """Everything a resumed search needs."""
        parts = states(net=self.net, optimizer=self.optimizer, method=self.method)
        return {**parts, "counts": dict(self.counts)}

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""
        load_states(state, net=self.net, optimizer=self.optimizer, method=self.method)
        self.counts.update(state["counts"])


def one_shot(
    data: Dataset,
    config: SearchConfig,
    space: Space,
    *,
    seed: int = 0,
    device: str = "auto",
    run: Run | None = None,
    progress: Progress | None = None,
    stop: Stop | None = None,
    precision: str = "fp32",
    compiled: bool = False,
) -> SearchResult:
    """Search `space` on the training split `data` with a one-shot method.

    `config`: resolved (see `resolve_config`). A stratified `data_fraction` of the images is cut
    into halves, one for the weights, one for the architecture; with arch_update=joint all train
    both. `precision`: see `device.autocast`; `compiled`: pass the supernet through torch.compile.
    Seeds torch's global generator. Raises EdartsError.
    """
    session = Session(seed, device, progress=progress, precision=precision, compile=compiled)
    runtime = devices.runtime(session, run, stop)
    transform = Transform.of(data)
    fraction = given(config.data_fraction)
    halves = split_halves(data, fraction, seed)
    if config.arch_update == "joint":
        halves = (search_subset(data, fraction, seed),) * 2
    loaders = [
        Loader(half, given(config.batch_size), seed, stream, runtime.device)
        for half, stream in zip(halves, ("weights", "architecture"), strict=True)
    ]
    seed_all(seed, "method")
    method: methods.OneShot = methods.load(config.method).PLUGIN(space, config, runtime.device)
    warned: set[str] = set()
    history: list[dict[str, Any]] = []
    totals: Counter[str] = Counter()
    seconds = 0.0
    for index, plan in enumerate(method.stages(given(config.epochs))):
        seed_all(seed, "supernet", index)
        net = build_supernet(space, config, data, cells=plan.cells, built=plan.built)
        devices.place(net, runtime.device)
        optimizer = sgd(net, given(config.lr), given(config.momentum), given(config.weight_decay))
        stage = _Stage(
            method,
            net,
            optimizer,
            loaders[0],
            loaders[1],
            transform,
            config,
            plan.epochs,
            runtime.progress,
            warned,
        )
        phase = f"search-{index + 1}" if index else "search"
        loop = Loop(phase, plan.epochs, loaders[0].steps, runtime, describe)
        if compiled:
            net.compile()
        loop(stage)
        history += loop.history
        seconds += loop.seconds
        totals.update(stage.counts)
        seed_all(seed, "method", index + 1)  # the next stage may draw new parameters
    return SearchResult(
        method.genotype(),
        space,
        config,
        {kind: w.detach().cpu() for kind, w in method.weights(training=False).items()},
        history,
        {name: totals[name] for name in ("weight", "architecture")},
        {name: totals[name] for name in ("forward", "backward")},
        totals["images"],
        seconds,
    )


def build_supernet(
    space: Space,
    config: SearchConfig,
    data: Dataset,
    *,
    cells: int,
    built: Mapping[str, Tensor] | None = None,
) -> Supernet:
    """The supernet that a resolved config trains on `data`; `built`: see `Supernet`."""
    return Supernet(
        space,
        cells=cells,
        channels=given(config.channels),
        classes=len(data.classes),
        image=data.shape,
        partial=given(config.partial),
        built=built,
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


def describe(line: dict[str, Any]) -> str:
    """The part of the progress line that an epoch's record gives."""
    genotype = Genotype.from_dict(line["genotype"])
    undecided, skips = line["entropy"], line["skips"]
    return (
        f"entropy {undecided['normal']:.2f}/{undecided['reduce']:.2f}"
        f"  skips {skips['normal']}/{skips['reduce']}  {genotype}"
    )


def collapse(genotype: Genotype, config: SearchConfig, warned: set[str]) -> list[str]:
    """Warnings, once per kind of cell, if over half of its edges carry no convolution."""
    messages = []
    for kind in KINDS:
        edges = genotype.edges(kind)
        free = genotype.count(kind, *PARAMETER_FREE)
        if 2 * free <= len(edges) or kind in warned:
            continue
        warned.add(kind)
        if "attention" not in methods.options(config.method):
            remedy = "--operations without them"
        elif config.arch_update != "epoch":
            remedy = "--arch-update epoch"
        elif config.data_fraction is not None and config.data_fraction > 1 / 6:
            remedy = "a smaller --data-fraction, or a larger share of convolutions in --attention"
        else:
            remedy = "a larger share of convolutions in --attention"
        messages.append(
            f"{free} of {len(edges)} edges of the {kind} cell are skips or pools:"
            f" the search may be collapsing; try {remedy}"
        )
    return messages
