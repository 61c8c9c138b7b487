"""Whether a mirrored image keeps its meaning, measured on training images.

A network that has not seen mirrored images answers images held out, and their mirror images. Where
mirroring is harmless these are just further images of their class, and it is right about as many.
Where it is not, as for letters, or hands that point, it is wrong about those of some class.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from edarts.errors import NotFinite
from edarts.race.candidates import Candidate
from edarts.race.halving import plan
from edarts.race.trainer import OnHeldOut
from edarts.reporting.stats import Estimate, holm, paired_proportion, wilson
from edarts.training import distributed

# How much less accurate a network may be on mirror images that are harmless, which it has not
# learned from; and at most by the interval, which a few thousand images make as wide.
TOLERATED, AT_MOST = 0.03, 0.05
IN_A_CLASS = 0.1  # likewise, in a class of at least so many images held out:
FEWEST = 20
SURE = 0.01  # p of the test of McNemar below which a class is held to suffer, by Holm
EPOCHS = 3  # that the network is trained for at most


@dataclass(frozen=True)
class Mirroring:
    """`harmless`: None where it cannot be told. `difference`: accuracy on mirror images minus that
    on the images.
    """

    harmless: bool | None
    difference: Estimate


def measure(trainer: OnHeldOut, probe: Candidate, seconds: float | None) -> Mirroring | None:
    """By a short training of `probe`, without mirroring, of about `seconds`.

    None if it cannot be trained.
    """
    unseen = replace(trainer, data=replace(trainer.data, flip=False))
    pace = unseen.pace(probe)
    shown = (EPOCHS, 1.0) if seconds is None else plan(seconds, pace.seconds, EPOCHS)
    _, held = unseen.split()
    with unseen.folder("mirroring") as run:
        try:
            fitted = unseen.fitted(probe, pace, "mirroring", shown, run)
        except NotFinite:
            return None
        turned = replace(fitted, network=Turned(fitted.network))
        answers = [unseen.right(one, held)[0] for one in (fitted, turned)]
    right = [np.asarray(distributed.of_main([*map(float, one)])) > 0 for one in answers]
    return judge(right[0], right[1], held.labels.numpy())


class Turned(nn.Module):
    """(B, C, H, W) -> what `network` answers to the mirror images."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.network(x.flip(3))
        return answer


def judge(
    plain: NDArray[np.bool_], mirror: NDArray[np.bool_], labels: NDArray[np.int64]
) -> Mirroring:
    """From (N,) whether images and their mirror images are answered right, and their classes."""
    whole = paired_proportion(mirror, plain)
    assert whole.low is not None and whole.high is not None
    classes = [labels == k for k in np.unique(labels)]
    each = [paired_proportion(mirror[mine], plain[mine]) for mine in classes]
    p = holm([one.p for one in each])
    suffers = any(
        one.value < -IN_A_CLASS and (chance or 0.0) < SURE
        for one, chance in zip(each, p, strict=True)
    )
    if suffers or (whole.high < 0 and whole.value < -TOLERATED):
        return Mirroring(False, whole)
    largest = max(int(mine.sum()) for mine in classes) / len(labels)
    # Who has learned little answers mirror images as well as others: at chance.
    learned = wilson(int(plain.sum()), len(plain))[0] > (1 + largest) / 2
    spared = all(one.value >= -IN_A_CLASS or one.n < FEWEST for one in each)
    harmless = learned and spared and whole.value >= -TOLERATED and whole.low > -AT_MOST
    return Mirroring(True if harmless else None, whole)
