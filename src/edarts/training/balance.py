"""Classes of unequal size: how a training gives a rare class its due.

`loss`: an image weighs in the loss in inverse proportion to the images of its class, so that all
classes count alike. `sampler`: an epoch draws equally many images of each class, those of a rare
one several times. `none`: neither.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from edarts.reporting.trust import unbalanced
from edarts.runs.seeds import permutation


def chosen(given: str, labels: Tensor) -> str:
    """`given`; in place of auto: loss if the classes are unbalanced, else none."""
    if given != "auto":
        return given
    return "loss" if unbalanced(labels.bincount().tolist()) else "none"


def note(given: str, labels: Tensor, classes: Sequence[str]) -> list[str]:
    """What the user should know where it is left to the classes and they are unbalanced; or
    nothing.
    """
    if given != "auto" or chosen(given, labels) == "none":
        return []
    counts: Any = labels.bincount(minlength=len(classes))
    most, least = int(counts.argmax()), int(counts.argmin())
    return [
        f"{counts[most]} images of '{classes[most]}' and {counts[least]} of '{classes[least]}':"
        " classes count alike in the loss (--balance none: not)"
    ]


def class_weights(labels: Tensor, classes: int) -> Tensor:
    """(classes,) float32: N / (number of classes that there are x images of the class); 0 for one
    without images.
    """
    counts = labels.bincount(minlength=classes).float()
    return torch.where(counts > 0, counts.sum() / ((counts > 0).sum() * counts), 0.0)


def weighted(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """The (B, K) logits, whose gradient is that of each image times the weight of its class.

    So any loss that is a sum over images becomes the weighted sum, whatever a recipe's loss is; the
    loss that is shown stays that of images that count alike.
    """
    plain = logits.detach()
    return plain + (logits - plain) * weights[labels][:, None].to(logits.dtype)


def order(labels: Tensor, seed: int, *key: object) -> Tensor:
    """(N,) int64: places of N images, equally many of each class that there is, about, in a random
    order; of a class all images before one comes again.
    """
    members = [torch.nonzero(labels == k).flatten() for k in labels.unique().tolist()]
    shares = torch.arange(len(labels)).tensor_split(len(members))
    found = []
    for number, (mine, share) in enumerate(zip(members, shares, strict=True)):
        times = -(-len(share) // len(mine))
        rounds = [mine[permutation(len(mine), seed, *key, number, n)] for n in range(times)]
        found.append(torch.cat(rounds)[: len(share)])
    return torch.cat(found)[permutation(len(labels), seed, *key, "all")]
