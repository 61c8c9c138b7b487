"""ENAS' space, and its controller against enumeration and finite differences."""

import itertools
import random
from typing import Any

import pytest
import torch
from torch import Tensor

from edarts import DartsSpace, Network, SearchConfig, Supernet, UsageError
from edarts.data.batches import Transform
from edarts.methods.oneshot import driver as oneshot
from edarts.methods.oneshot import enas
from edarts.nn.cells import Cell
from edarts.nn.kernels import FeatureMap
from edarts.space.darts import parse_operations
from edarts.space.enas import EnasSpace
from edarts.space.genotype import KINDS, Edge
from edarts.testing import oneshot as testing
from edarts.testing.problems import tiny_data

ONE_NODE = EnasSpace(("sep_conv_3x3", "skip_connect"), ((0, 2), (1, 2)), ((0, 2), (1, 2)))
EVERY = torch.tensor(list(itertools.product(range(2), repeat=8)))  # 2 x (2 sources, 2 operations)


def controller(seed: int = 0) -> enas.CellController:
    torch.manual_seed(seed)
    made = enas.CellController(1, ONE_NODE.operations).double()
    made.fixed_bias = made.fixed_bias.double()
    made.bias.data = torch.tensor([0.3, 0.0], dtype=torch.float64)  # not saturated as at the start
    return made


def test_probabilities_sum_to_one_over_all_cells() -> None:
    _, log, entropy = controller()(forced=EVERY)
    p = log.exp()
    assert p.sum().item() == pytest.approx(1, abs=1e-12)
    # The expected sum of conditional entropies is the entropy of the whole.
    assert (p * entropy).sum().item() == pytest.approx(-(p * log).sum().item(), abs=1e-12)


def test_draws_follow_the_probabilities() -> None:
    made = controller()
    taken, log, _ = made(4000)
    torch.testing.assert_close(made(forced=taken)[1], log)
    place = (taken * 2 ** torch.arange(7, -1, -1)).sum(-1)
    frequency = place.bincount(minlength=256) / 4000
    expected = made(forced=EVERY)[1].exp().detach()
    assert float((frequency - expected).abs().sum()) < 0.3  # total variation of noise: about 0.2


def test_gradient_is_that_of_the_expected_reward() -> None:
    """The loss' gradient, averaged exactly over all cells, against finite differences."""
    made = controller()
    torch.manual_seed(9)
    reward = torch.rand(len(EVERY), dtype=torch.float64)
    baseline = 0.37  # changes no expectation

    def expected() -> float:
        with torch.no_grad():
            return float((made(forced=EVERY)[1].exp() * reward).sum())

    _, log, _ = made(forced=EVERY)
    # mean over draws in `reinforce`: weigh each cell with its probability times their number
    weight = log.detach().exp() * len(EVERY)
    enas.reinforce(log, (reward - baseline) * weight).backward()
    for parameter in made.parameters():
        assert parameter.grad is not None
        flat, gradient = parameter.data.view(-1), -parameter.grad.view(-1)
        for place in random.Random(0).sample(range(len(flat)), min(4, len(flat))):
            value = float(flat[place])
            flat[place] = value + 1e-5
            ahead = expected()
            flat[place] = value - 1e-5
            behind = expected()
            flat[place] = value
            assert float(gradient[place]) == pytest.approx((ahead - behind) / 2e-5, abs=1e-8)


def test_the_start_favours_convolutions_and_squashes_logits() -> None:
    made = enas.CellController(5, enas.ENAS.DEFAULTS["operations"].split(","))
    assert made.bias.tolist() == [10, 10, 0, 0, 0]
    torch.testing.assert_close(made.fixed_bias, torch.tensor([0.25, 0.25, -0.25, -0.25, -0.25]))
    assert len([p for p in made.parameters() if p.abs().max() <= 0.1]) == 8  # all but the bias
    taken, _, _ = made(2)
    assert taken.shape == (2, 40)
    assert made.lstm.hidden_size == 64


def plain_log_probability(made: enas.CellController, decisions: list[int]) -> Tensor:
    """The controller of methods.md section 9 for one cell at a time, with the LSTM written out."""
    w_x, w_h = made.lstm.weight_ih, made.lstm.weight_hh
    h = c = torch.zeros(1, 64, dtype=torch.float64)
    total, rest = torch.zeros((), dtype=torch.float64), iter(decisions)

    def step(x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        i, f, g, o = (x @ w_x.T + h @ w_h.T).chunk(4, dim=1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c

    for cell in range(2):
        anchors, keys = [], []
        for _ in range(2):
            h, c = step(made.start, h, c)
            anchors.append(torch.zeros_like(h))
            keys.append(h @ made.key)
        x = made.start
        for _ in range(2):
            h, c = step(x, h, c)
            logits = torch.cat(
                [1.10 * torch.tanh(torch.tanh(k + h @ made.query) @ made.score) for k in keys]
            )
            choice = next(rest)
            total = total + logits.log_softmax(0)[choice]
            x = anchors[choice]
        for _ in range(2):
            h, c = step(x, h, c)
            logits = 1.10 / 2.5 * torch.tanh((h @ made.operation)[0] + made.bias)
            if cell == 0:
                logits = logits + torch.tensor([0.25, -0.25], dtype=torch.float64)
            choice = next(rest)
            total = total + logits.log_softmax(0)[choice]
            x = made.embedding[choice][None]
        h, c = step(x, h, c)
    return total


def test_controller_is_the_authors() -> None:
    made = controller(3)
    _, log, _ = made(forced=EVERY)
    for row in (0, 77, 255):
        torch.testing.assert_close(log[row], plain_log_probability(made, EVERY[row].tolist()))


def test_the_space() -> None:
    space = EnasSpace(parse_operations(enas.ENAS.DEFAULTS["operations"]))
    assert (len(space.normal), len(space.operations)) == (20, 5)
    sizes = [11 * 5, 16 * 15 // 2, 21 * 20 // 2, 26 * 25 // 2, 31 * 30 // 2]  # C(5 n + 1, 2)
    product = 1
    for size in sizes:
        product *= size
    assert space.size() == product**2
    for seed in range(30):
        genotype = space.sample(random.Random(seed))
        assert genotype in space
        for kind in KINDS:
            read = {edge.source for edge in genotype.edges(kind)}
            assert set(genotype.concat(kind)) == set(range(2, 7)) - read
    assert DartsSpace().sample(random.Random(0)) not in space


def test_decisions_become_the_cell() -> None:
    space = EnasSpace(parse_operations("skip_connect,sep_conv_3x3,max_pool_3x3"))
    node = [0, 0, 1, 1, 2, 1, 0, 2, 3, 3, 1, 1, 0, 4, 2, 2, 5, 5, 0, 1]
    genotype = enas.cells(space, node * 2)
    expected = [
        Edge("sep_conv_3x3", 0, 2),
        Edge("sep_conv_3x3", 0, 2),
        Edge("skip_connect", 2, 3),
        Edge("max_pool_3x3", 1, 3),
        Edge("sep_conv_3x3", 3, 4),
        Edge("sep_conv_3x3", 3, 4),
        Edge("max_pool_3x3", 0, 5),
        Edge("max_pool_3x3", 4, 5),
        Edge("skip_connect", 5, 6),
        Edge("sep_conv_3x3", 5, 6),
    ]
    assert sorted(genotype.normal) == sorted(expected)
    assert genotype.normal_concat == (6,)
    assert genotype in space
    Network(genotype, cells=3, channels=4, classes=2)(torch.randn(2, 3, 8, 8))


def test_supernet_gives_out_loose_ends_only() -> None:
    space = EnasSpace(parse_operations("skip_connect,sep_conv_3x3"))
    net = Supernet(space, cells=3, channels=4, classes=2)
    for seed in range(5):
        genotype = space.sample(random.Random(seed))
        weights = space.weights_of(genotype)
        cell = net.cells[0]
        assert isinstance(cell, Cell)
        stem = net.stem(torch.randn(2, 3, 8, 8))
        chosen = [w if w else None for w in weights["normal"].flatten().unbind()]
        parts = cell(FeatureMap(stem), FeatureMap(stem), chosen).parts
        alive = {
            node for node, part in zip(range(2, 7), parts, strict=True) if part.abs().sum() > 0
        }
        assert alive == set(genotype.normal_concat)


def test_baseline_moves_with_every_draw_and_the_best_is_kept() -> None:
    config, space, _ = oneshot.resolve_config(SearchConfig.of("enas", samples=6), 50_000, 10)
    torch.manual_seed(0)
    method = enas.PLUGIN(space, config, torch.device("cpu"))
    seen: list[float] = []

    class Counting(torch.nn.Module):
        def forward(self, x: Tensor, weights: dict[str, Tensor]) -> Tensor:
            good = len(seen) % 4  # of four images
            seen.append(good / 4)
            batches.append(x)
            right = (torch.arange(4) < good).float()
            return torch.stack([right, 1 - right], dim=1)

    batches: list[Tensor] = []
    images = torch.arange(24.0).view(24, 1, 1, 1)
    batch = (images, torch.zeros(24, dtype=torch.long))
    before = [p.detach().clone() for p in method.controller.parameters()]
    torch.manual_seed(1)
    drawn = method.controller(6)[0].tolist()
    torch.manual_seed(1)
    method.arch_step(Counting(), batch, batch, None)  # type: ignore[arg-type]
    baseline = 0.0
    for accuracy in seen:
        baseline -= (1 - 0.99) * (baseline - accuracy)
    assert torch.equal(torch.cat(batches), images)  # a batch for each of the six
    assert method.baseline == pytest.approx(baseline, abs=1e-3)  # rewards have 1e-4 of entropy
    assert method.architecture() == enas.cells(space, drawn[seen.index(max(seen))])
    after = list(method.controller.parameters())
    assert any((a != b).any() for a, b in zip(after, before, strict=True))


def test_epsilon_is_added_where_tensorflow_adds_it() -> None:
    """Its Adam written out: theta -= lr sqrt(1 - b2^t) m / (sqrt(v) + eps), with b1 = 0."""
    config, space, _ = oneshot.resolve_config(SearchConfig.of("enas"), 50_000, 10)
    torch.manual_seed(0)
    method = enas.PLUGIN(space, config, torch.device("cpu"))
    value = method.controller.start
    theta, v = value.detach().double().clone(), torch.zeros(1, 64, dtype=torch.float64)
    for t in range(1, 8):
        gradient = 1e-3 * torch.randn(1, 64)
        for parameter in method.controller.parameters():
            parameter.grad = torch.zeros_like(parameter)
        value.grad = gradient.clone()
        method._step()
        v = 0.999 * v + 0.001 * gradient.double() ** 2
        step = 0.0035 * (1 - 0.999**t) ** 0.5 * gradient.double() / (v.sqrt() + 1e-3)
        theta -= step
        torch.testing.assert_close(value.detach().double(), theta, atol=1e-7, rtol=0)
        if t == 1:  # torch's place for it would make the first step ten times as long and more
            wrong = 0.0035 * gradient.double() / (gradient.double().abs() + 1e-3)
            assert float(wrong.abs().mean() / step.abs().mean()) > 10
    assert enas.epsilon(1) == pytest.approx(1e-3 / 0.001**0.5)


def test_the_two_pairs_of_a_node_have_weights_of_their_own() -> None:
    space = ONE_NODE
    assert space.edges("normal") == ((0, 2), (1, 2), (0, 2), (1, 2))
    net = Supernet(space, cells=1, channels=4, classes=2).double()
    cell = net.cells[0]
    assert isinstance(cell, Cell)
    decisions = [0, 0, 0, 0]  # input 0 twice, separable convolution twice
    chosen = enas.chosen(space, decisions * 2)
    assert chosen["reduce"] == [(0, 0), (2, 0)]
    slots = [cell.slots[row * 2] for row in (0, 2)]
    assert None not in slots and slots[0] != slots[1]
    stem = net.stem(torch.randn(2, 3, 8, 8, dtype=torch.float64))
    source = cell.preprocess[0](stem)
    first, second = (cell.operations[slot](source.relu()) for slot in slots if slot is not None)
    assert not torch.allclose(first, second)
    weights = [None] * 8
    for row, column in chosen["reduce"]:
        weights[row * 2 + column] = torch.ones((), dtype=torch.float64)  # type: ignore[call-overload]
    y = cell(FeatureMap(stem), FeatureMap(stem), weights).x
    torch.testing.assert_close(y, first + second)
    # In the other order the pairs take the other weights.
    assert enas.chosen(space, [0, 1, 0, 1] * 2)["normal"] == [(0, 0), (3, 1)]
    assert enas.chosen(space, [1, 0, 1, 0] * 2)["normal"] == [(1, 1), (2, 0)]


def test_a_genotype_and_its_rows() -> None:
    space = EnasSpace(parse_operations("skip_connect,sep_conv_3x3"))
    for seed in range(20):
        genotype = space.sample(random.Random(seed))
        chosen = space.chosen(genotype)
        assert space.derive(chosen) == genotype
        for kind in KINDS:
            assert all(w in (0, 1) for w in space.weights_of(genotype)[kind].flatten())
            for rows in space.incoming(kind).values():
                halves = rows[: len(rows) // 2], rows[len(rows) // 2 :]
                for half in halves:
                    assert sum(row in half for row, _ in chosen[kind]) == 1


def test_rewards_are_measured_on_images_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new validation batch for each drawn cell, normalised and nothing else."""
    given: list[tuple[Tensor, Tensor]] = []
    step = enas.ENAS.arch_step

    def watch(self: enas.ENAS, net: object, train: object, valid: Any, sgd: Any) -> Any:
        given.append(valid)
        return step(self, net, train, valid, sgd)  # type: ignore[arg-type]

    monkeypatch.setattr(enas.ENAS, "arch_step", watch)
    data = tiny_data(96)
    config = testing.tiny_config("enas", epochs=1, arch_steps=2, samples=3)
    testing.run_search(config, data)
    assert [len(images) for images, _ in given] == [3 * 8] * 2
    plain = {image.numpy().tobytes() for image in Transform.of(data).normalise(data.images)}
    seen = [image.contiguous().numpy().tobytes() for images, _ in given for image in images]
    assert len(set(seen)) == 48  # each batch is another
    assert set(seen) <= plain


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"attention": "skip_connect=1"}, "biases of its own"),
        ({"topology": "7"}, "takes no --topology .spaces that do: darts"),
        ({"space": "darts", "topology": "7"}, "chooses every source"),
        ({"operations": "all"}, "leave out operation 'none'"),
        ({"arch_update": "joint", "arch_steps": None}, "learns from no loss"),
    ],
)
def test_what_it_cannot_take_is_refused(options: dict[str, object], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        testing.run_search(testing.tiny_config("enas", **options), tiny_data())


@pytest.mark.parametrize("method", ["darts", "proxyless", "fair_darts"])
def test_other_methods_refuse_the_space(method: str) -> None:
    with pytest.raises(UsageError, match="needs a method that draws them"):
        testing.run_search(testing.tiny_config(method, space="enas"), tiny_data())
