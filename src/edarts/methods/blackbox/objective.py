"""Objective: genotype -> score, from training, from a supernet's weights, or from a table.

An objective is a plain value that can be sent to another process. The scores are accuracies on
images of the training split, 0..1; the test split is not read.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from edarts.config import DataConfig, SearchConfig, TrainConfig, is_black_box
from edarts.config.reading import parse_json, read_text
from edarts.data.batches import Transform
from edarts.data.dataset import Dataset
from edarts.data.splits import stratified_split
from edarts.errors import EdartsError, UsageError, one_line, unknown
from edarts.methods.blackbox.base import TRAINING
from edarts.methods.oneshot.driver import build_supernet, search_subset, split_halves
from edarts.methods.oneshot.resolve import resolve_config
from edarts.runs.folder import Run, read_settings, reading
from edarts.runtime import Runtime
from edarts.space import architecture
from edarts.space.base import Architecture, SearchSpace
from edarts.training import evaluation, fit
from edarts.training.device import open_device, place

HELD_OUT = 0.2  # share of the images that judge a network trained on the others
SCORES = ("train", "supernet", "table")


Objective = Callable[[Architecture, int], float]
"""(architecture, seed of weights and batches) -> score; raises EdartsError if there is none."""


@dataclass(frozen=True)
class Trained:
    """Accuracy on `valid` after training on `data` from scratch by `recipe`."""

    data: Dataset
    valid: Dataset
    recipe: TrainConfig
    device: str = "auto"

    def __call__(self, found: Architecture, seed: int) -> float:
        runtime = Runtime(open_device(self.device), seed)
        network = fit.build(found, self.recipe, self.data, seed)
        fitted = fit.fit(network, self.data, self.recipe, runtime)
        return evaluation.evaluate(network, self.valid, fitted.transform, runtime).accuracy


@dataclass(frozen=True)
class Inherited:
    """Accuracy on `valid` with the weights of a trained supernet, norms on each batch's statistics.

    The seed changes nothing.
    """

    net: nn.Module
    space: SearchSpace
    valid: Dataset
    transform: Transform
    batch_size: int
    device: str = "auto"

    @torch.no_grad()
    def __call__(self, found: Architecture, seed: int) -> float:
        if not self.space.supports(found):
            raise EdartsError(f"the supernet does not have all of {found}")
        device = open_device(self.device)
        net = place(self.net, device)
        net.train()  # the running statistics are those of mixtures, not of one cell
        weights = {g: w.to(device) for g, w in self.space.weights_of(found).items()}
        right = 0
        for images, labels in zip(
            self.valid.chunks(self.batch_size),
            self.valid.labels.split(self.batch_size),
            strict=True,
        ):
            logits = net(self.transform.normalise(images.to(device)), weights)
            right += int((logits.argmax(dim=1).cpu() == labels).sum())
        return right / len(self.valid)


@dataclass(frozen=True)
class ScoreTable:
    """The score that `scores` has for the genotype's digest. The seed changes nothing."""

    name: str
    scores: Mapping[str, float]

    def __call__(self, found: Architecture, seed: int) -> float:
        score = self.scores.get(found.digest())
        if score is None:
            raise EdartsError(f"{self.name} has no score for {found}")
        return score


def parse_score(text: str) -> tuple[str, str]:
    """`train` -> (train, ""); `table:FILE` -> (table, FILE). Raises UsageError."""
    kind, _, path = text.partition(":")
    if kind not in SCORES:
        raise unknown("score", kind, SCORES)
    if (kind == "train") == bool(path):
        what = {"train": "no file", "supernet": "a one-shot run's folder", "table": "a JSON file"}
        raise UsageError(f"--score {kind} takes {what[kind]} after it")
    return kind, path


def objective(
    data: Dataset, source: DataConfig, config: SearchConfig, *, seed: int, device: str
) -> Objective:
    """The objective that a resolved config names, on the training split `data` of `source`.

    With score=train a stratified `data_fraction` of the images is cut in two: `HELD_OUT` of them
    judge. Raises EdartsError.
    """
    kind, path = parse_score(config.options.score)
    if kind == "table":
        return read_table(Path(path))
    if kind == "supernet":
        with reading(path):
            return _inherited(data, source, Path(path), device)
    data = search_subset(data, config.data_fraction, seed)
    rest, held = stratified_split(data.labels.numpy(), HELD_OUT, seed, stream="held out")
    recipe = TrainConfig(
        **{name: getattr(config, name) for name in TRAINING if name != "data_fraction"}
    )
    train_part, valid = (data.subset(torch.from_numpy(part)) for part in (rest, held))
    return Trained(train_part, valid, fit.resolve_config(recipe, len(rest)), device)


def read_table(path: Path) -> ScoreTable:
    """From JSON: a list of {"genotype": as in genotype.json, "accuracy": 0..1}.

    Genotypes that differ in the numbers of their nodes alone are the same. Raises EdartsError that
    names the file and the entry.
    """
    try:
        entries = parse_json(read_text(path))
    except FileNotFoundError:
        raise EdartsError(f"{path}: no such file; give a JSON table of genotypes") from None
    except (OSError, ValueError) as error:
        raise EdartsError(f"{path}: cannot be read as JSON: {error}") from None
    if not isinstance(entries, list) or not entries:
        raise EdartsError(f'{path}: expected a list of {{"genotype": ..., "accuracy": ...}}')
    scores: dict[str, float] = {}
    for index, entry in enumerate(entries):
        where = f"{path}, entry {index}"
        if not isinstance(entry, dict) or not {"genotype", "accuracy"} <= set(entry):
            raise EdartsError(f'{where}: expected {{"genotype": ..., "accuracy": ...}}')
        accuracy = entry["accuracy"]
        if isinstance(accuracy, bool) or not isinstance(accuracy, int | float):
            raise EdartsError(f"{where}: accuracy must be a number, got {accuracy!r}")
        try:
            digest = architecture.from_dict(entry["genotype"]).digest()
        except UsageError as error:
            raise EdartsError(f"{where}: {error}") from None
        if scores.setdefault(digest, accuracy) != accuracy and not math.isnan(accuracy):
            raise EdartsError(f"{where}: the same genotype has another accuracy further up")
    return ScoreTable(str(path), scores)


def _inherited(data: Dataset, source: DataConfig, run: Path, device: str) -> Inherited:
    """The supernet of a finished one-shot run; judged by the images of its architecture steps."""
    if not (run / "config.yaml").exists():
        raise EdartsError(f"{run}: no run folder; give that of a one-shot search")
    settings = read_settings(run)
    if "method" not in settings or is_black_box(str(settings["method"])):
        raise UsageError(f"{run}: not the run of a one-shot search, so it has no supernet")
    _check_source(run, DataConfig.from_settings(settings), source)
    config = SearchConfig.from_settings(settings)
    config, space, _ = resolve_config(config, len(data), len(data.classes))
    states = {k: v for k, v in Run(run).states().items() if k.startswith("search")}
    if set(states) != {"search"}:
        what = "no supernet" if not states else "several supernets, none of which has all"
        raise UsageError(f"{run}: holds {what}; give the run of a search with one supernet")
    if states["search"]["epoch"] < config.epochs:
        raise EdartsError(f"{run}: its search is not finished; continue it first")
    net = build_supernet(space, config, data)
    try:
        net.load_state_dict(states["search"]["state"]["net"])
    except (KeyError, RuntimeError) as error:
        reason = one_line(error)[:120]
        raise EdartsError(f"{run}: its supernet does not fit its config: {reason}") from None
    _, valid = split_halves(data, config.data_fraction, settings["seed"])
    return Inherited(net, space, valid, Transform.of(data), config.batch_size, device)


def _check_source(run: Path, own: DataConfig, source: DataConfig) -> None:
    """Raises UsageError if a run's supernet was trained on other data than `source`."""
    if own != source:
        differs = next(n for n in vars(own) if getattr(own, n) != getattr(source, n))
        raise UsageError(
            f"{run}: its supernet was trained on other data: {differs} is"
            f" {getattr(own, differs)} there, {getattr(source, differs)} now"
        )
