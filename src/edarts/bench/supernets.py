"""Steps of DARTS' search in a supernet: ours, those of the method itself, beside the textbook's."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from edarts import registry
from edarts.bench.pairs import (
    CIFAR,
    CLASSES,
    Comparison,
    Pair,
    Step,
    Triple,
    counterparts,
    join,
    share_weights,
)
from edarts.bench.textbook import TextbookSearch, TextbookSupernet
from edarts.config import SearchConfig
from edarts.methods.oneshot import driver as oneshot
from edarts.nn.operations import count_flops
from edarts.nn.supernet import Supernet
from edarts.runs.seeds import seed_all
from edarts.space.darts import DartsSpace
from edarts.training.device import place
from edarts.training.optim import cross_entropy, descend, sgd

# Passes through the network that a step takes: forward, back to the inputs, back to the weights.
# The second order has two such passes with gradients of the weights, and two without.
PASSES = {"weight": 3, "arch": 2, "second_order": 3 + 3 + 2 + 2}


class _Sides:
    """A supernet and its textbook twin with the same weights, alphas and two batches."""

    def __init__(self, comparison: Comparison, device: torch.device) -> None:
        seed_all(0, "bench")
        cells, channels = comparison.cells, comparison.channels
        space = DartsSpace.parse(comparison.operations, comparison.topology)
        self.net = Supernet(space, cells=cells, channels=channels, classes=CLASSES)
        rows = {group: space.edges(group) for group in space.groups}
        self.book = TextbookSupernet(space.operations, rows, cells, channels, CLASSES)
        self.parameters = share_weights(self.net, self.book)
        place(self.net, device)
        self.book.to(device)
        size = (comparison.batch, 3, 32, 32)
        self.images = [torch.randn(size, device=device) for _ in range(2)]
        self.labels = [torch.randint(CLASSES, size[:1], device=device) for _ in range(2)]
        self.dense = [x.contiguous(memory_format=torch.channels_last) for x in self.images]
        self.method = _darts(space, comparison.step == "second_order", device)
        self.optimizer = sgd(self.net, 0.025, 0.9, 3e-4)
        self.book_alphas = {
            kind: value.detach().clone().requires_grad_() for kind, value in self.alphas.items()
        }
        self.book_search = TextbookSearch(self.book, self.book_alphas)

    @property
    def alphas(self) -> dict[str, Tensor]:
        values: dict[str, Tensor] = self.method.alphas.values
        return values

    def fixed_weights(self) -> dict[str, Tensor]:
        """The weights of the operations, without a gradient."""
        return {kind: w.detach() for kind, w in self.method.weights(training=True).items()}

    def weight_step(self) -> None:
        loss = cross_entropy(self.net(self.dense[0], self.fixed_weights()), self.labels[0])
        descend(loss, self.optimizer, 5.0, "bench")

    def arch_step(self) -> None:
        """One step of the method, which is first order or second as the comparison says."""
        valid, train = zip(self.dense, self.labels, strict=True)
        self.method.arch_step(self.net, train, valid, self.optimizer)

    def book_second_order_step(self) -> None:
        (valid, train), (valid_labels, train_labels) = self.images, self.labels
        self.book_search.second_order_step(valid, valid_labels, train, train_labels)

    def agree(self, part: slice) -> list[Triple]:
        """Logits, gradients of the weights and of alpha: ours, the textbook's, in float64."""
        exact = copy.deepcopy(self.book).double()
        exact_alphas = {
            kind: alpha.detach().double().requires_grad_()
            for kind, alpha in self.book_alphas.items()
        }
        book_leaves = [theirs for _, theirs in self.parameters]
        exact_leaves = counterparts(exact, self.book, book_leaves)
        images, labels = self.images[0][part], self.labels[0][part]
        leaves = [ours for ours, _ in self.parameters]
        return list(
            zip(
                _results(self.net, self.alphas, self.dense[0][part], labels, leaves),
                _results(self.book, self.book_alphas, images, labels, book_leaves),
                _results(exact, exact_alphas, images.double(), labels, exact_leaves),
                strict=True,
            )
        )


def supernet_pair(comparison: Comparison, device: torch.device) -> Pair:
    """Both sides of a step of a search: `weight`, `arch` or `second_order`."""
    sides = _Sides(comparison, device)
    book, first = sides.book_search, (sides.images[0], sides.labels[0])
    steps: dict[str, tuple[Step, Step]] = {
        "weight": (sides.weight_step, lambda: book.weight_step(*first)),
        "arch": (sides.arch_step, lambda: book.arch_step(*first)),
        "second_order": (sides.arch_step, sides.book_second_order_step),
    }
    multiply_adds = count_flops(sides.net, sides.net.image, sides.fixed_weights())
    flops = PASSES[comparison.step] * 2 * comparison.batch * multiply_adds
    return Pair(*steps[comparison.step], sides.agree, comparison.batch, flops)


def _darts(space: DartsSpace, second_order: bool, device: torch.device) -> Any:
    """DARTS as `edarts search --method darts` makes it, with new alphas."""
    order = 2 if second_order else 1
    config = SearchConfig.of("darts", operations=",".join(space.operations), order=order)
    config, _, _ = oneshot.resolve_config(config, CIFAR, CLASSES)
    return registry.get("methods", "darts")(space, config, device)


def _results(
    net: nn.Module,
    alphas: Mapping[str, Tensor],
    images: Tensor,
    labels: Tensor,
    leaves: list[nn.Parameter],
) -> list[Tensor]:
    """Logits, and the gradients of the leaves and of the alphas in one tensor each."""
    logits = net(images, {kind: alpha.softmax(-1) for kind, alpha in alphas.items()})
    loss = cross_entropy(logits, labels)
    gradients = torch.autograd.grad(loss, [*leaves, *alphas.values()])
    return [logits, join(gradients[: len(leaves)]), join(gradients[len(leaves) :])]
