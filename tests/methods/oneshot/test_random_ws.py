"""Random search with weight sharing: uniform draws, and the best of them by the shared weights."""

import random

import pytest
import torch

from edarts import SearchConfig, Space, UsageError
from edarts.methods.oneshot import driver as oneshot
from edarts.methods.oneshot import random_ws
from edarts.methods.oneshot.base import weights_of
from edarts.space.genotype import KINDS
from edarts.testing import contract as testing


def learner(**changes: object) -> random_ws.RandomWS:
    config = SearchConfig("random_ws", **changes)  # type: ignore[arg-type]
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
    net = testing.PlantedNet(quality, hardest=20.0)
    sign = torch.tensor([-1.0, 1.0]).repeat(16)
    images = (sign * (2 + torch.linspace(-1, 1, 32))).view(-1, 1, 1, 1)
    batch = (images, (sign > 0).long())
    first = method.genotype()
    for _ in range(3):
        method.arch_step(net, batch, batch, None)  # type: ignore[arg-type]
    cpu = torch.device("cpu")
    margins = [
        float(net.margin(weights_of(method.space, cell, cpu))) for cell in method.cells_drawn
    ]
    assert method.genotype() == method.cells_drawn[margins.index(max(margins))]
    assert torch.equal(
        method.weights(False)["normal"], weights_of(method.space, method.genotype(), cpu)["normal"]
    )
    method.begin_epoch(net, 1)  # type: ignore[arg-type]
    assert method.genotype() == first


def test_cells_are_scored_after_the_last_epoch_only() -> None:
    config = testing.tiny_config("random_ws", samples=5, arch_steps=3)
    found = testing.run_search(config, testing.tiny_data())
    assert found.steps == {"weight": 9, "architecture": 3}
    assert found.passes == {"forward": 9 + 3 * 5, "backward": 9}
    assert found.images_seen == 8 * (9 + 15)


def test_on_the_enas_space() -> None:
    config = testing.tiny_config("random_ws", topology="enas", samples=3)
    found = testing.run_search(config, testing.tiny_data())
    assert found.genotype in found.space
    assert found.space.pairs


@pytest.mark.parametrize(
    ("option", "reason"),
    [({"attention": "skip_connect=1"}, "it draws all operations alike"), ({"arch_lr": 0.1}, "")],
)
def test_what_it_cannot_take_is_refused(option: dict[str, object], reason: str) -> None:
    with pytest.raises(UsageError, match=f"random_ws takes no --.*{reason}"):
        learner(**option)
    with pytest.raises(UsageError, match="arch_update=epoch"):
        learner(arch_update="step")


def test_weights_of_a_genotype() -> None:
    for space in (Space(), Space.parse("all", "enas")):
        genotype = space.sample(random.Random(2))
        weights = weights_of(space, genotype, torch.device("cpu"))
        for kind in KINDS:
            drawn = [
                edge
                for edge, count in zip(
                    space.candidates(kind), weights[kind].flatten().tolist(), strict=True
                )
                for _ in range(int(count))
            ]
            assert sorted(drawn) == sorted(genotype.edges(kind))
