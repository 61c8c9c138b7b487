"""The supernet against the textbook one, against the network, and its skipping of zeros."""

import random

import pytest
import torch
from torch import Tensor, nn

from edarts import DartsSpace, Network, Supernet, UsageError
from edarts.bench.pairs import share_weights
from edarts.bench.textbook import TextbookSupernet
from edarts.nn.cells import Cell
from edarts.nn.kernels import Term
from edarts.nn.operations import SepConv, count_parameters
from edarts.space.genotype import KINDS, Edge, Genotype


def random_weights(
    space: DartsSpace, seed: int, dtype: torch.dtype = torch.float32
) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        kind: torch.randn(space.shape(kind), generator=generator, dtype=dtype)
        .softmax(-1)
        .requires_grad_()
        for kind in KINDS
    }


def one_hot(space: DartsSpace, genotype: Genotype) -> dict[str, Tensor]:
    result = {}
    for kind in KINDS:
        matrix = torch.zeros(len(space.edges(kind)), len(space.operations))
        for op, source, node in genotype.edges(kind):
            row = space.edges(kind).index((source, node))
            matrix[row, space.operations.index(op)] = 1
        result[kind] = matrix
    return result


@pytest.mark.parametrize(
    ("dtype", "bound", "cells"), [(torch.float32, 1e-5, 5), (torch.float64, 1e-10, 3)]
)
def test_equals_textbook(dtype: torch.dtype, bound: float, cells: int) -> None:
    torch.manual_seed(3)
    space = DartsSpace()
    ours = Supernet(space, cells=cells, channels=4, classes=7).to(dtype)
    rows = {kind: space.edges(kind) for kind in KINDS}
    book = TextbookSupernet(space.operations, rows, cells, 4, 7).to(dtype)
    parameters = share_weights(ours, book)
    x = torch.randn(8, 3, 8, 8, dtype=dtype)
    labels = torch.arange(8) % 7
    weights = random_weights(space, 1, dtype)
    theirs = {kind: w.detach().clone().requires_grad_() for kind, w in weights.items()}

    def relative(a: Tensor, b: Tensor) -> float:
        return ((a - b).norm() / b.norm().clamp_min(1e-30)).item()

    logits = ours.to(memory_format=torch.channels_last)(x, weights)
    expected = book(x, theirs)
    assert relative(logits, expected) < bound
    nn.functional.cross_entropy(logits, labels).backward()
    nn.functional.cross_entropy(expected, labels).backward()
    gradients = [(a.grad, b.grad) for a, b in parameters]
    gradients += [(weights[kind].grad, theirs[kind].grad) for kind in KINDS]
    # Alike for all together: single ones are zero by symmetry (a convolution before a norm).
    mine = torch.cat([a.flatten() for a, _ in gradients if a is not None])
    its = torch.cat([b.flatten() for _, b in gradients if b is not None])
    assert mine.shape == its.shape
    assert relative(mine, its) < bound
    for a, b in gradients:
        assert a is not None
        assert b is not None
        assert float((a - b).norm()) < bound * max(float(b.norm()), float(its.norm()) / 30)


def test_published_size() -> None:
    assert count_parameters(Supernet(DartsSpace(), cells=8, channels=16, classes=10)) == 1_930_618


@pytest.mark.parametrize(
    ("subset", "size"),
    [
        (f"SS{n}", size)
        for n, size in enumerate([0.928, 1.143, 1.334, 0.737, 1.000, 1.071, 1.596, 1.668], start=1)
    ],
)
def test_subset_sizes(subset: str, size: float) -> None:
    net = Supernet(DartsSpace.parse(subset), cells=8, channels=16, classes=10)
    assert round(count_parameters(net) / 1e6, 3) == size


@pytest.mark.parametrize("seed", range(3))
def test_one_hot_weights_are_the_network(seed: int) -> None:
    torch.manual_seed(seed)
    space = DartsSpace()
    genotype = space.sample(random.Random(seed))
    supernet = Supernet(space, cells=5, channels=4, classes=5)
    network = Network(genotype, cells=5, channels=4, classes=5, affine=False)
    network.stem.load_state_dict(supernet.stem.state_dict())
    network.classifier.load_state_dict(supernet.classifier.state_dict())
    for kind, mine, its in zip(supernet.kinds, supernet.cells, network.cells, strict=True):
        assert isinstance(mine, Cell)
        assert isinstance(its, Cell)
        its.preprocess.load_state_dict(mine.preprocess.state_dict())
        candidates = [Edge(op, *edge) for edge in space.edges(kind) for op in space.operations]
        for edge, slot in zip(its.edges, its.slots, strict=True):
            source = mine.slots[candidates.index(edge)]
            assert slot is not None
            assert source is not None
            its.operations[slot].load_state_dict(mine.operations[source].state_dict())
    x = torch.randn(6, 3, 16, 16)
    torch.testing.assert_close(supernet(x, one_hot(space, genotype)), network(x))


def test_zero_weight_is_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    space = DartsSpace()
    net = Supernet(space, cells=3, channels=4, classes=3)
    called: set[int] = set()
    real = SepConv.term

    def recorded(self: SepConv, x: Tensor) -> Term:
        called.add(self.first.depthwise.kernel_size[0])
        return real(self, x)

    monkeypatch.setattr(SepConv, "term", recorded)
    weights = {kind: w.detach().clone() for kind, w in random_weights(space, 0).items()}
    column = space.operations.index("sep_conv_5x5")
    for w in weights.values():
        w[:, column] = 0
    net(torch.randn(2, 3, 8, 8), weights).sum().backward()
    assert called == {3}
    for module in net.modules():
        if isinstance(module, SepConv):
            skipped = module.first.depthwise.kernel_size[0] == 5
            assert all((p.grad is None) == skipped for p in module.parameters())


def test_a_closed_gate_that_needs_a_gradient_gets_one() -> None:
    space = DartsSpace(("skip_connect", "sep_conv_3x3"))
    net = Supernet(space, cells=3, channels=4, classes=3)
    x = torch.randn(4, 3, 8, 8)
    gates = {kind: torch.tensor([[1.0, 0.0]]).repeat(14, 1).requires_grad_() for kind in KINDS}
    needs_grad = {kind: torch.ones(14, 2, dtype=torch.bool) for kind in KINDS}
    net(x, gates)[:, 0].sum().backward()
    assert gates["normal"].grad is not None
    assert float(gates["normal"].grad[:, 1].abs().sum()) == 0
    gates["normal"].grad = None
    net(x, gates, needs_grad)[:, 0].sum().backward()
    assert float(gates["normal"].grad[:, 1].abs().sum()) > 0


def test_all_zero_node_and_wrong_shape() -> None:
    space = DartsSpace(("skip_connect",))
    net = Supernet(space, cells=3, channels=4, classes=3)
    zeros = {kind: torch.zeros(14, 1) for kind in KINDS}
    assert net(torch.randn(2, 3, 9, 9), zeros).shape == (2, 3)
    with pytest.raises(UsageError, match="shape"):
        net(torch.randn(2, 3, 8, 8), {kind: torch.zeros(14, 2) for kind in KINDS})


def test_a_weight_of_two_counts_twice() -> None:
    space = DartsSpace(("avg_pool_3x3",), ((0, 2), (1, 2)), ((0, 2), (1, 2)))
    net = Supernet(space, cells=1, channels=4, classes=3)
    x = torch.randn(4, 3, 8, 8)
    outputs = {}
    for weight in (1.0, 2.0):
        chosen = {kind: torch.full((2, 1), weight) for kind in KINDS}
        outputs[weight] = net.features(
            x, {kind: list(w.flatten().unbind()) for kind, w in chosen.items()}, of=[-1]
        )[1]
    torch.testing.assert_close(outputs[2.0], 2 * outputs[1.0])


def test_drop_path_of_a_supernet_is_below_one() -> None:
    """At one nothing would be left to divide by."""
    net = Supernet(DartsSpace(("skip_connect",)), cells=2, channels=4, classes=3)
    net.set_drop_path(0.99)
    with pytest.raises(UsageError, match=r"drop.path.*1\.0"):
        net.set_drop_path(1.0)


@pytest.mark.parametrize("channel_fraction", [0, -0.5, 0.3, 0.75, 2, float("nan")])
def test_a_fraction_is_one_over_a_whole_number(channel_fraction: float) -> None:
    with pytest.raises(UsageError, match="channel_fraction must be 1, 1/2, 1/3"):
        Supernet(DartsSpace(), cells=1, channels=4, classes=2, channel_fraction=channel_fraction)
