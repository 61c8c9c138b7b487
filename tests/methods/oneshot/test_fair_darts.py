"""Fair DARTS' loss and its gradient by hand, and its thresholds against the authors' rule."""

from collections.abc import Sequence

import pytest
import torch

from edarts import DartsSpace, SearchConfig, UsageError
from edarts.methods.oneshot import driver as oneshot
from edarts.methods.oneshot import fair_darts
from edarts.space.genotype import KINDS, Edge
from edarts.testing import oneshot as testing
from edarts.testing.problems import tiny_data

SPACE = DartsSpace(tuple(fair_darts.FairDarts.DEFAULTS["operations"].split(",")))


def learner(**changes: object) -> fair_darts.FairDarts:
    config = SearchConfig.of("fair_darts", **changes)
    config, space, _ = oneshot.resolve_config(config, 50_000, 10)
    return fair_darts.PLUGIN(space, config, torch.device("cpu"))


def test_starts_at_one_half_and_counts_196() -> None:
    weights = learner().weights(training=True)
    assert all((w == 0.5).all() for w in weights.values())
    assert sum(w.numel() for w in weights.values()) == 196


def test_attention_sets_the_first_odds() -> None:
    method = learner(attention="sep_conv_3x3=4,skip_connect=1")
    w = method.weights(training=True)["normal"]
    odds = w / (1 - w)
    torch.testing.assert_close(odds[:, 0] / odds[:, 1], torch.full((14,), 4.0))


def test_zero_one_loss_and_gradient_by_hand() -> None:
    torch.manual_seed(0)
    alphas = {kind: torch.randn(14, 7, dtype=torch.float64).requires_grad_() for kind in KINDS}
    loss = fair_darts.zero_one_loss({kind: a.sigmoid() for kind, a in alphas.items()})
    total = 0.0
    for alpha in alphas.values():
        for value in alpha.detach().flatten().tolist():
            total -= (1 / (1 + 2.718281828459045**-value) - 0.5) ** 2 / 196
    assert loss.item() == pytest.approx(total, abs=1e-12)
    gradients = torch.autograd.grad(loss, list(alphas.values()))
    for alpha, gradient in zip(alphas.values(), gradients, strict=True):
        s = alpha.detach().sigmoid()
        torch.testing.assert_close(gradient, -2 / 196 * (s - 0.5) * s * (1 - s))


class Deaf(torch.nn.Module):
    """A supernet that the weights do not matter to."""

    def forward(self, x: torch.Tensor, weights: object) -> torch.Tensor:
        return torch.zeros(len(x), 2, requires_grad=True)


def test_the_step_follows_the_loss_times_ten() -> None:
    """First step of Adam: its gradient is 10 times the zero-one loss' plus the decay."""
    method = learner()
    alpha = method.alphas.values["normal"]
    alpha.data = torch.randn(14, 7)
    start = alpha.detach().clone()
    batch = (torch.zeros(2, 1, 1, 1), torch.tensor([0, 1]))
    method.arch_step(Deaf(), batch, batch, None)  # type: ignore[arg-type]
    s = start.sigmoid()
    expected = -10 * 2 / 196 * (s - 0.5) * s * (1 - s) + 1e-3 * start
    moments = method.alphas.optimizer.state[alpha]["exp_avg"]
    torch.testing.assert_close(moments, (1 - 0.9) * expected)  # beta 0.9, not DARTS' 0.5


def authors_threshold_sparse(rows: Sequence[Sequence[float]], threshold: float) -> set[Edge]:
    """`parse` of the authors' code, from methods.md section 6."""
    edges, start = set(), 0
    for node in range(4):
        block = rows[start : start + 2 + node]
        top = sorted(range(2 + node), key=lambda j: -max(block[j]))[:2]
        for j in top:
            best = max(range(7), key=lambda k: block[j][k])
            if block[j][best] >= threshold:
                edges.add(Edge(SPACE.operations[best], j, node + 2))
        start += 2 + node
    return edges


def test_discretisation_follows_the_authors() -> None:
    empty = 0
    for seed in range(60):
        generator = torch.Generator().manual_seed(seed)
        weights = {k: torch.rand(14, 7, generator=generator) for k in KINDS}
        genotype = SPACE.derive(fair_darts.passing(SPACE, weights, threshold=0.9))
        assert SPACE.supports(genotype)
        for kind in KINDS:
            listed = authors_threshold_sparse(weights[kind].tolist(), 0.9)
            nodes = {0, 1}
            for edge in sorted(listed, key=lambda e: e.node):  # the authors skip these in building
                if edge.source in nodes:
                    nodes.add(edge.node)
            built = {edge for edge in listed if edge.source in nodes}
            assert set(genotype.edges(kind)) == built
            assert set(genotype.concat(kind)) == nodes - {0, 1}
            empty += len(nodes) < 6
    assert empty > 0  # the thresholds have left a node without inputs


def test_nothing_passes_the_threshold() -> None:
    weights = {k: torch.full((14, 7), 0.5) for k in KINDS}
    weights["normal"][3, 3] = 0.9
    genotype = SPACE.derive(fair_darts.passing(SPACE, weights, 0.85))
    assert genotype.normal == (Edge("sep_conv_3x3", 1, 3),)
    assert len(genotype.reduce) == 8


def test_none_is_refused_and_the_flags_too() -> None:
    with pytest.raises(UsageError, match="leave out operation 'none'"):
        testing.run_search(testing.tiny_config("fair_darts", operations="all"), tiny_data())
    with pytest.raises(UsageError, match=r"takes no --threshold .methods that do: fair_darts"):
        SearchConfig.of("darts", threshold=0.5)
