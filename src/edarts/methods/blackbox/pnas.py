"""PNAS: cells grow by blocks, and a learned predictor says which to try (Liu et al., ECCV 2018).

Level 1 tries every cell of one block. At level b each of the `beam` cells tried at level b - 1 is
widened by every possible block, an ensemble of predictors ranks them all, and the best `beam` are
tried; the last level goes on down its ranking for as long as there are trials. One kind of cell
serves as both, in the reduction cell with stride 2; it gives out all its blocks (methods.md section
12, most of it from memory). The predictor goes on from the fit of the level before.
Differences: `STEPS` full batches in each fit, as the paper's number is not known; with many workers
a level begins when all of the one before have begun.
"""

import copy
import random
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import combinations_with_replacement, product
from typing import Any, Literal

import torch
from optuna.study import Study
from optuna.trial import FrozenTrial
from torch import Tensor, nn

from edarts.config import SearchConfig, given
from edarts.errors import UsageError
from edarts.methods.blackbox.ledger import LedgerSampler, goodness, history
from edarts.seeds import derive
from edarts.space.darts import Space
from edarts.space.encoding import Choices, Encoding
from edarts.space.genotype import INPUTS, Edge, Genotype

DEFAULTS: dict[str, Any] = {
    "operations": "sep_conv_3x3,sep_conv_5x5,sep_conv_7x7,conv_1x7_7x1,skip_connect,avg_pool_3x3,"
    "max_pool_3x3,dil_conv_3x3",
    "beam": 256,
    "surrogate": "mlp",
}
REASONS = {"topology": "its cells grow by blocks of two pairs"}

BLOCKS = 5
HIDDEN = 100
ENSEMBLE = 5  # predictors, each fitted on all but one fifth
STEPS = 200
LR_FIRST, LR = 0.01, 0.002
MEAN = 1.8  # bias of the last layer: a score of 0.86
INITIAL = 0.1  # embeddings begin in +- this
CHUNK = 8192  # cells that are ranked at once

Half = tuple[int, int]
"""Source node and place of the operation."""
Block = tuple[Half, Half]
Cell = tuple[Block, ...]


class Blocks:
    """The encoding: `blocks`, how many there are, and `BLOCK.HALF.source`, `BLOCK.HALF` of each.

    Decisions on blocks that are not there do not count.
    """

    def __init__(self, operations: Sequence[str], blocks: int = BLOCKS) -> None:
        self.operations, self.blocks = tuple(operations), blocks
        self.decisions: dict[str, Sequence[int | str]] = {"blocks": tuple(range(1, blocks + 1))}
        for block in range(blocks):
            for half in range(2):
                self.decisions[f"{block}.{half}.source"] = tuple(range(INPUTS + block))
                self.decisions[f"{block}.{half}"] = self.operations

    def cell(self, choices: Choices) -> Cell:
        """The blocks as numbers, the halves of each sorted."""
        halves = [
            tuple(
                (int(choices[f"{b}.{h}.source"]), self.operations.index(str(choices[f"{b}.{h}"])))
                for h in range(2)
            )
            for b in range(int(choices["blocks"]))
        ]
        return tuple((min(a, b), max(a, b)) for a, b in halves)

    def choices(self, cell: Cell) -> dict[str, int | str]:
        """The inverse of `cell`; what does not count takes its first option."""
        result = {name: options[0] for name, options in self.decisions.items()}
        result["blocks"] = len(cell)
        for b, block in enumerate(cell):
            for h, (source, operation) in enumerate(block):
                result[f"{b}.{h}.source"] = source
                result[f"{b}.{h}"] = self.operations[operation]
        return result

    def widened(self, cell: Cell) -> Iterator[Cell]:
        """`cell` with each block that it may get next, halves not told apart."""
        halves = list(product(range(INPUTS + len(cell)), range(len(self.operations))))
        for first, second in combinations_with_replacement(halves, 2):
            yield (*cell, (first, second))

    def decode(self, choices: Choices) -> Genotype:
        """The cell, normal and reduction alike, all its blocks concatenated."""
        edges = tuple(
            Edge(self.operations[operation], source, INPUTS + b)
            for b, block in enumerate(self.cell(choices))
            for source, operation in block
        )
        concat = tuple(sorted({edge.node for edge in edges}))
        return Genotype(edges, edges, concat, concat)

    def sample(self, generator: random.Random) -> dict[str, int | str]:
        """A cell of all the blocks, drawn uniformly."""
        drawn = {name: generator.choice(options) for name, options in self.decisions.items()}
        return self.choices(self.cell(drawn | {"blocks": self.blocks}))

    def mutate(self, choices: Choices, generator: random.Random) -> dict[str, int | str]:
        """One decision, but for their number, with an option drawn from all."""
        count = int(choices["blocks"])
        name = generator.choice([n for n in self.decisions if n != "blocks" and int(n[0]) < count])
        changed = {n: choices[n] for n in self.decisions}
        return changed | {name: generator.choice(self.decisions[name])}


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

    def __init__(self, kind: Literal["mlp", "lstm"], space: Blocks, seed: int) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(seed, "surrogate"))
            sizes = INPUTS + space.blocks, len(space.operations)
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


def encoding(config: SearchConfig) -> Blocks:
    """Blocks over the config's operations."""
    return Blocks(Space.parse(given(config.operations)).searchable)


class PNAS(LedgerSampler):
    """`beam`: cells that are tried and widened at a level. `surrogate`: `mlp` or `lstm`.

    Raises UsageError if the encoding is not made of `Blocks`.
    """

    encoding: Blocks

    def __init__(
        self,
        encoding: Encoding,
        seed: int = 0,
        beam: int = 256,
        surrogate: Literal["mlp", "lstm"] = "mlp",
    ) -> None:
        if not isinstance(encoding, Blocks):
            raise UsageError("pnas widens cells block by block: it needs the encoding Blocks")
        super().__init__(encoding, seed)
        self.beam, self.surrogate = beam, surrogate
        self._cells: dict[int, Cell] = {}  # of trials by number
        # From level 2 on: when it began, the cells to try, the surrogate as it was then.
        self._levels: list[tuple[datetime, list[Cell], Surrogate]] = []

    def _cell(self, trial: FrozenTrial) -> Cell:
        if trial.number not in self._cells:
            self._cells[trial.number] = self.encoding.cell(trial.params)
        return self._cells[trial.number]

    def plans(self, study: Study, began: Callable[[int], datetime]) -> Iterator[list[Cell]]:
        """The cells to try at each level, best first, each asked for when the last is tried.

        A level's plan learns from what was finished when the first trial of the level began.
        """
        tried = list(self.encoding.widened(()))
        random.Random(derive(self.seed, "level one")).shuffle(tried)
        yield tried
        surrogate = Surrogate(self.surrogate, self.encoding, self.seed)
        for level, blocks in enumerate(range(2, self.encoding.blocks + 1)):
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
                    dict.fromkeys(c for parent in tried for c in self.encoding.widened(parent))
                )
                surrogate = copy.deepcopy(surrogate)
                surrogate.fit(list(known), list(known.values()))
                predicted = surrogate.predict(candidates)
                order = sorted(range(len(candidates)), key=lambda i: -predicted[i])
                last = blocks == self.encoding.blocks
                plan = [candidates[i] for i in (order if last else order[: self.beam])]
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
            if len(other.params) < len(self.encoding.decisions):
                continue  # this one, and those that others are asking for
            cell = self._cell(other)
            begun.add(cell)
            start = other.datetime_start or now
            starts[len(cell)] = min(start, starts.get(len(cell), start))
        for plan in self.plans(study, lambda blocks: starts.get(blocks, now)):
            for cell in plan:
                if cell not in begun:
                    return self.encoding.choices(cell)
        return self.encoding.sample(draw)


PLUGIN = PNAS
