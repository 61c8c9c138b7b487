"""Random search with weight sharing: uniform draws, and the best of them by the shared weights."""

import random

import pytest
import torch

from edarts import DartsSpace, SearchConfig, UsageError
from edarts.methods.oneshot import driver as oneshot
from edarts.methods.oneshot import random_ws
from edarts.space.darts import parse_operations
from edarts.space.enas import EnasSpace
from edarts.space.genotype import KINDS, Edge
from edarts.testing import oneshot as testing
from edarts.testing.problems import PlantedNet, tiny_data


def learner(**changes: object) -> random_ws.RandomWS:
    config = SearchConfig.of("random_ws", **changes)
    config, space, _ = oneshot.resolve_config(config, 50_000, 10)
    torch.manual_seed(0)
    return random_ws.PLUGIN(space, config, torch.device("cpu"))


def test_every_batch_trains_a_new_cell_of_the_space() -> None:
    method = learner(samples=4)
    seen = set()
    for seed in range(30):
        torch.manual_seed(seed)
        weights = method.weights(training=True)
        for matrix in weights.values():
            assert set(matrix.flatten().tolist()) == {0.0, 1.0}
            assert matrix[:, 0].sum() == 0  # `none` is never drawn
            assert [int(part.sum()) for part in matrix.split([2, 3, 4, 5])] == [2, 2, 2, 2]
        seen.add(tuple(weights["normal"].flatten().tolist()))
    assert len(seen) == 30


def test_the_lowest_loss_over_the_batches_wins() -> None:
    method = learner(samples=40)
    torch.manual_seed(4)
    quality = {kind: torch.randn(14, 8) for kind in KINDS}
    net = PlantedNet(quality, hardest=20.0)
    sign = torch.tensor([-1.0, 1.0]).repeat(16)
    images = (sign * (2 + torch.linspace(-1, 1, 32))).view(-1, 1, 1, 1)
    batch = (images, (sign > 0).long())
    first = method.architecture()
    for _ in range(3):
        method.arch_step(net, batch, batch, None)  # type: ignore[arg-type]
    margins = [float(net.margin(method.space.weights_of(cell))) for cell in method.cells_drawn]
    assert method.architecture() == method.cells_drawn[margins.index(max(margins))]
    assert torch.equal(
        method.weights(False)["normal"], method.space.weights_of(method.architecture())["normal"]
    )
    method.begin_epoch(net, 1)  # type: ignore[arg-type]
    assert method.architecture() == first


def test_cells_are_scored_after_the_last_epoch_only() -> None:
    config = testing.tiny_config("random_ws", samples=5, arch_steps=3)
    found = testing.run_search(config, tiny_data())
    assert (found.counts.weight, found.counts.architecture) == (9, 3)
    assert (found.counts.forward, found.counts.backward) == (9 + 3 * 5, 9)
    assert found.counts.images == 8 * (9 + 15)


def test_on_the_enas_space() -> None:
    config = testing.tiny_config("random_ws", space="enas", samples=3)
    found = testing.run_search(config, tiny_data())
    assert found.architecture in found.space
    assert isinstance(found.space, EnasSpace)


@pytest.mark.parametrize(
    ("option", "reason"),
    [({"attention": "skip_connect=1"}, "it draws all operations alike"), ({"arch_lr": 0.1}, "")],
)
def test_what_it_cannot_take_is_refused(option: dict[str, object], reason: str) -> None:
    with pytest.raises(UsageError, match=f"random_ws takes no --.*{reason}"):
        learner(**option)
    with pytest.raises(UsageError, match="takes no --arch-update: it scores cells"):
        learner(arch_update="step")


def test_weights_of_a_genotype() -> None:
    for space in (DartsSpace(), EnasSpace(parse_operations("all"))):
        genotype = space.sample(random.Random(2))
        weights = space.weights_of(genotype)
        for kind in KINDS:
            every = [Edge(op, *edge) for edge in space.edges(kind) for op in space.operations]
            drawn = [
                edge
                for edge, count in zip(every, weights[kind].flatten().tolist(), strict=True)
                for _ in range(int(count))
            ]
            assert sorted(drawn) == sorted(genotype.edges(kind))
