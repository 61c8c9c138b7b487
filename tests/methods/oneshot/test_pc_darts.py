"""PC-DARTS' edge normalisation and partial channels against plain computations."""

import pytest
import torch
from torch import Tensor, nn

from edarts import DartsSpace, SearchConfig, Supernet, UsageError
from edarts.methods.oneshot import driver as oneshot
from edarts.methods.oneshot import pc_darts
from edarts.nn.cells import Cell
from edarts.nn.kernels import FeatureMap
from edarts.nn.operations import Identity, count_parameters
from edarts.space.genotype import INPUTS, KINDS, Edge
from edarts.testing import oneshot as testing
from edarts.testing.problems import tiny_data
from support import authors_rule


def learner(seed: int = 0, **changes: object) -> pc_darts.PCDarts:
    config = SearchConfig.of("pc_darts", **changes)
    config, space, _ = oneshot.resolve_config(config, 50_000, 10)
    torch.manual_seed(seed)
    return pc_darts.PLUGIN(space, config, torch.device("cpu"))


def test_published_size() -> None:
    net = Supernet(DartsSpace(), cells=8, channels=16, classes=10, channel_fraction=1 / 4)
    assert count_parameters(net) == 299_578


def test_defaults_warm_up_for_fifteen_epochs() -> None:
    config, _, _ = oneshot.resolve_config(SearchConfig("pc_darts"), 50_000, 10)
    assert config.warm_up_epochs(50) == 15
    assert (config.channel_fraction, config.batch_size) == (1 / 4, 256)
    assert (config.lr, config.arch_lr) == (0.1, 6e-4)


def test_betas_normalise_over_the_edges_of_a_node() -> None:
    method = learner()
    for kind in KINDS:
        method.betas[kind].data = torch.randn(14)
    shares, start = method.edge_shares(), 0
    for node in range(4):
        for kind in KINDS:
            beta = method.betas[kind].detach()[start : start + 2 + node]
            torch.testing.assert_close(
                shares[kind][start : start + 2 + node], beta.exp() / beta.exp().sum()
            )
        start += 2 + node
    rows = {kind: w.sum(-1) for kind, w in method.weights(training=True).items()}
    torch.testing.assert_close(rows, shares)


def test_betas_get_a_gradient_and_move() -> None:
    method = learner(operations="skip_connect,sep_conv_3x3")
    net = Supernet(method.space, cells=3, channels=4, classes=3, channel_fraction=1 / 4)
    before = {kind: beta.detach().clone() for kind, beta in method.betas.items()}
    batch = (torch.randn(6, 3, 8, 8), torch.arange(6) % 3)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    method.arch_step(net, batch, batch, optimizer)
    for kind in KINDS:
        assert (method.betas[kind].detach() != before[kind]).all()
        assert (method.alphas.optimizer.state[method.betas[kind]]["exp_avg"] != 0).all()


def plain_cell(cell: Cell, s0: Tensor, s1: Tensor, weights: Tensor) -> Tensor:
    """The cell by the paper's words: split, mix, pass by, concatenate, shuffle, sum the edges."""
    states = [cell.preprocess[0](s0), cell.preprocess[1](s1)]
    part, index = cell.channels // cell.channel_groups, 0
    for node in sorted(cell.incoming):
        total = torch.zeros(())
        for source in range(node):
            seen, rest = states[source][:, :part], states[source][:, part:]
            mixed, share = torch.zeros(()), torch.zeros(())
            while index < len(cell.edges) and cell.edges[index][1:] == (source, node):
                slot = cell.slots[index]
                if slot is not None:
                    operation = cell.operations[slot]
                    x = torch.relu(seen) if operation.reads_relu else seen
                    mixed = mixed + weights[index] * operation(x)
                share = share + weights[index]
                index += 1
            if cell.reduces and source < INPUTS:
                rest = nn.functional.max_pool2d(rest, 2)
            both = torch.cat([mixed, share * rest], dim=1)
            b, c, h, w = both.shape
            both = both.view(b, cell.channel_groups, c // cell.channel_groups, h, w).transpose(1, 2)
            total = total + both.reshape(b, c, h, w)
        states.append(total)
    return torch.cat(states[2:], dim=1)


@pytest.mark.parametrize("groups", [2, 4])
@pytest.mark.parametrize("reduces", [False, True])
def test_partial_channels_are_the_papers(groups: int, reduces: bool) -> None:
    torch.manual_seed(0)
    space = DartsSpace()
    cell = Cell(
        [Edge(name, *edge) for edge in space.edges("normal") for name in space.operations],
        tuple(space.incoming("normal")),
        (12, 12),
        8,
        halved=False,
        reduces=reduces,
        affine=False,
        channel_fraction=1 / groups,
    ).double()
    s0, s1 = torch.randn(2, 3, 12, 8, 8, dtype=torch.float64)
    weights = torch.rand(14 * 8, dtype=torch.float64)
    torch.testing.assert_close(
        cell(FeatureMap(s0), FeatureMap(s1), list(weights.unbind())).x,
        plain_cell(cell, s0, s1, weights),
    )


def test_skips_alone_only_shuffle() -> None:
    """With identities everywhere an edge permutes the channels of its source, by the shuffle."""
    space = DartsSpace(("skip_connect",), ((0, 2),), ((0, 2),))
    net = Supernet(space, cells=1, channels=8, classes=2, channel_fraction=1 / 4)
    cell = net.cells[0]
    assert isinstance(cell, Cell)
    cell.reduces = False
    cell.operations[0] = Identity()
    stem = net.stem(torch.randn(2, 3, 4, 4))
    source = cell.preprocess[0](stem)
    order = torch.arange(16).view(4, 4).T.flatten()
    torch.testing.assert_close(
        cell(FeatureMap(stem), FeatureMap(stem), [torch.ones(())]).x, source[:, order]
    )


def test_odd_sizes_and_a_width_that_does_not_divide() -> None:
    net = Supernet(DartsSpace(), cells=3, channels=4, classes=2, channel_fraction=1 / 4)
    weights = learner().weights(training=True)
    assert net(torch.randn(2, 3, 9, 9), weights).shape == (2, 2)
    with pytest.raises(UsageError, match="the 6 channels of a cell cannot be divided by 4"):
        Supernet(DartsSpace(), cells=3, channels=6, classes=2, channel_fraction=1 / 4)


def test_discretisation_is_the_authors_rule_on_the_product() -> None:
    for seed in range(20):
        method = learner(seed)
        for value in method.alphas.values.values():
            value.data = torch.randn(value.shape)
        genotype = method.architecture()
        assert genotype in method.space
        for kind in KINDS:
            alpha = method.alphas.values[kind].detach().softmax(-1)
            beta = torch.cat(
                [b.softmax(0) for b in method.betas[kind].detach().split([2, 3, 4, 5])]
            )
            expected = authors_rule(alpha * beta[:, None], method.space.operations)
            assert set(genotype.edges(kind)) == expected


def test_warm_up_trains_weights_alone() -> None:
    config = testing.tiny_config("pc_darts", warm_up=0.7)
    found = testing.run_search(config, tiny_data())
    assert (found.counts.weight, found.counts.architecture) == (9, 3)
    assert (found.counts.forward, found.counts.backward) == (12, 12)
    assert found.counts.images == 12 * 8
    config = testing.tiny_config("pc_darts", warm_up=0.7, arch_update="epoch", arch_steps=2)
    assert testing.run_search(config, tiny_data()).counts.architecture == 2
