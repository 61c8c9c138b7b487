"""SNAS' samples, temperature, cost and discretisation against independent computations."""

import math
from dataclasses import replace

import pytest
import torch
from scipy import stats

from edarts import DartsSpace, SearchConfig, Supernet, UsageError
from edarts.methods.oneshot import driver as oneshot
from edarts.methods.oneshot import snas
from edarts.space.genotype import KINDS, Edge
from edarts.space.operations import BUILT_IN, Resources
from edarts.testing import oneshot as testing
from edarts.testing.problems import tiny_data


def learner(**changes: object) -> snas.SNAS:
    config = SearchConfig.of("snas", **changes)
    config, space, _ = oneshot.resolve_config(config, 50_000, 10)
    torch.manual_seed(0)
    return snas.PLUGIN(space, config, torch.device("cpu"))


@pytest.mark.parametrize("temperature", [1.0, 0.3, 0.03])
def test_the_strongest_is_drawn_by_softmax(temperature: float) -> None:
    """P(argmax Z = k) = softmax(log alpha)_k at any temperature: chi-square over 20,000 draws."""
    torch.manual_seed(1)
    log_alpha = torch.tensor([1.0, 0.2, -0.5, 2.0])
    z = snas.sample(log_alpha.expand(20_000, 4), temperature)
    torch.testing.assert_close(z.sum(-1), torch.ones(20_000))
    counts = z.argmax(-1).bincount(minlength=4).numpy()
    expected = log_alpha.softmax(-1).double().numpy()
    assert stats.chisquare(counts, 20_000 * expected / expected.sum()).pvalue > 1e-3


def test_a_sample_has_the_concrete_distribution() -> None:
    """Two options: logit Z_1 is logistic, location a_1 - a_2 over the temperature, scale 1 / it."""
    torch.manual_seed(2)
    temperature = 0.7
    log_alpha = torch.tensor([0.8, 0.1], dtype=torch.float64)
    z = snas.sample(log_alpha.expand(5000, 2), temperature)
    logit = (z[:, 0] / z[:, 1]).log().numpy()
    loc, scale = (0.8 - 0.1) / temperature, 1 / temperature
    assert stats.kstest(logit, stats.logistic(loc, scale).cdf).pvalue > 1e-3


def test_cooling_sharpens_and_is_the_published_schedule() -> None:
    method = learner()
    entropies = []
    for epoch in (0, 75, 149):
        method.begin_epoch(None, epoch)  # type: ignore[arg-type]
        assert method.temperature == pytest.approx((1 - (epoch + 1) / 150) * (1 - 0.03) + 0.03)
        z = method.weights(training=True)["normal"].detach()
        entropies.append(float(-(z * z.clamp_min(1e-30).log()).sum(-1).mean()))
    assert entropies[0] > entropies[1] > entropies[2]
    assert entropies[2] < 0.1
    assert method.temperature == pytest.approx(0.03)  # reached in the last epoch, not after it
    assert (method.alphas.values["normal"].mean() - 1).abs() < 0.01  # N(1, 0.01)


def test_single_level_one_pass_on_all_images() -> None:
    found = testing.run_search(testing.tiny_config("snas"), tiny_data(48))
    # 48 / 8 steps, three epochs
    assert (found.counts.weight, found.counts.architecture) == (18, 18)
    assert (found.counts.forward, found.counts.backward) == (18, 18)
    assert found.counts.images == 3 * 48


def test_joint_gradient_is_that_of_loss_and_cost() -> None:
    """The step of the driver against autograd on the same draw."""
    method = learner(operations="skip_connect,sep_conv_3x3", constraint="aggressive")
    net = Supernet(method.space, cells=3, channels=4, classes=3)
    x, labels = torch.randn(6, 3, 8, 8), torch.arange(6) % 3
    values = list(method.alphas.values.values())

    def loss() -> torch.Tensor:
        torch.manual_seed(5)
        z = method.weights(training=True)
        entropy = torch.nn.functional.cross_entropy(net(x, z), labels)
        total = torch.zeros(())
        for kind, name in zip(net.kinds, range(3), strict=True):
            del name
            table = net.resources()[kind]
            total = total + snas.cost(z[kind], table) / net.kinds.count(kind)
        return entropy + snas.FACTORS["aggressive"] * total

    expected = torch.autograd.grad(loss(), values)
    torch.manual_seed(5)
    z = method.weights(training=True)
    (torch.nn.functional.cross_entropy(net(x, z), labels) + method.penalty(net, z)).backward()
    for value, gradient in zip(values, expected, strict=True):
        torch.testing.assert_close(value.grad, gradient)
    method.joint_step()
    assert all(value.grad is None for value in values)  # nothing is left for the next step


def test_an_operation_without_costs_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    silent = replace(BUILT_IN["sep_conv_3x3"], resources=None)
    monkeypatch.setitem(BUILT_IN, "sep_conv_3x3", silent)
    method = learner(operations="skip_connect,sep_conv_3x3")
    net = Supernet(method.space, cells=3, channels=4, classes=3)
    with pytest.raises(UsageError, match="operation sep_conv_3x3 does not say what it costs"):
        method.penalty(net, method.weights(training=True))


def resources(name: str, channels: int, side: int, stride: int) -> Resources:
    cost = BUILT_IN[name].resources
    assert cost is not None
    return cost(channels, side, stride)


def test_cost_by_hand() -> None:
    """One edge, skip and 3 x 3 separable, two cells of 4 and 8 channels; the log form."""
    space = DartsSpace(("skip_connect", "sep_conv_3x3"), ((0, 2),), ((0, 2),))
    net = Supernet(space, cells=3, channels=4, classes=2, image=(3, 8, 8))
    z = torch.tensor([[0.25, 0.75]])
    expected = []
    for channels, side in ((8, 4), (16, 2)):  # both reduction cells
        sep, skip = (
            resources("sep_conv_3x3", channels, side, 2),
            resources("skip_connect", channels, side, 2),
        )
        sums = [0.25 * a + 0.75 * b for a, b in zip(skip, sep, strict=True)]
        expected.append(sum(math.log(max(1, s)) for s in sums) / 3)
    table = net.resources()["reduce"]
    assert table.shape == (2, 3, 1, 2)
    assert float(snas.cost(z, table)) == pytest.approx(sum(expected) / 2, rel=1e-6)
    nothing = snas.cost(torch.tensor([[1.0, 0.0]]), torch.zeros(1, 3, 1, 2))
    assert float(nothing) == 0


def test_a_stronger_constraint_finds_a_cheaper_cell() -> None:
    sizes = []
    for constraint in ("none", "aggressive"):
        config = testing.tiny_config(
            "snas", constraint=constraint, operations="none,sep_conv_3x3", arch_lr=0.1, epochs=8
        )
        found = testing.run_search(config, tiny_data())
        sizes.append(sum(w[:, 1].mean() for w in found.weights.values()))
    assert sizes[1] < sizes[0]


def test_discretisation_is_the_argmax_of_every_edge() -> None:
    space = DartsSpace()
    dropped = 0
    for seed in range(60):
        generator = torch.Generator().manual_seed(seed)
        weights = {k: torch.randn(14, 8, generator=generator).softmax(-1) for k in KINDS}
        for w in weights.values():
            w[:, 0] += 0.2
        genotype = space.derive(snas.argmax(space, weights))
        assert space.supports(genotype)
        for kind in KINDS:
            edges = set()
            for pair, row in zip(space.edges(kind), weights[kind].tolist(), strict=True):
                name = space.operations[row.index(max(row))]
                if name != "none":
                    edges.add(Edge(name, *pair))
            alive = {0, 1}
            for edge in sorted(edges, key=lambda e: e.node):
                alive |= {edge.node} if edge.source in alive else set()
            dropped += len(alive) < 6
            assert set(genotype.edges(kind)) == {e for e in edges if e.source in alive}
            assert set(genotype.concat(kind)) == alive - {0, 1}
    assert dropped > 0


def test_cells_of_none_alone_are_derived_as_by_darts() -> None:
    weights = {k: torch.tensor([[0.9] + [0.1 / 7] * 7]).repeat(14, 1) for k in KINDS}
    space = DartsSpace()
    assert space.derive(snas.argmax(space, weights)) in space
