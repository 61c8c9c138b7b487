"""A training step of the network with DARTS' published second-order cells, on both sides."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from edarts.bench.pairs import (
    CLASSES,
    Comparison,
    Pair,
    Triple,
    counterparts,
    join,
    share_weights,
)
from edarts.bench.textbook import TextbookNetwork, TextbookTraining
from edarts.nn.network import Network
from edarts.nn.operations import count_flops
from edarts.runs.seeds import seed_all
from edarts.space import zoo
from edarts.training.device import place
from edarts.training.optim import cross_entropy, descend, sgd

Forward = Callable[[Tensor], list[Tensor]]
"""Images to logits, and to those of the auxiliary head if there is one."""


class _Sides:
    """A network and its textbook twin with the same weights and a batch."""

    def __init__(self, comparison: Comparison, device: torch.device) -> None:
        genotype = zoo.get("darts.v2").genotype
        seed_all(0, "bench")
        cells, channels = comparison.cells, comparison.channels
        self.auxiliary = comparison.auxiliary
        self.net = Network(
            genotype, cells=cells, channels=channels, classes=CLASSES, auxiliary=self.auxiliary
        )
        edges = {kind: cell.edges for kind, cell in genotype.cells.items()}
        concat = {kind: cell.concat for kind, cell in genotype.cells.items()}
        self.book = TextbookNetwork(edges, concat, cells, channels, CLASSES, self.auxiliary)
        self.parameters = share_weights(self.net, self.book)
        place(self.net, device)
        self.book.to(device)
        self.images = torch.randn(comparison.batch, 3, 32, 32, device=device)
        self.labels = torch.randint(CLASSES, (comparison.batch,), device=device)
        self.dense = self.images.contiguous(memory_format=torch.channels_last)
        self.optimizer = sgd(self.net, 0.025, 0.9, 3e-4)
        self.book_training = TextbookTraining(self.book, 0.025)

    def forward(self, images: Tensor) -> list[Tensor]:
        return list(self.net(images, auxiliary=True)) if self.auxiliary else [self.net(images)]

    def step(self) -> None:
        descend(_loss(self.forward(self.dense), self.labels), self.optimizer, 5.0, "bench")

    def book_step(self) -> None:
        self.book_training.step(self.images, self.labels)

    def agree(self, part: slice) -> list[Triple]:
        """Logits and gradients of the weights: ours, the textbook's, the textbook's in float64."""
        exact = copy.deepcopy(self.book).double()
        book_leaves = [theirs for _, theirs in self.parameters]
        exact_leaves = counterparts(exact, self.book, book_leaves)
        images, labels = self.images[part], self.labels[part]
        leaves = [ours for ours, _ in self.parameters]
        return list(
            zip(
                _results(self.forward, self.dense[part], labels, leaves),
                _results(self.book, images, labels, book_leaves),
                _results(exact, images.double(), labels, exact_leaves),
                strict=True,
            )
        )


def network_pair(comparison: Comparison, device: torch.device) -> Pair:
    """Both sides of a training step."""
    sides = _Sides(comparison, device)
    # Three passes: forward, back to the inputs, back to the weights.
    flops = 3 * 2 * comparison.batch * count_flops(sides.net, sides.net.image, sides.auxiliary)
    return Pair(sides.step, sides.book_step, sides.agree, comparison.batch, flops)


def _loss(outputs: list[Tensor], labels: Tensor) -> Tensor:
    """Cross entropy, and 0.4 times that of the auxiliary head if there is one (DARTS' code)."""
    first, *second = (cross_entropy(logits, labels) for logits in outputs)
    return first + 0.4 * second[0] if second else first


def _results(
    forward: Forward, images: Tensor, labels: Tensor, leaves: list[nn.Parameter]
) -> list[Tensor]:
    """Logits, and the gradients of the leaves in one tensor."""
    outputs = forward(images)
    return [outputs[0], join(torch.autograd.grad(_loss(outputs, labels), leaves))]
