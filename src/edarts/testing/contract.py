"""Contract tests that every method must pass, and small problems to run them on.

Written for this project's methods and for anyone's: `check_method("name")` runs them all. They use
plain asserts and need no test framework.
"""

import dataclasses
import math
import random
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import optuna
import torch
from scipy.stats import binomtest
from torch import Tensor, nn

from edarts.config import SearchConfig
from edarts.data.dataset import Dataset
from edarts.errors import EdartsError, Interrupted, UsageError
from edarts.methods.blackbox import driver as blackbox
from edarts.methods.blackbox import ledger
from edarts.methods.blackbox import registry_ as samplers
from edarts.methods.oneshot import driver as oneshot
from edarts.methods.oneshot import registry_ as methods
from edarts.methods.oneshot.base import weights_of
from edarts.methods.oneshot.driver import SearchResult
from edarts.runs import pool as parallel
from edarts.runs.folder import Run
from edarts.runs.stop import Stop
from edarts.seeds import derive
from edarts.space.darts import Space
from edarts.space.encoding import suggest
from edarts.space.genotype import KINDS, Genotype

SEED = 0


def tiny_config(method: str, **changes: object) -> SearchConfig:
    """A search of seconds: 3 cells, 4 channels, 3 epochs; `changes` replace fields.

    What is tiny here and the method does not take is left out. One that sets its own number of
    architecture steps makes two, one that searches all 14 edges has 8.
    """
    base: dict[str, object] = {
        "epochs": 3,
        "batch_size": 8,
        "cells": 3,
        "channels": 4,
        "operations": "skip_connect,sep_conv_3x3,max_pool_3x3",
        "data_fraction": 1.0,
        "samples": 8,
    }
    own = methods.options(method)
    if own["arch_steps"] is not None:
        base["arch_steps"] = 2
    if own["topology"] == "all":
        base["topology"] = "0"
    return SearchConfig(method, **(taken(method, base) | changes))  # type: ignore[arg-type]


def taken(method: str, fields: Mapping[str, object]) -> dict[str, object]:
    """Those of the SearchConfig fields that the method takes."""
    known = methods.options(method)
    return {name: value for name, value in fields.items() if name in known}


def tiny_data(images: int = 48, classes: int = 3, seed: int = SEED) -> Dataset:
    """Grey 8 x 8 images whose brightness tells the class, under noise."""
    generator = torch.Generator().manual_seed(derive(seed, "tiny"))
    labels = torch.arange(images) % classes
    noise = torch.randint(0, 40, (images, 8, 8, 1), generator=generator)
    pixels = noise + (labels * (200 // classes)).view(-1, 1, 1, 1)
    return Dataset(pixels.to(torch.uint8), labels, tuple(map(str, range(classes))), "tiny")


def planted_data(images: int = 600, seed: int = SEED) -> Dataset:
    """Two classes that only a convolution in the cells can tell apart.

    Grey 16 x 16 images with three pairs of bright pixels, four pixels apart: across in class 0,
    down in class 1. The stem sees three pixels at once, so it finds the same bright pixels in both
    classes, and skip connections add nothing to what it sees.
    """
    generator = torch.Generator().manual_seed(derive(seed, "planted"))
    side, apart, pairs = 16, 4, 3
    labels = torch.arange(images) % 2
    pixels = torch.full((images, side, side), 60.0)
    image = torch.arange(images)
    for _ in range(pairs):
        along = torch.randint(0, side - apart, (images,), generator=generator)
        aside = torch.randint(0, side, (images,), generator=generator)
        for place in (along, along + apart):
            rows = torch.where(labels == 0, aside, place)
            columns = torch.where(labels == 0, place, aside)
            pixels[image, rows, columns] = 220
    pixels += 10 * torch.randn(pixels.shape, generator=generator)
    grey = pixels.clamp(0, 255).to(torch.uint8)[..., None]
    return Dataset(grey, labels, ("across", "down"), "planted", flip=False)


class PlantedNet(nn.Module):
    """Looks like a supernet; how well it classifies is a known function of the weights.

    `quality`: {kind: (E, K)}. The margin of the right class is the sum of weight * quality, times
    a scale that is trained, less the difficulty of the image; so loss and accuracy are best for
    the cell of highest quality.
    """

    def __init__(self, quality: dict[str, Tensor], hardest: float) -> None:
        super().__init__()
        self.quality, self.hardest = quality, hardest
        self.scale = nn.Parameter(torch.ones(()))
        self.cells = nn.ModuleList()
        self.kinds: list[str] = []
        self.image = (1, 8, 8)

    def margin(self, weights: Mapping[str, Tensor]) -> Tensor:
        """Sum of weight * quality."""
        return torch.stack([(weights[kind] * self.quality[kind]).sum() for kind in KINDS]).sum()

    def forward(
        self, x: Tensor, weights: Mapping[str, Tensor], wanted: object | None = None
    ) -> Tensor:
        """x (B, C, H, W) -> logits (B, 2).

        Its mean has the sign of the label, and size 2 + d for an image of difficulty d in [-1, 1].
        """
        mean = x.mean(dim=(1, 2, 3))
        margin = self.margin(weights) * self.scale - (mean.abs() - 2) * self.hardest
        return torch.stack([-mean.sign() * margin, mean.sign() * margin], dim=1)


def run_search(
    config: SearchConfig, data: Dataset, run: Run | None = None, stop: Stop | None = None
) -> SearchResult:
    """The search of `config` on `data`, on the CPU."""
    resolved, space, _ = oneshot.resolve_config(config, len(data), len(data.classes))
    return oneshot.one_shot(data, resolved, space, seed=SEED, device="cpu", run=run, stop=stop)


def same(first: SearchResult, second: SearchResult) -> bool:
    """Whether two searches ended in the same genotype and bit-identical weights."""
    return first.genotype == second.genotype and all(
        torch.equal(first.weights[kind], second.weights[kind]) for kind in KINDS
    )


class _StopAfter(Stop):
    """Does not ask to stop for a number of steps, and then does."""

    def __init__(self, asked: int) -> None:
        self.left = asked

    @property
    def requested(self) -> bool:
        self.left -= 1
        return self.left < 0

    @requested.setter
    def requested(self, value: bool) -> None:
        raise AssertionError("set by counting")


def check_seeds(method: str) -> None:
    """The same seed gives the same genotype and weights; another seed other weights."""
    data, config = tiny_data(), tiny_config(method)
    first = run_search(config, data)
    assert same(first, run_search(config, data)), f"{method}: the same seed gave another result"
    resolved, space, _ = oneshot.resolve_config(config, len(data), len(data.classes))
    other = oneshot.one_shot(data, resolved, space, seed=SEED + 1, device="cpu")
    assert not same(first, other), f"{method}: the seed changes nothing"


def check_space(method: str) -> None:
    """The genotype lies in the space: its own, the 14-edge cell, a fixed topology.

    A method may refuse another space than its own.
    """
    for topology in (None, "all", "7"):
        try:
            found = run_search(tiny_config(method, topology=topology), tiny_data())
        except UsageError:
            assert topology is not None, f"{method}: refuses its own space"
            continue
        assert found.space.holds(found.genotype), f"{method}: a genotype outside its space"


def check_one_operation(method: str) -> None:
    """A space with one operation works and returns it."""
    found = run_search(tiny_config(method, operations="skip_connect"), tiny_data())
    assert all(edge.operation == "skip_connect" for edge in found.genotype.normal)


def check_resume(method: str) -> None:
    """Stopped in the middle of an epoch and continued, a search ends bit-identically."""
    data, config = tiny_data(), tiny_config(method)
    whole = run_search(config, data)
    with tempfile.TemporaryDirectory() as folder:
        try:
            run_search(config, data, Run(Path(folder)), _StopAfter(3))
            raise AssertionError(f"{method}: did not stop")
        except Interrupted:
            pass
        continued = run_search(config, data, Run(Path(folder)))
    assert same(whole, continued), f"{method}: resuming changed the result"
    assert whole.steps == continued.steps


def check_planted_cell(method: str, **changes: object) -> None:
    """On a problem with a known best cell, that cell is found, from a start that favours another.

    Every edge has its own best operation, never the first, which the start favours threefold; all
    others do harm. A method that draws whole cells cannot be expected to meet the very best one of
    millions: its cell must be better than nine in ten drawn uniformly. `changes`: fields.
    """
    names = ("max_pool_3x3", "skip_connect", "sep_conv_3x3", "dil_conv_3x3")
    base: dict[str, object] = {
        "operations": ",".join(names),
        "topology": "0",
        "attention": f"{names[0]}=3," + ",".join(f"{name}=1" for name in names[1:]),
        "arch_lr": 0.03,
        "samples": 50,
    }
    exact = "attention" in methods.options(method)
    if not exact:
        del base["topology"]
    config = tiny_config(method, **(taken(method, base) | changes))
    resolved, space, _ = oneshot.resolve_config(config, 48, 2)
    torch.manual_seed(derive(SEED, "planted cell"))
    best = {kind: torch.randint(1, len(names), (len(space.topology(kind)),)) for kind in KINDS}
    quality = {
        kind: (0.1 * torch.rand(len(place), len(names)) - 0.5).scatter(1, place[:, None], 1.0)
        for kind, place in best.items()
    }
    hardest = float(sum(len(place) for place in best.values()))
    net = PlantedNet(quality, hardest)
    learner = methods.load(method).PLUGIN(space, resolved, torch.device("cpu"))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, weight_decay=3e-4)
    sign, difficulty = torch.tensor([-1.0, 1.0]).repeat(32), torch.linspace(-1, 1, 64)
    images = (sign * (2 + difficulty)).view(-1, 1, 1, 1).expand(-1, 1, 8, 8)
    labels = (sign > 0).long()
    for _ in range(150):
        learner.arch_step(net, (images, labels), (images, labels), optimizer)
    genotype = learner.genotype()
    if exact:
        for kind in KINDS:
            found = tuple(edge.operation for edge in genotype.edges(kind))
            wanted = tuple(names[int(k)] for k in best[kind])
            assert found == wanted, f"{method}: {kind} cell {found}, planted {wanted}"
    else:
        draw = random.Random(SEED)
        others = [_quality(net, space, space.sample(draw)) for _ in range(300)]
        rank = sum(other > _quality(net, space, genotype) for other in others) / len(others)
        assert rank <= 0.1, f"{method}: {rank:.0%} of all cells are better than {genotype}"


def _quality(net: PlantedNet, space: Space, genotype: Genotype) -> float:
    return float(net.margin(weights_of(space, genotype, torch.device("cpu"))))


def check_planted_images(method: str, **changes: object) -> None:
    """A whole search finds the convolutions that an image problem needs, against its start.

    The start gives skip connections half as much weight again as convolutions, and the search must
    turn most edges of the two cells round. `changes`: SearchConfig fields.
    """
    base: dict[str, object] = {
        "operations": "skip_connect,sep_conv_3x3",
        "attention": "skip_connect=1.5,sep_conv_3x3=1",
        "topology": "0",
        "cells": 4,
        "channels": 8,
        "epochs": 10,
        "batch_size": 50,
        "lr": 0.1,
        "arch_lr": 0.1,
        "arch_weight_decay": 0.0,
        "samples": 20,
    }
    if "attention" not in methods.options(method):
        del base["topology"]
    config = tiny_config(method, **(taken(method, base) | changes))
    found = run_search(config, planted_data())
    edges = [edge for kind in KINDS for edge in found.genotype.edges(kind)]
    right = sum(edge.operation == "sep_conv_3x3" for edge in edges)
    assert 2 * right > len(edges), f"{method}: planted operation on {right} of {len(edges)} edges"


def check_refusal(method: str) -> None:
    """An operation that does not exist is refused by name."""
    try:
        run_search(dataclasses.replace(tiny_config(method), operations="sep_conv_9x9"), tiny_data())
    except EdartsError as error:
        assert "sep_conv_9x9" in str(error)
    else:
        raise AssertionError(f"{method}: an unknown operation was accepted")


CHECKS: tuple[Callable[..., None], ...] = (
    check_seeds,
    check_space,
    check_one_operation,
    check_resume,
    check_planted_cell,
    check_planted_images,
    check_refusal,
)


def check_method(method: str, **images: object) -> None:
    """All of the contract, for a method of this project by name.

    `images`: SearchConfig fields that the method needs to solve `check_planted_images` in seconds,
    against the schedule of its paper.
    """
    methods.load(method)
    for check in CHECKS:
        check(method, **images) if check is check_planted_images else check(method)


# -- black-box methods ---------------------------------------------------------------------------

PLANTED = "sep_conv_3x3"


@dataclasses.dataclass(frozen=True)
class PlantedScore:
    """The share of edges that carry `PLANTED`, of `edges` edges or of all there are, if more.

    `fails`: genotypes with an even number of planted edges in the normal cell raise an error, or
    score NaN.
    """

    edges: int = 0
    fails: Literal["no", "raise", "nan"] = "no"

    def __call__(self, genotype: Genotype, seed: int) -> float:
        right = sum(genotype.count(kind, PLANTED) for kind in KINDS)
        if self.fails != "no" and genotype.count("normal", PLANTED) % 2 == 0:
            if self.fails == "raise":
                raise ValueError("an even number")
            return math.nan
        every = sum(len(genotype.edges(kind)) for kind in KINDS)
        return right / max(self.edges, every)


def tiny_ledger_config(method: str, **changes: object) -> SearchConfig:
    """A black-box search of 40 trials over three operations, on a fixed topology if it has any."""
    base: dict[str, object] = {
        "trials": 40,
        "operations": f"skip_connect,{PLANTED},max_pool_3x3",
        "topology": "0",
        "population": 20,
        "tournament": 5,
        "beam": 10,
        "arch_lr": 0.02,
    }
    known = samplers.options(method)
    return SearchConfig(method, **({k: v for k, v in base.items() if k in known} | changes))  # type: ignore[arg-type]


def run_ledger(
    config: SearchConfig,
    score: Callable[[Genotype, int], float],
    *,
    seed: int = SEED,
    storage: str | None = None,
    pool: parallel.Pool | None = None,
) -> tuple[blackbox.BlackBoxResult, list[tuple[dict[str, object], float | None]]]:
    """What a search found, and (choices, score) of every trial of its ledger, in memory or stored.

    Scores are computed where the pool is, if one is given.
    """
    config, encoding = blackbox.resolve_config(config)
    sampler = blackbox.make_sampler(encoding, config, seed)
    study = (
        optuna.create_study(sampler=sampler, direction="maximize")
        if storage is None
        else ledger.open_study(storage, "test", sampler)
    )
    found = blackbox.black_box(study, encoding, score, config, seed=seed, pool=pool)
    return found, [(trial.params, trial.value) for trial in study.get_trials(deepcopy=False)]


def check_ledger_seeds(method: str) -> None:
    """The same seed gives the same trials; another seed others."""
    config = tiny_ledger_config(method)
    _, first = run_ledger(config, PlantedScore())
    assert first == run_ledger(config, PlantedScore())[1], f"{method}: another result"
    assert first != run_ledger(config, PlantedScore(), seed=1)[1], f"{method}: seed without effect"
    assert len(first) == config.trials


class _Killed(BaseException):
    """As a kill would: nothing gets to clean up."""


def check_ledger_resume(method: str) -> None:
    """Killed in the middle of a trial and continued from the file: the same trials."""
    config = tiny_ledger_config(method)
    _, whole = run_ledger(config, PlantedScore())
    left = 25

    def score(genotype: Genotype, seed: int) -> float:
        nonlocal left
        left -= 1
        if left == 0:
            raise _Killed
        return PlantedScore()(genotype, seed)

    with tempfile.TemporaryDirectory() as folder:
        storage = f"sqlite:///{folder}/ledger.db"
        try:
            run_ledger(config, score, storage=storage)
            raise AssertionError(f"{method}: was not killed")
        except _Killed:
            pass
        _, continued = run_ledger(config, PlantedScore(), storage=storage)
    assert whole == continued, f"{method}: killed and continued, it went on otherwise"


def check_ledger_failures(method: str) -> None:
    """Errors and NaN are recorded, tried once more, and never win."""
    ways: tuple[Literal["raise", "nan"], ...] = ("raise", "nan")
    for fails in ways:
        config = tiny_ledger_config(method, trials=30)
        found, trials = run_ledger(config, PlantedScore(fails=fails))
        right = found.genotype.count("normal", PLANTED)
        assert right % 2 == 1, f"{method}: a failed genotype won"
        failed = [str(choices) for choices, value in trials if value is None]
        assert failed and found.trials["failed"] == len(failed)
        assert all(failed.count(choices) % 2 == 0 for choices in failed), f"{method}: not retried"


def check_ledger_planted(
    method: str,
    trials: int = 300,
    seeds: int = 6,
    draws: int = 20_000,
    edges: int = 0,
    **changes: object,
) -> None:
    """The planted best is found in far fewer trials than random search would need.

    `edges`: see `PlantedScore`; where cells can be small, a few lucky edges must not do. For each
    of the seeds: is the best reached within `trials`? How likely that is by random draws is counted
    on `draws` of them. The binomial test must reject, at 0.001, that the method reaches it no more
    often.
    """
    config = tiny_ledger_config(method, trials=trials, **changes)
    _, encoding = blackbox.resolve_config(config)
    draw = random.Random(SEED)
    score = PlantedScore(edges)
    drawn = [score(encoding.decode(encoding.sample(draw)), 0) for _ in range(draws)]
    chance = 1 - (1 - (sum(s == 1 for s in drawn) + 1) / len(drawn)) ** trials
    hits = sum(run_ledger(config, score, seed=seed)[0].score == 1 for seed in range(seeds))
    p = binomtest(hits, seeds, chance, alternative="greater").pvalue
    assert p < 0.001, f"{method}: {hits} of {seeds}, by chance {chance:.2g} each: p = {p:.2g}"


def check_ledger_plain(method: str) -> None:
    """The sampler works in a plain Optuna study, minimising too."""
    config, encoding = blackbox.resolve_config(tiny_ledger_config(method))
    study = optuna.create_study(sampler=blackbox.make_sampler(encoding, config, SEED))
    study.optimize(lambda trial: -PlantedScore()(suggest(encoding, trial), 0), n_trials=40)
    assert study.best_value <= 0
    assert len({str(trial.params) for trial in study.trials}) > 10


LEDGER_CHECKS: tuple[Callable[..., None], ...] = (
    check_ledger_seeds,
    check_ledger_resume,
    check_ledger_failures,
    check_ledger_planted,
    check_ledger_plain,
)


__all__ = [
    "CHECKS",
    "LEDGER_CHECKS",
    "PlantedNet",
    "PlantedScore",
    "check_method",
    "planted_data",
    "run_ledger",
    "run_search",
    "same",
    "taken",
    "tiny_config",
    "tiny_data",
    "tiny_ledger_config",
]
