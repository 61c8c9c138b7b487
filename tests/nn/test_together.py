"""Terms computed together equal the same terms computed one by one."""

import copy

import pytest
import torch
from torch import Tensor, nn

from edarts import DartsSpace, Network, Supernet
from edarts.nn import cells
from edarts.nn.kernels import Term, together
from edarts.space import zoo
from edarts.space.genotype import KINDS

Results = tuple[Tensor, list[Tensor | None], list[Tensor]]


def passed(net: nn.Module, x: Tensor, *arguments: object) -> Results:
    """Output, gradients of the parameters, and the buffers after it."""
    y = net(x, *arguments)
    y.square().sum().backward()
    return y.detach(), [p.grad for p in net.parameters()], [*net.buffers()]


def same(one: Results, other: Results) -> None:
    torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@pytest.fixture
def joined(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Terms are computed together on the CPU too; of how many each time, is counted."""
    counts: list[int] = []

    def counting(terms: dict[int, Term]) -> dict[int, Term]:
        done = together(terms)
        counts.append(len(done))
        return done

    monkeypatch.setattr(cells, "worthwhile", lambda x: True)
    monkeypatch.setattr(cells, "together", counting)
    return counts


@pytest.mark.parametrize("fraction", [1.0, 0.25])
def test_a_supernet(fraction: float, joined: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    net = Supernet(DartsSpace(), cells=3, channels=8, classes=5, channel_fraction=fraction).double()
    other = copy.deepcopy(net)
    x = torch.randn(4, 3, 9, 9).double()  # an odd size: halves of stride two are uneven
    weights = {kind: torch.rand(14, 8).double().softmax(-1).requires_grad_() for kind in KINDS}
    mine = passed(net, x, weights)
    learned = [weights[kind].grad for kind in KINDS]
    # Two cells of each three read all sources: four edges leave the inputs, three the first node.
    assert joined[:6] == [16, 16, 12, 8, 0, 0]
    monkeypatch.undo()
    for kind in KINDS:
        weights[kind].grad = None
    same(mine, passed(other, x, weights))
    torch.testing.assert_close(learned, [weights[kind].grad for kind in KINDS])


def test_a_skipped_operation_is_not_computed(joined: list[int]) -> None:
    torch.manual_seed(0)
    net = Supernet(DartsSpace(), cells=1, channels=4, classes=5)
    weights = {kind: torch.zeros(14, 8) for kind in KINDS}
    for kind in KINDS:
        weights[kind][:, 4] = 1  # the separable convolution of 3 x 3 on every edge
    net(torch.randn(2, 3, 8, 8), weights).sum().backward()
    assert joined[:6] == [4, 4, 3, 2, 0, 0]


def test_a_network_with_scaled_norms(joined: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    found = zoo.get("darts.v1").architecture
    net = Network(found, cells=3, channels=8, classes=5).double()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight)
            nn.init.uniform_(module.bias)
    other = copy.deepcopy(net)
    x = torch.randn(4, 3, 16, 16).double()
    mine = passed(net, x)
    assert sum(joined) > 0
    monkeypatch.undo()
    same(mine, passed(other, x))


def test_in_evaluation_each_is_computed_alone(joined: list[int]) -> None:
    net = Supernet(DartsSpace(), cells=1, channels=4, classes=5).eval()
    weights = {kind: torch.rand(14, 8) for kind in KINDS}
    net(torch.randn(2, 3, 8, 8), weights)
    assert not any(joined)
