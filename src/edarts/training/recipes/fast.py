"""fast: the shallow network by the training of the CIFAR-10 speed record (Jordan 2024).

The rate rises and falls once, step by step; momentum is Nesterov's; labels are smoothed; biases and
norms do not decay. Each part can be switched off, so that what it brings can be measured.
"""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor, nn

from edarts.config import Between, TrainConfig, check_fields
from edarts.config import resolve as fill_in
from edarts.training import optim
from edarts.training.recipes.shallow import Shallow

RATE = 0.2 / 128  # highest learning rate for each image of a batch; the paper's is 11.5 / 7850
FIRST, LAST = 0.2, 0.07  # shares of the highest rate at the first and at the last step


class Fast(Shallow):
    """Two thirds of shallow's epochs, or fewer."""

    DEFAULTS: ClassVar[dict[str, object]] = Shallow.DEFAULTS | {"momentum": 0.85}
    IMAGES: ClassVar[int] = 300_000
    EPOCHS: ClassVar[tuple[int, int]] = (8, 20)

    @dataclass(frozen=True)
    class Options:
        """The parts that `shallow` does not have."""

        rise: Annotated[float, Between(0, 1)] = 0.23
        """Share of the steps in which the rate rises, from a fifth of --lr to all of it (0..1); 1:
        no rise and no fall by the step, but shallow's cosine."""
        nesterov: bool = True
        """Whether the momentum is Nesterov's."""
        smoothing: Annotated[float, Between(0, 0.9)] = 0.1
        """Share of each label that is spread over all classes (0..1)."""
        decay_all: bool = False
        """Whether biases and the parameters of norms decay too."""

        def __post_init__(self) -> None:
            check_fields(self)

    def resolve(self, config: TrainConfig, images: int, whole: bool) -> TrainConfig:
        """What `shallow` fills in, and a rate in proportion to the batch."""
        config = fill_in(config, {"batch_size": self.DEFAULTS["batch_size"]})
        return super().resolve(fill_in(config, {"lr": RATE * config.batch_size}), images, whole)

    def optimizer(self, network: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
        options: Any = config.options
        return optim.sgd(
            network,
            config.lr,
            config.momentum,
            config.weight_decay,
            nesterov=options.nesterov,
            decay_all=options.decay_all,
        )

    def lr(self, config: TrainConfig, epoch: int, step: int, steps: int) -> float:
        options: Any = config.options
        if options.rise == 1:
            return super().lr(config, epoch, step, steps)
        return config.lr * triangle(epoch * steps + step, config.epochs * steps, options.rise)

    def loss(self, logits: Tensor, labels: Tensor, config: TrainConfig) -> Tensor:
        options: Any = config.options
        return optim.cross_entropy(logits, labels, options.smoothing)


def triangle(at: int, steps: int, rise: float) -> float:
    """The rate of step `at` (0-based) of `steps`, as a share of the highest: straight up and down.

    From FIRST to 1 in the first `rise` of the steps, then to LAST at the end of the last one.
    """
    peak = max(1, round(rise * steps))
    if at < peak:
        return FIRST + (1 - FIRST) * at / peak
    return 1 + (LAST - 1) * (at - peak) / max(1, steps - peak)


PLUGIN = Fast
