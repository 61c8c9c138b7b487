"""Proxyless' gates: their gradient against enumeration, and what a path that is not drawn keeps."""

import itertools
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

from edarts import DartsSpace, SearchConfig, Supernet, UsageError
from edarts.methods.oneshot import driver as oneshot
from edarts.methods.oneshot import proxyless
from edarts.methods.oneshot.derive import strongest
from edarts.nn.cells import Cell
from edarts.nn.kernels import FeatureMap
from edarts.space.genotype import KINDS
from edarts.testing import oneshot as testing
from edarts.testing.problems import tiny_data
from edarts.training.optim import cross_entropy, descend

TINY = DartsSpace(
    ("skip_connect", "sep_conv_3x3", "max_pool_3x3"), ((0, 2), (1, 2)), ((0, 2), (1, 2))
)


def learner(space: DartsSpace, lr: float = 0.006) -> proxyless.Proxyless:
    config, _, _ = oneshot.resolve_config(
        SearchConfig.of("proxyless", operations=",".join(space.operations), arch_lr=lr), 50_000, 10
    )
    torch.manual_seed(0)
    return proxyless.PLUGIN(space, config, torch.device("cpu"))


def test_gate_gradient_is_that_of_the_expected_loss() -> None:
    """A loss linear in the gates: E over which path is open, enumerated, by finite differences."""
    torch.manual_seed(0)
    edges, slope = 3, torch.randn(3, 2, dtype=torch.float64)  # d loss / d gate
    alpha = torch.randn(3, 2, dtype=torch.float64)

    def expected_loss(alpha: Tensor) -> float:
        p, total = alpha.softmax(-1), 0.0
        for opened in itertools.product(range(2), repeat=edges):
            probability = float(torch.stack([p[e, k] for e, k in enumerate(opened)]).prod())
            total += probability * sum(float(slope[e, k]) for e, k in enumerate(opened))
        return total

    exact = torch.zeros_like(alpha)
    for index in itertools.product(range(3), range(2)):
        ahead, behind = alpha.clone(), alpha.clone()
        ahead[index] += 1e-5
        behind[index] -= 1e-5
        exact[index] = (expected_loss(ahead) - expected_loss(behind)) / 2e-5
    torch.testing.assert_close(proxyless.path_gradient(slope, alpha), exact)


def test_gradient_of_a_gate_is_output_times_operation() -> None:
    """dL/dg_j = sum(dL/d node * op_j(x)), the closed gate's too, in a real cell."""
    torch.manual_seed(0)
    space = DartsSpace(("skip_connect", "sep_conv_3x3"), ((1, 2),), ((1, 2),))
    net = Supernet(space, cells=1, channels=4, classes=3).double()
    x, labels = torch.randn(4, 3, 8, 8, dtype=torch.float64), torch.tensor([0, 1, 2, 0])
    gates = {kind: torch.tensor([[1.0, 0.0]]).double().requires_grad_() for kind in KINDS}
    needs_grad = {kind: torch.ones(1, 2, dtype=torch.bool) for kind in KINDS}
    cell = net.cells[0]
    assert isinstance(cell, Cell)
    source: list[Tensor] = []
    cell.preprocess[1].register_forward_hook(lambda *call: source.append(call[-1]))
    node: list[FeatureMap] = []
    cell.register_forward_hook(lambda *call: node.append(call[-1]))
    loss = cross_entropy(net(x, gates, needs_grad), labels)
    (by_gate,) = torch.autograd.grad(loss, gates["reduce"], retain_graph=True)
    (by_node,) = torch.autograd.grad(loss, node[0].parts)
    outputs = [operation(source[0].relu()) for operation in cell.operations]
    expected = torch.stack([(by_node * y).sum() for y in outputs])
    torch.testing.assert_close(by_gate[0], expected)


class Watch(nn.Module):
    """A supernet that keeps the gates that it was given, with a known loss."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[Mapping[str, Tensor], Mapping[str, Tensor]]] = []

    def forward(
        self, x: Tensor, weights: Mapping[str, Tensor], needs_grad: Mapping[str, Tensor]
    ) -> Tensor:
        self.seen.append((weights, needs_grad))
        margin = sum(w[:, 0].sum() - 0.5 * w[:, 1].sum() for w in weights.values())
        return torch.stack([margin.expand(len(x)), torch.zeros(len(x))], dim=1)


def test_a_step_opens_one_of_two_and_moves_only_those() -> None:
    method, net = learner(TINY, lr=0.1), Watch()
    batch = (torch.zeros(2, 1, 1, 1), torch.tensor([0, 0]))
    for _ in range(30):
        before = method.alphas.softmax()
        method.arch_step(net, batch, batch, None)  # type: ignore[arg-type]
        after = method.alphas.softmax()
        gates, needs_grad = net.seen[-1]
        for kind in KINDS:
            assert (needs_grad[kind].sum(-1) == 2).all()
            assert (gates[kind].sum(-1) == 1).all()
            assert needs_grad[kind][gates[kind] == 1].all()
            torch.testing.assert_close(
                after[kind][~needs_grad[kind]], before[kind][~needs_grad[kind]], atol=1e-6, rtol=0
            )
            assert (after[kind][needs_grad[kind]] != before[kind][needs_grad[kind]]).any()
    assert (after["normal"].argmax(-1) == 0).all()


def test_both_paths_are_drawn_by_their_probabilities() -> None:
    """The first of a pair by p; the open one of the pair by the softmax of the two."""
    torch.manual_seed(3)
    p = torch.tensor([0.6, 0.3, 0.1]).expand(20_000, 3)
    pairs = proxyless.draw(p, 2)
    assert (pairs[:, 0] != pairs[:, 1]).all()
    frequency = pairs[:, 0].bincount(minlength=3) / 20_000
    torch.testing.assert_close(frequency, p[0], atol=0.015, rtol=0)
    both = ((pairs == 0).any(1) & (pairs == 1).any(1)).float().mean()
    assert float(both) == pytest.approx(0.6 * 0.3 / 0.4 + 0.3 * 0.6 / 0.7, abs=0.015)


def test_paths_that_are_not_drawn_keep_weights_and_momentum() -> None:
    method = learner(TINY)
    torch.manual_seed(1)
    net = Supernet(TINY, cells=3, channels=4, classes=3)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=3e-4)
    x, labels = torch.randn(6, 3, 8, 8), torch.arange(6) % 3
    every = {kind: torch.ones(2, 3) for kind in KINDS}
    descend(cross_entropy(net(x, every), labels), optimizer, 5.0, "test")  # momentum everywhere
    before = {
        name: (p.detach().clone(), optimizer.state[p]["momentum_buffer"].clone())
        for name, p in net.named_parameters()
    }
    gates = method.weights(training=True)
    assert all((g.sum(-1) == 1).all() for g in gates.values())
    descend(cross_entropy(net(x, gates), labels), optimizer, 5.0, "test")
    touched = {True: 0, False: 0}
    for index, (kind, cell) in enumerate(zip(net.kinds, net.cells, strict=True)):
        for slot, edge in zip(cell.slots, cell.edges, strict=True):  # type: ignore[arg-type]
            row = TINY.edges(kind).index((edge.source, edge.node))
            drawn = bool(gates[kind][row, TINY.operations.index(edge.operation)])
            prefix = f"cells.{index}.operations.{slot}."
            for name, parameter in net.named_parameters():
                if name.startswith(prefix):
                    weight, momentum = before[name]
                    same = torch.equal(parameter, weight) and torch.equal(
                        optimizer.state[parameter]["momentum_buffer"], momentum
                    )
                    assert same != drawn, name
                    touched[drawn] += 1
    assert min(touched.values()) > 0


def test_an_edge_whose_open_path_is_none_learns_nothing() -> None:
    space = DartsSpace(("none", "skip_connect"), ((0, 2), (1, 2)), ((0, 2), (1, 2)))
    method = learner(space, lr=0.1)

    class Any(nn.Module):
        gates: Mapping[str, Tensor]

        def forward(self, x: Tensor, weights: Mapping[str, Tensor], needs_grad: object) -> Tensor:
            self.gates = weights
            margin = sum(w[:, 1].sum() for w in weights.values())
            return torch.stack([margin.expand(len(x)), torch.zeros(len(x))], dim=1)

    net, batch = Any(), (torch.zeros(2, 1, 1, 1), torch.tensor([0, 0]))
    before = {kind: v.detach().clone() for kind, v in method.alphas.values.items()}
    method.arch_step(net, batch, batch, None)  # type: ignore[arg-type]
    closed = 0
    for kind in KINDS:
        none = net.gates[kind][:, 0] == 1
        moved = (method.alphas.values[kind].detach() - before[kind]).abs().amax(-1) > 1e-6
        assert torch.equal(moved, ~none)
        closed += int(none.sum())
    assert 0 < closed < 4


def test_adam_stands_still_for_an_edge_whose_open_path_is_none() -> None:
    """200 steps against Adam written out for each edge, betas (0, 0.999), with a count of its own;
    an edge that got zeros in place of nothing would be steps away.
    """
    space = DartsSpace(("none", "skip_connect"), ((0, 2), (1, 2)), ((0, 2), (1, 2)))
    method = learner(space, lr=0.006)
    alpha = method.alphas.values["normal"].detach().double().clone()
    v, zeroed = torch.zeros(2, 2, dtype=torch.float64), torch.zeros(2, 2, dtype=torch.float64)
    counts, other = [0, 0], alpha.clone()
    generator = torch.Generator().manual_seed(1)
    for t in range(1, 201):
        gradients = [torch.randn(2, 2, generator=generator) for _ in KINDS]
        learns = [torch.rand(2, generator=generator) < 0.5 for _ in KINDS]
        method.alphas.step(gradients, learns)
        g = gradients[0].double()
        for edge in range(2):
            if learns[0][edge]:
                counts[edge] += 1
                v[edge] = 0.999 * v[edge] + 0.001 * g[edge] ** 2
                root = (v[edge] / (1 - 0.999 ** counts[edge])).sqrt()
                alpha[edge] -= 0.006 * g[edge] / (root + 1e-8)
        g = g * learns[0][:, None]
        zeroed = 0.999 * zeroed + 0.001 * g**2
        other -= 0.006 * g / ((zeroed / (1 - 0.999**t)).sqrt() + 1e-8)
    mine = method.alphas.values["normal"].detach().double()
    torch.testing.assert_close(mine, alpha, atol=1e-4, rtol=0)
    assert float((mine - other).abs().max()) > 5 * 0.006


def test_the_architecture_learns_at_every_fifth_step() -> None:
    config, _, _ = oneshot.resolve_config(SearchConfig("proxyless"), 50_000, 10)
    assert config.arch_every == 5
    assert config.warm_up_epochs(160) == 41  # 40, and the first epoch after them
    tiny = testing.tiny_config("proxyless", epochs=4, warm_up=0.25)  # epochs of 3 steps
    found = testing.run_search(tiny, tiny_data())
    assert found.counts.weight == 12
    assert found.counts.architecture == 2  # the fifth and the tenth
    tiny = testing.tiny_config("proxyless", arch_update="epoch", arch_steps=1)
    assert oneshot.resolve_config(tiny, 48, 3)[0].arch_every == 1
    with pytest.raises(UsageError, match="it needs arch_update=step"):
        testing.tiny_config("proxyless", arch_update="epoch", arch_every=3)


def test_discretisation_and_refusal() -> None:
    method = learner(DartsSpace())
    for value in method.alphas.values.values():
        value.data = torch.randn(14, 8)
    weights = {kind: v.detach().softmax(-1) for kind, v in method.alphas.values.items()}
    space = DartsSpace()
    assert method.architecture() == space.derive(strongest(space, weights))
    with pytest.raises(UsageError, match="arch_update=joint: proxyless"):
        testing.run_search(testing.tiny_config("proxyless", arch_update="joint"), tiny_data())
