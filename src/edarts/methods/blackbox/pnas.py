"""PNAS: cells grow by blocks, and a learned predictor says which to try (Liu et al., ECCV 2018).

Level 1 tries every cell of one block. At level b each of the `beam` cells tried at level b - 1 is
widened by every possible block, an ensemble of predictors ranks them all, and the best `beam` are
tried; the last level goes on down its ranking for as long as there are trials, and the best cell
of the last level is what is found. One kind of cell
serves as both, in the reduction cell with stride 2; it gives out all its blocks (methods.md section
12, most of it from memory). The predictor goes on from the fit of the level before.
The predictor ends in a sigmoid, so scores are accuracies, 0..1. Differences: a beam of 16 for the
paper's 256; `STEPS` full batches in each fit, as the paper's number is not known; with many workers
a level begins when all of the one before have begun.
"""

import copy
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import comb
from typing import Annotated, Any, ClassVar, Literal

import torch
from optuna.study import Study
from optuna.trial import FrozenTrial
from torch import Tensor, nn

from edarts.config import UNSET, Between
from edarts.errors import UsageError
from edarts.methods.blackbox.base import LedgerOptions, LedgerSampler, Wanted
from edarts.methods.blackbox.ledger import goodness, history
from edarts.runs.seeds import derive
from edarts.space.base import SearchSpace
from edarts.space.blocks import FIRST, BlockSpace, Cell

HIDDEN = 100
ENSEMBLE = 5  # predictors, each fitted on all but one fifth
STEPS = 200
LR_FIRST, LR = 0.01, 0.002
MEAN = 1.8  # bias of the last layer: a score of 0.86
INITIAL = 0.1  # embeddings begin in +- this
CHUNK = 8192  # cells that are ranked at once


@dataclass(frozen=True)
class Options(LedgerOptions):
    """What can be chosen of the method."""

    trials: Annotated[int, Between(1)] = UNSET
    """Architectures proposed in all; more than before continue a search. If not given, those of
    level 1 (136 with eight operations) and `beam` at each of the four others."""
    beam: Annotated[int, Between(1)] = 16
    """Cells tried, and widened, at each level."""
    surrogate: Literal["mlp", "lstm"] = "mlp"
    """What predicts scores."""


class Predictor(nn.Module):
    """Score of cells of b blocks: (N, b, 4) with source, source, operation, operation -> (N,).

    `mlp`: the embeddings of a block side by side, averaged over the blocks, two hidden layers.
    `lstm`: the last state after the 4 b embeddings.
    """

    def __init__(self, kind: Literal["mlp", "lstm"], sources: int, operations: int) -> None:
        super().__init__()
        self.source = nn.Embedding(sources, HIDDEN)
        self.operation = nn.Embedding(operations, HIDDEN)
        for table in (self.source, self.operation):
            nn.init.uniform_(table.weight, -INITIAL, INITIAL)
        self.lstm = nn.LSTM(HIDDEN, HIDDEN, batch_first=True) if kind == "lstm" else None
        self.layers = nn.Sequential(
            nn.Linear(4 * HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU()
        )
        if kind == "lstm":
            self.layers = nn.Sequential()
        self.last = nn.Linear(HIDDEN, 1)
        nn.init.constant_(self.last.bias, MEAN)

    def forward(self, cells: Tensor) -> Tensor:
        tokens = torch.cat([self.source(cells[..., :2]), self.operation(cells[..., 2:])], dim=2)
        if self.lstm is not None:
            hidden = self.lstm(tokens.flatten(1, 2))[1][0][-1]  # (N, HIDDEN)
        else:
            hidden = self.layers(tokens.flatten(2).mean(dim=1))
        logits: Tensor = self.last(hidden)
        return logits[:, 0].sigmoid()


class Surrogate:
    """`ENSEMBLE` predictors, drawn by `seed`; their mean ranks cells."""

    def __init__(self, kind: Literal["mlp", "lstm"], space: BlockSpace, seed: int) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(seed, "surrogate"))
            sizes = FIRST + space.blocks, len(space.operations)
            self.members = [Predictor(kind, *sizes) for _ in range(ENSEMBLE)]
        self.fits = 0

    def fit(self, cells: Sequence[Cell], scores: Sequence[float]) -> None:
        """L1 loss on the cells, for each member those of four fifths (Liu et al. 2018)."""
        for place, member in enumerate(self.members):
            mine = [i for i in range(len(cells)) if i % ENSEMBLE != place] or [0]
            groups = [
                (_tensor([cells[i] for i in rows]), torch.tensor([scores[i] for i in rows]))
                for size in sorted({len(cells[i]) for i in mine})
                if (rows := [i for i in mine if len(cells[i]) == size])
            ]
            optimizer = torch.optim.Adam(member.parameters(), lr=LR if self.fits else LR_FIRST)
            for _ in range(STEPS):
                errors = [(member(x) - y).abs().sum() for x, y in groups]
                optimizer.zero_grad()
                (torch.stack(errors).sum() / len(mine)).backward()
                optimizer.step()
        self.fits += 1

    @torch.no_grad()
    def predict(self, cells: Sequence[Cell]) -> list[float]:
        """The members' mean for cells of one size."""
        chunks = _tensor(cells).split(CHUNK)
        return torch.cat(
            [torch.stack([member(x) for member in self.members]).mean(dim=0) for x in chunks]
        ).tolist()


def _tensor(cells: Sequence[Cell]) -> Tensor:
    """(N, b, 4): source, source, operation, operation of each block."""
    return torch.tensor([[(a[0], b[0], a[1], b[1]) for a, b in cell] for cell in cells])


def _levels(space: BlockSpace, beam: int) -> list[int]:
    """How many cells are tried at each level."""
    found: list[int] = []
    for level in range(space.blocks):
        halves = (FIRST + level) * len(space.operations)
        wider = comb(halves + 1, 2)
        found.append(min(beam, found[-1] * wider) if found else wider)
    return found


class PNAS(LedgerSampler):
    """Widens the best cells block by block. Raises UsageError for a space that has no blocks."""

    Options: ClassVar[type] = Options
    SPACE: ClassVar[str] = "blocks"
    PLANTED: ClassVar[Mapping[str, Any] | None] = {
        "trials": 61,
        "seeds": 3,
        "edges": 20,
    }
    PAPER: ClassVar[Mapping[str, Any]] = {
        "trials": 1160,
        "beam": 256,
        "cells": 6,
        "channels": 24,
        "epochs": 20,
        "lr": 0.01,
    }
    EARLIER: ClassVar[Mapping[str, Any]] = {**LedgerSampler.EARLIER, "beam": 256}
    REASONS: ClassVar[Mapping[str, str]] = {"topology": "its cells grow by blocks of two pairs"}

    space: BlockSpace

    def __init__(self, space: SearchSpace, seed: int = 0, options: Any = None) -> None:
        if not isinstance(space, BlockSpace):
            raise UsageError("pnas widens cells block by block: it needs --space blocks")
        super().__init__(space, seed, options)
        self._cells: dict[int, Cell] = {}  # of trials by number
        # From level 2 on: when it began, the cells to try, the surrogate as it was then.
        self._levels: list[tuple[datetime, list[Cell], Surrogate]] = []

    @classmethod
    def wanted(cls, method: str, options: Any, space: SearchSpace) -> Wanted:
        levels = _levels(space, options.beam) if isinstance(space, BlockSpace) else [1]
        last = sum(levels[:-1])
        why = f"cells of {len(levels)} blocks, which it returns, are tried after the first {last}"
        return Wanted(sum(levels), last + 1, why, "beam")

    def returnable(self, trials: list[FrozenTrial]) -> list[FrozenTrial]:
        """Those of the last level that was reached, as in the paper."""
        levels = [int(trial.params["blocks"]) for trial in trials]
        return [t for t, level in zip(trials, levels, strict=True) if level == max(levels)]

    def _cell(self, trial: FrozenTrial) -> Cell:
        if trial.number not in self._cells:
            self._cells[trial.number] = self.space.cell(trial.params)
        return self._cells[trial.number]

    def plans(self, study: Study, began: Callable[[int], datetime]) -> Iterator[list[Cell]]:
        """The cells to try at each level, best first, each asked for when the last is tried.

        A level's plan learns from what was finished when the first trial of the level began.
        """
        tried = list(self.space.widened(()))
        random.Random(derive(self.seed, "level one")).shuffle(tried)
        yield tried
        surrogate = Surrogate(self.options.surrogate, self.space, self.seed)
        for level, blocks in enumerate(range(2, self.space.blocks + 1)):
            if level == len(self._levels) or self._levels[level][0] != began(blocks):
                del self._levels[level:]
                known = {
                    cell: goodness(study, trial)
                    for trial in history(study)
                    if trial.datetime_complete is not None
                    and trial.datetime_complete <= began(blocks)
                    and len(cell := self._cell(trial)) < blocks
                }
                if not known:
                    return
                candidates = list(
                    dict.fromkeys(c for parent in tried for c in self.space.widened(parent))
                )
                surrogate = copy.deepcopy(surrogate)
                surrogate.fit(list(known), list(known.values()))
                predicted = surrogate.predict(candidates)
                order = sorted(range(len(candidates)), key=lambda i: -predicted[i])
                last = blocks == self.space.blocks
                plan = [candidates[i] for i in (order if last else order[: self.options.beam])]
                self._levels.append((began(blocks), plan, surrogate))
            _, tried, surrogate = self._levels[level]
            yield tried

    def propose(
        self, study: Study, trial: FrozenTrial, draw: random.Random
    ) -> dict[str, int | str]:
        begun: set[Cell] = set()
        starts: dict[int, datetime] = {}
        now = trial.datetime_start or datetime.now()
        for other in study.get_trials(deepcopy=False):
            if len(other.params) < len(self.space.decisions()):
                continue  # this one, and those that others are asking for
            cell = self._cell(other)
            begun.add(cell)
            start = other.datetime_start or now
            starts[len(cell)] = min(start, starts.get(len(cell), start))
        for plan in self.plans(study, lambda blocks: starts.get(blocks, now)):
            for cell in plan:
                if cell not in begun:
                    return self.space.decisions_of(cell)
        return self.space.sample_decisions(draw)


PLUGIN = PNAS
