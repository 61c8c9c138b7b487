"""Successive halving in seconds: who is best after equal training time on this machine.

Every round shares its seconds out among those that are left, and keeps the best third (Jamieson
and Talwalkar 2016; Li et al., JMLR 2018, take a third too), with the best found cell and the best
plain network among them, so that both are in the last round. All are trained from scratch in each
round, to the end of the recipe's learning rates, so an accuracy is that of a finished training.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edarts.race.candidates import Candidate
from edarts.reporting.stats import Estimate, paired_proportion, share

KEPT = 3  # of so many one goes on to the next round
FEWEST_EPOCHS = 2  # with less time than these take, a candidate is trained on a part of the images


@dataclass(frozen=True)
class Pace:
    """`seconds`: that an epoch over all images to train on takes, in this `precision`."""

    seconds: float
    precision: str


@dataclass(frozen=True)
class Trial:
    """One training of a race.

    `share`: of the images to train on. `seconds`: of the training; 0 if it failed, as its loss
    became NaN. `evaluation`: seconds of one image's answer. `right`: (N,) 0 or 1, whether each
    image held out is answered right.
    """

    name: str
    round: int
    epochs: int
    share: float
    seconds: float
    evaluation: float
    right: tuple[int, ...]

    @property
    def accuracy(self) -> Estimate:
        """On the images held out, with Wilson's interval."""
        return share(sum(self.right), len(self.right))

    def to_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return asdict(self)


class Trainer(Protocol):
    """What a race asks about a candidate."""

    def pace(self, candidate: Candidate) -> Pace:
        """How long an epoch takes, by a few steps."""

    def train(self, candidate: Candidate, pace: Pace, round: int, plan: tuple[int, float]) -> Trial:
        """Train it from scratch for (epochs, share of the images), judge it on those held out."""


@dataclass
class Race:
    """What is known of a race so far: kept by `save`, which gets `to_dict`, after every step.

    `paces`: of each candidate. `trials`: in their order. `seconds`: for all rounds together.
    """

    trainer: Trainer
    save: Callable[[Mapping[str, Any]], None]
    paces: dict[str, Pace]
    trials: list[Trial]
    seconds: float | None = None

    @classmethod
    def of(
        cls,
        trainer: Trainer,
        save: Callable[[Mapping[str, Any]], None],
        saved: Mapping[str, Any] | None = None,
    ) -> "Race":
        """A new race, or one that continues what `saved` knows."""
        known: Mapping[str, Any] = saved or {"paces": {}, "trials": [], "seconds": None}
        paces = {name: Pace(**pace) for name, pace in known["paces"].items()}
        trials = [Trial(**{**trial, "right": tuple(trial["right"])}) for trial in known["trials"]]
        return cls(trainer, save, paces, trials, known["seconds"])

    def to_dict(self) -> dict[str, Any]:
        """All that a killed race needs to continue to the same end."""
        return {
            "paces": {name: asdict(pace) for name, pace in self.paces.items()},
            "trials": [trial.to_dict() for trial in self.trials],
            "seconds": self.seconds,
        }

    def pace(self, candidate: Candidate) -> Pace:
        """How long an epoch of it takes: by its longest training or a few steps, as is faster.

        What is promised too much is taken back by the limit of a training; too little would waste
        what is left of the minutes.
        """
        if candidate.name not in self.paces:
            self.paces[candidate.name] = self.trainer.pace(candidate)
            self.save(self.to_dict())
        estimate = self.paces[candidate.name]
        mine = [t for t in self.trials if t.name == candidate.name and t.seconds > 0]
        if not mine:
            return estimate
        longest = max(mine, key=lambda trial: trial.seconds)
        pace = longest.seconds / (longest.epochs * longest.share)
        return replace(estimate, seconds=min(pace, estimate.seconds))

    def run(self, candidates: Sequence[Candidate], seconds: float, most: int) -> list[Candidate]:
        """Race them; returns them from best to worst.

        `seconds`: for all rounds, unless a race that is continued has its own. `most`: epochs that
        a training takes at most.
        """
        for candidate in candidates:
            self.pace(candidate)
        if self.seconds is None:
            self.seconds = seconds
            self.save(self.to_dict())
        standing, out = list(candidates), list[Candidate]()
        rounds = rounds_of(len(standing))
        for number in range(1, rounds + 1):
            slot = self.seconds / rounds / len(standing)
            ranked = sorted(
                standing, key=lambda one: self._rank(self._trial(one, number, slot, most), one)
            )
            standing = kept(ranked) if number < rounds else ranked
            out = [*(one for one in ranked if one not in standing), *out]
        return [*standing, *out]

    def _trial(self, candidate: Candidate, number: int, slot: float, most: int) -> Trial:
        for trial in self.trials:
            if (trial.name, trial.round) == (candidate.name, number):
                return trial
        # By the first steps, not by how long a training took: so a race that is killed ends as it
        # would have.
        pace = self.paces[candidate.name]
        made = self.trainer.train(candidate, pace, number, plan(slot, pace.seconds, most))
        self.trials.append(made)
        self.save(self.to_dict())
        return made

    def _rank(self, trial: Trial, candidate: Candidate) -> tuple[float, int]:
        """Better first; of two as accurate as each other the smaller one."""
        return -trial.accuracy.value, candidate.costs.parameters

    def last(self, name: str) -> Trial | None:
        """A candidate's trial in the last round that it reached."""
        mine = [trial for trial in self.trials if trial.name == name]
        return mine[-1] if mine else None

    def difference(self, first: str, second: str) -> Estimate | None:
        """Accuracy of the first minus that of the second, image by image, in their last common
        round.
        """
        rounds = [{t.round: t for t in self.trials if t.name == name} for name in (first, second)]
        common = rounds[0].keys() & rounds[1].keys()
        if not common:
            return None
        right = [_answers(one[max(common)]) for one in rounds]
        return paired_proportion(right[0], right[1])


def _answers(trial: Trial) -> NDArray[np.bool_]:
    return np.asarray(trial.right, dtype=bool)


def kept(ranked: Sequence[Candidate]) -> list[Candidate]:
    """The best third, the best found cell, and the best plain network, in their order."""
    best = {one.found: one for one in reversed(ranked)}.values()
    third = ranked[: -(-len(ranked) // KEPT)]
    return [one for one in ranked if one in third or one in best]


def rounds_of(count: int) -> int:
    """How many rounds there are for `count` candidates: the last one has three or fewer."""
    rounds = int(count > 1)
    while count > KEPT:
        count, rounds = -(-count // KEPT), rounds + 1
    return rounds


def plan(seconds: float, pace: float, most: int) -> tuple[int, float]:
    """(epochs, share of the images) that take about `seconds`; at most `most` epochs."""
    epochs = min(most, math.floor(seconds / pace))
    if epochs >= min(FEWEST_EPOCHS, most):
        return epochs, 1.0
    epochs = min(FEWEST_EPOCHS, most)
    return epochs, max(1e-3, seconds / (epochs * pace))
