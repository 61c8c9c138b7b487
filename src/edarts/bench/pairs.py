"""What is compared: a step, and a pair of ours and the textbook's.

Both sides get the same weights and the same batch, random images of 32 x 32 in ten classes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from edarts.nn.cells import Cell

CLASSES = 10
CIFAR = 50_000  # training images of CIFAR-10

Step = Callable[[], object]
Triple = tuple[Tensor, Tensor, Tensor]
"""A result of our side, of the textbook, and of the textbook in float64."""


@dataclass(frozen=True)
class Comparison:
    """A step to compare, and the size of the network in which it is taken."""

    name: str
    """What its row is called."""
    step: Literal["weight", "arch", "second_order", "train"]
    """The first three are steps of a search, in a supernet; `train` is a training step of the
    network with DARTS' published second-order cells."""
    cells: int
    """At least 3, so that both kinds of cell occur."""
    channels: int
    """Channels of the first cells; the stem has three times as many."""
    batch: int
    """Images of a batch."""
    operations: str = "all"
    """Candidates of the supernet, as in `DartsSpace.Options.operations`."""
    topology: str = "all"
    """Edges of the supernet, as in `DartsSpace.Options.topology`."""
    auxiliary: bool = False
    """Whether the network has an auxiliary head."""


@dataclass(frozen=True)
class Pair:
    """Both sides of a comparison: what is timed, and what must agree."""

    ours: Step
    textbook: Step
    agree: Callable[[slice], list[Triple]]
    """Called with a slice of the batch, it returns logits and gradients of it."""
    batch: int
    """Images of a batch."""
    flops: int
    """Operations of one of our steps, two for each multiply-add."""


def share_weights(ours: nn.Module, book: nn.Module) -> list[tuple[nn.Parameter, nn.Parameter]]:
    """Give the textbook's supernet or network our weights; returns pairs of (our, its) parameters.

    A supernet's edges are read row by row of the weights; `none` has no parameters. Raises
    AssertionError if the textbook has parameters of which ours has no counterpart.
    """
    pairs: list[Any] = [(ours.stem, book.stem), (ours.classifier, book.classifier)]
    for mine, its in zip(ours.cells, book.cells, strict=True):  # type: ignore[arg-type]
        assert isinstance(mine, Cell)
        pairs += _pairs_of_cell(mine, its)
    if hasattr(book, "auxiliary"):
        pairs.append((ours.auxiliary, book.auxiliary))
    found = []
    for one, other in pairs:
        for a, b in zip(_leaves(one), _leaves(other), strict=True):
            b.load_state_dict(a.state_dict())
            found += list(zip(a.parameters(), b.parameters(), strict=True))
    if len(found) != len(list(book.parameters())):
        raise AssertionError("the two sides differ in their parameters")
    return found


def _pairs_of_cell(mine: Cell, its: Any) -> list[tuple[nn.Module, nn.Module]]:
    pairs = [(mine.preprocess[0], its.pre0), (mine.preprocess[1], its.pre1)]
    flat = [
        operation
        for edge in its.edges
        for operation in (edge if isinstance(edge, nn.ModuleList) else [edge])
    ]
    for slot, operation in zip(mine.slots, flat, strict=True):
        if slot is not None:
            pairs.append((mine.operations[slot], operation))
    return pairs


def _leaves(module: nn.Module) -> list[nn.Module]:
    """Modules with parameters of their own, in the order in which both sides build them."""
    return [m for m in module.modules() if any(True for _ in m.parameters(recurse=False))]


def counterparts(
    copied: nn.Module, original: nn.Module, parameters: Sequence[nn.Parameter]
) -> list[nn.Parameter]:
    """The parameters of `copied`, a copy of `original`, in the order of `parameters`."""
    both = zip(original.parameters(), copied.parameters(), strict=True)
    found = {id(parameter): other for parameter, other in both}
    return [found[id(parameter)] for parameter in parameters]


def join(tensors: Sequence[Tensor]) -> Tensor:
    """All tensors in one, flat."""
    return torch.cat([tensor.flatten() for tensor in tensors])
