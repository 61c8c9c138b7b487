"""What a black-box method is: an Optuna sampler that proposes a space's decisions.

It only proposes; the driver scores, keeps the ledger and resumes. Any sampler of Optuna's is a
method too (`optuna:NAME`), and each of these works in a plain Optuna study.
"""

import random
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from edarts.config import UNSET, Between
from edarts.errors import UsageError, unknown
from edarts.methods.blackbox.ledger import distributions
from edarts.runs.seeds import derive
from edarts.space.base import SearchSpace


@dataclass(frozen=True)
class LedgerOptions:
    """Options of every black-box method."""

    trials: Annotated[int, Between(1)] = 100
    """Architectures proposed in all; more than before continue a search."""
    score: str = "train"
    """What an architecture is judged by. train: accuracy after a training from scratch, on images
    held out; supernet:RUN, with the weights of a one-shot search; table:FILE, JSON."""
    repeats: Annotated[int, Between(0)] = UNSET
    """How many scores an architecture that is proposed again and again is given; then it gets their
    mean. 0: each proposal is scored. If not given, 0 with score=train, whose scores are noisy, and
    1 with the others, which give the same again."""


@dataclass(frozen=True)
class Wanted:
    """How many trials a method wants.

    `usual`: where none are given. `least`: with fewer it is not yet the method, for what `why`
    says; `smaller`: the option that would let fewer do.
    """

    usual: int = 100
    least: int = 1
    why: str = ""
    smaller: str = ""

    @classmethod
    def of_population(cls, population: int) -> "Wanted":
        """Of a method that changes nothing before it has drawn a population at random."""
        why = f"its first {population} are drawn at random"
        return cls(10 * population, population + 1, why, "population")

    def warning(self, method: str, trials: int) -> str | None:
        """What a user should know of a search of so many trials; None: nothing."""
        if trials >= self.least:
            return None
        smaller = f", or a smaller --{self.smaller}" if self.smaller else ""
        return (
            f"{method}: {trials} trials are too few: {self.why}; give --trials {self.least} or"
            f" more (usual here: {self.usual}){smaller}"
        )


TRAINING: dict[str, Any] = {
    "epochs": 10,
    "batch_size": 128,
    "cells": 5,
    "channels": 16,
    "data_fraction": 1.0,
    "lr": 0.1,
    "momentum": 0.9,
    "weight_decay": 3e-4,
    "clip": 5.0,
    "drop_path": 0.0,
}
"""The shared options with score=train: the recipe of a network, as of a shallow training."""


class BlackBox(BaseSampler):
    """What the driver knows of a method, beside that it is an Optuna sampler.

    `Options`: its own options, beside those of `LedgerOptions`. `DEFAULTS`: its values for options
    of its space, `SPACE`. `REASONS`: why it does not take an option. `PLANTED`: the arguments with
    which it finds the planted best of the contract tests; None: it need not, as it does not learn.
    `PAPER`: the options at which its paper ran, as far as they are published. `EARLIER`: what its
    options had as defaults in version 0.1, with which a run of then goes on.
    """

    Options: ClassVar[type] = LedgerOptions
    DEFAULTS: ClassVar[Mapping[str, Any]] = {}
    REASONS: ClassVar[Mapping[str, str]] = {}
    SPACE: ClassVar[str] = "darts"
    PLANTED: ClassVar[Mapping[str, Any] | None] = {}
    PAPER: ClassVar[Mapping[str, Any]] = {}
    EARLIER: ClassVar[Mapping[str, Any]] = {"trials": 100, "repeats": 1}
    is_black_box: ClassVar[bool] = True

    @classmethod
    def taken(cls) -> dict[str, Any]:
        """The shared options that it takes, and its space's, with its values for them."""
        return TRAINING | dict(cls.DEFAULTS)

    @classmethod
    def wanted(cls, method: str, options: Any, space: SearchSpace) -> Wanted:
        """How many trials it wants with these options; `method`: the name it was asked for by."""
        return Wanted()

    def returnable(self, trials: list[FrozenTrial]) -> list[FrozenTrial]:
        """Those of the trials with a score that a search may return: all of them."""
        return trials

    @classmethod
    @abstractmethod
    def of(cls, method: str, space: SearchSpace, seed: int, options: Any) -> BaseSampler:
        """The sampler; `method`: the name it was asked for by. Raises UsageError."""


class LedgerSampler(BlackBox, ABC):
    """A sampler whose proposal is a function of the ledger, the trial's number and the seed.

    It proposes all decisions of `space` together. What it keeps in memory only saves it from
    computing the same again. `options`: its `Options`; None: their defaults.
    """

    def __init__(self, space: SearchSpace, seed: int = 0, options: Any = None) -> None:
        self.space, self.seed = space, seed
        self.options = self.Options() if options is None else options
        self._distributions = distributions(space)

    @classmethod
    def of(cls, method: str, space: SearchSpace, seed: int, options: Any) -> BaseSampler:
        return cls(space, seed, options)

    @abstractmethod
    def propose(
        self, study: Study, trial: FrozenTrial, draw: random.Random
    ) -> dict[str, int | str]:
        """Decisions for `trial`; `draw` is seeded by its number."""

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return dict(self._distributions)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self.propose(study, trial, random.Random(derive(self.seed, trial.number)))

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Refused: such a parameter is none of the space's. Raises UsageError."""
        known = self._distributions.get(param_name)
        if isinstance(known, CategoricalDistribution):
            raise UsageError(f"{param_name}: its options are {', '.join(map(str, known.choices))}")
        raise unknown("parameter of the sampler", param_name, self._distributions)
