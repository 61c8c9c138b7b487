"""DARTS' gradients against exact ones, and its discretisation against the authors' rule."""

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

from edarts import DartsSpace
from edarts.methods.oneshot import alphas, darts
from edarts.methods.oneshot.alphas import Alphas
from edarts.methods.oneshot.derive import strongest
from edarts.space.genotype import KINDS
from support import authors_rule

SPACE = DartsSpace(("skip_connect", "sep_conv_3x3"), ((0, 2), (1, 2)), ((0, 2), (1, 2)))
XI, MU, DECAY = 0.05, 0.9, 3e-4


class Quadratic(nn.Module):
    """A stand-in for the supernet whose losses are quadratic in w and linear in the weights p."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.w = nn.Parameter(torch.randn(6, dtype=torch.float64, generator=generator))
        self.mix = torch.randn(6, 8, dtype=torch.float64, generator=generator)

    def forward(self, x: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        p = torch.cat([weights[kind].flatten() for kind in KINDS])
        return x @ (self.w * (self.mix @ p))


def squared_error(prediction: Tensor, target: Tensor) -> Tensor:
    return ((prediction - target) ** 2).mean()


@pytest.fixture
def problem(
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[Quadratic, Alphas, list[tuple[Tensor, Tensor]]]:
    for module in (darts, alphas):
        monkeypatch.setattr(module, "cross_entropy", squared_error)
    monkeypatch.setattr(alphas, "accuracy", lambda *_: 0.0)
    torch.manual_seed(1)
    learner = Alphas(SPACE, lr=3e-4, weight_decay=1e-3)
    learner.values = {
        kind: torch.randn(2, 2, dtype=torch.float64).requires_grad_() for kind in KINDS
    }
    batches = [
        (torch.randn(9, 6, dtype=torch.float64), torch.randn(9, dtype=torch.float64))
        for _ in range(2)
    ]
    return Quadratic(), learner, batches


def exact_gradient(
    net: Quadratic,
    learner: Alphas,
    batches: list[tuple[Tensor, Tensor]],
    momentum: Tensor,
) -> Tensor:
    """d L_valid(w'(alpha), alpha) / d alpha by differentiating through the virtual step."""
    (x, y), (xv, yv) = batches
    p = torch.cat([v.softmax(-1).flatten() for v in learner.values.values()])
    w = net.w
    loss = squared_error(x @ (w * (net.mix @ p)), y)
    (g,) = torch.autograd.grad(loss, w, create_graph=True)
    ahead = w - XI * (MU * momentum + g + DECAY * w)
    valid = squared_error(xv @ (ahead * (net.mix @ p)), yv)
    parts = torch.autograd.grad(valid, list(learner.values.values()))
    return torch.cat([part.flatten() for part in parts])


def test_second_order_is_exact_and_first_is_not(
    problem: tuple[Quadratic, Alphas, list[tuple[Tensor, Tensor]]],
) -> None:
    net, learner, batches = problem
    optimizer = torch.optim.SGD(net.parameters(), lr=XI, momentum=MU, weight_decay=DECAY)
    momentum = torch.randn(6, dtype=torch.float64)
    optimizer.state[net.w]["momentum_buffer"] = momentum.clone()
    before = net.w.detach().clone()
    gradient, _ = darts.second_order(net, learner, *batches, optimizer)  # type: ignore[arg-type]
    mine = torch.cat([part.flatten() for part in gradient])
    exact = exact_gradient(net, learner, batches, momentum)
    assert float((mine - exact).norm() / exact.norm()) < 1e-6
    assert torch.equal(net.w.detach(), before)
    loss, _ = alphas.valid_loss(net, learner.softmax(), batches[1])  # type: ignore[arg-type]
    first = torch.cat([part.flatten() for part in learner.gradient(loss)])
    assert float((first - exact).norm() / exact.norm()) > 1e-2


def test_second_order_without_momentum_yet(
    problem: tuple[Quadratic, Alphas, list[tuple[Tensor, Tensor]]],
) -> None:
    net, learner, batches = problem
    optimizer = torch.optim.SGD(net.parameters(), lr=XI, momentum=MU, weight_decay=DECAY)
    gradient, _ = darts.second_order(net, learner, *batches, optimizer)  # type: ignore[arg-type]
    exact = exact_gradient(net, learner, batches, torch.zeros(6, dtype=torch.float64))
    mine = torch.cat([part.flatten() for part in gradient])
    assert float((mine - exact).norm() / exact.norm()) < 1e-6


def test_architecture_gradient_leaves_no_weight_gradients(
    problem: tuple[Quadratic, Alphas, list[tuple[Tensor, Tensor]]],
) -> None:
    net, learner, batches = problem
    loss, _ = alphas.valid_loss(net, learner.softmax(), batches[1])  # type: ignore[arg-type]
    learner.gradient(loss)
    assert net.w.grad is None


def test_discretisation_follows_the_authors() -> None:
    space = DartsSpace()
    for seed in range(50):
        generator = torch.Generator().manual_seed(seed)
        weights = {k: torch.randn(14, 8, generator=generator).softmax(-1) for k in KINDS}
        genotype = space.derive(strongest(space, weights))
        assert genotype in space
        for kind in KINDS:
            assert set(genotype.edges(kind)) == authors_rule(weights[kind], space.operations)
            assert genotype.count(kind, "none") == 0


def test_none_is_never_derived_but_weighs() -> None:
    space = DartsSpace()
    weights = {k: torch.full((14, 8), 0.01) for k in KINDS}
    for w in weights.values():
        w[:, 0] = 0.9
    assert space.derive(strongest(space, weights)).count("normal", "none") == 0
