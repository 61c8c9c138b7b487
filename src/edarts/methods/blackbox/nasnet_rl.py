"""NASNet's reinforcement learning: an LSTM draws every decision and learns by PPO from batches of
scores (Zoph et al., CVPR 2018; Schulman et al. 2017).

One layer of 100 units, a softmax for each decision, their product the probability of a genotype;
batches of `BATCH` genotypes, entropy weight 1e-5, baseline the moving average of the scores with
weight 0.95, all weights from U(-0.1, 0.1) (methods.md section 10). `CLIP` and `PASSES` are PPO's
own, as NASNet's paper does not give them [from memory]. Differences: two sums of pairs in a node,
no choice of concatenation; the operations of this project; the baseline begins with the mean of the
first batch; the rate is 0.02 for the paper's 3.5e-4, which serves 1,000 updates and does nothing in
the 20 of a search of 400 networks.
The controller is a function of the ledger: the batches of finished trials, in order, replayed from
the seed. The probability of a proposal under the controller that drew it is kept with the trial.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from optuna.study import Study
from optuna.trial import FrozenTrial
from torch import Tensor, nn

from edarts.config import UNSET, Between
from edarts.methods.blackbox.base import LedgerOptions, LedgerSampler, Wanted
from edarts.methods.blackbox.ledger import goodness, history
from edarts.runs.seeds import derive
from edarts.space.base import SearchSpace


@dataclass(frozen=True)
class Options(LedgerOptions):
    """What can be chosen of the method."""

    trials: Annotated[int, Between(1)] = UNSET
    """Architectures proposed in all; more than before continue a search. If not given, 400: twenty
    batches of 20, from each of which the controller learns once."""
    controller_lr: Annotated[float, Between(1e-12)] = 0.02
    """Learning rate of the controller (Adam)."""


HIDDEN = 100
INITIAL = 0.1  # all weights begin in +- this
BATCH = 20  # genotypes of an update
BATCHES = 20  # updates of a search, unless told otherwise
CLIP, PASSES = 0.2, 3
FARTHEST = 20.0
ENTROPY = 1e-5  # weight of a decision's mean entropy in the objective
BASELINE = 0.95  # its share that stays at every score
KEPT = "edarts:log_probability"


class DecisionController(nn.Module):
    """Draws D decisions, the d-th among `sizes[d]` options; each is told what the last one took."""

    def __init__(self, sizes: Sequence[int]) -> None:
        super().__init__()
        self.sizes = tuple(sizes)
        widest = max(sizes)
        self.lstm = nn.LSTM(HIDDEN, HIDDEN, batch_first=True)
        self.start = nn.Parameter(torch.empty(HIDDEN))
        self.embedding = nn.Parameter(torch.empty(len(sizes), widest, HIDDEN))
        self.head = nn.Parameter(torch.empty(len(sizes), widest, HIDDEN))
        self.bias = nn.Parameter(torch.empty(len(sizes), widest))
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -INITIAL, INITIAL)
        closed = torch.arange(widest) >= torch.tensor(self.sizes)[:, None]
        self.closed: Tensor
        self.register_buffer("closed", closed)

    def forward(self, choices: Tensor) -> tuple[Tensor, Tensor]:
        """Options (B, D) -> log of their probability (B,), mean entropy of the decisions (B,)."""
        at = torch.arange(len(self.sizes))
        taken = self.embedding[at[:-1], choices[:, :-1]]  # (B, D - 1, HIDDEN)
        inputs = torch.cat([self.start.expand(len(choices), 1, -1), taken], dim=1)
        hidden, _ = self.lstm(inputs)
        logits = torch.einsum("bdh,dkh->bdk", hidden, self.head) + self.bias
        log = logits.masked_fill(self.closed, -torch.inf).log_softmax(dim=-1)
        spread = -(log.exp() * log.masked_fill(self.closed, 0.0)).sum(dim=-1)
        return log.gather(2, choices[..., None])[..., 0].sum(dim=1), spread.mean(dim=1)

    @torch.no_grad()
    def draw(self, generator: torch.Generator) -> tuple[list[int], float]:
        """One option for every decision, and the log of their probability."""
        x: Tensor = self.start
        state = None
        taken, total = [], 0.0
        for d, size in enumerate(self.sizes):
            hidden, state = self.lstm(x.view(1, 1, -1), state)
            logits = self.head[d, :size] @ hidden.view(-1) + self.bias[d, :size]
            log = logits.log_softmax(dim=0)
            option = int(torch.multinomial(log.exp(), 1, generator=generator))
            taken.append(option)
            total += float(log[option])
            x = self.embedding[d, option]
        return taken, total


def ppo(log_probability: Tensor, old: Tensor, advantage: Tensor) -> Tensor:
    """The clipped objective's negative, (B,), (B,), (B,) -> () (Schulman et al. 2017, eq. 7).

    What has become `FARTHEST` more or less probable in logarithms teaches no more: a ratio of e^89
    is infinite, and all weights would become NaN.
    """
    ratio = (log_probability - old).clamp(-FARTHEST, FARTHEST).exp()
    return -torch.minimum(ratio * advantage, ratio.clamp(1 - CLIP, 1 + CLIP) * advantage).mean()


class Learner:
    """The controller after some batches, from `seed`."""

    def __init__(self, sizes: Sequence[int], seed: int, lr: float) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(seed, "controller"))
            self.controller = DecisionController(sizes)
        self.optimizer = torch.optim.Adam(self.controller.parameters(), lr=lr)
        self.baseline: float | None = None
        self.seen: list[int] = []  # numbers of the trials that it learned from

    def learn(self, choices: Tensor, old: Tensor, rewards: Sequence[float]) -> None:
        """One batch: options (B, D), the log of their probability when drawn (B,), scores."""
        if self.baseline is None:
            self.baseline = sum(rewards) / len(rewards)
        advantages = []
        for reward in rewards:
            advantages.append(reward - self.baseline)
            self.baseline = BASELINE * self.baseline + (1 - BASELINE) * reward
        for _ in range(PASSES):
            log_probability, entropy = self.controller(choices)
            loss = ppo(log_probability, old, torch.tensor(advantages)) - ENTROPY * entropy.mean()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()


class NasnetRL(LedgerSampler):
    """Draws from the controller that the ledger's batches have taught."""

    Options: ClassVar[type] = Options
    SPACE: ClassVar[str] = "enas"
    PLANTED: ClassVar[Mapping[str, Any] | None] = {"trials": 600}
    DEFAULTS: ClassVar[Mapping[str, Any]] = {
        "operations": "skip_connect,sep_conv_3x3,sep_conv_5x5,sep_conv_7x7,avg_pool_3x3,"
        "max_pool_3x3,dil_conv_3x3,conv_1x1,conv_3x3,conv_1x7_7x1"
    }
    PAPER: ClassVar[Mapping[str, Any]] = {
        "trials": 20_000,
        "controller_lr": 3.5e-4,
        "cells": 8,
        "epochs": 20,
    }
    EARLIER: ClassVar[Mapping[str, Any]] = {**LedgerSampler.EARLIER, "controller_lr": 3.5e-4}

    def __init__(self, space: SearchSpace, seed: int = 0, options: Any = None) -> None:
        super().__init__(space, seed, options)
        self.choices = [list(options) for options in space.decisions().values()]
        self._learner = self._new()

    @classmethod
    def wanted(cls, method: str, options: Any, space: SearchSpace) -> Wanted:
        why = f"its controller learns for the first time from the first {BATCH}"
        return Wanted(BATCHES * BATCH, BATCH + 1, why)

    def _new(self) -> Learner:
        sizes = [len(options) for options in self.choices]
        return Learner(sizes, self.seed, self.options.controller_lr)

    def learner(self, study: Study) -> Learner:
        """The controller that the ledger describes; goes on from the last call if that fits."""
        done = history(study)
        whole = len(done) // BATCH * BATCH
        numbers = [trial.number for trial in done[:whole]]
        if self._learner.seen != numbers[: len(self._learner.seen)]:
            self._learner = self._new()
        for first in range(len(self._learner.seen), whole, BATCH):
            batch = done[first : first + BATCH]
            choices = torch.tensor([self._places(trial) for trial in batch])
            with torch.no_grad():
                now = self._learner.controller(choices)[0].tolist()
            old = torch.tensor(
                [t.system_attrs.get(KEPT, other) for t, other in zip(batch, now, strict=True)]
            )
            self._learner.learn(choices, old, [goodness(study, trial) for trial in batch])
            self._learner.seen += [trial.number for trial in batch]
        return self._learner

    def _places(self, trial: FrozenTrial) -> list[int]:
        names = self.space.decisions()
        return [
            options.index(trial.params[name])
            for name, options in zip(names, self.choices, strict=True)
        ]

    def propose(
        self, study: Study, trial: FrozenTrial, draw: random.Random
    ) -> dict[str, int | str]:
        generator = torch.Generator().manual_seed(draw.getrandbits(62))
        places, log_probability = self.learner(study).controller.draw(generator)
        study._storage.set_trial_system_attr(trial._trial_id, KEPT, log_probability)
        return {
            name: options[place]
            for name, options, place in zip(
                self.space.decisions(), self.choices, places, strict=True
            )
        }


PLUGIN = NasnetRL
