"""Published sizes of networks (methods.md section 16), drop path, stem, odd and large images."""

import pytest
import torch

from edarts import Edge, Genotype, Network, UsageError, zoo
from edarts.cells import Cell
from edarts.ops import count_flops, count_parameters

PUBLISHED = {"cells": 20, "channels": 36, "classes": 10}
POOLS = tuple(Edge("max_pool_3x3", j, n) for n in range(2, 6) for j in (0, 1))


def size(normal: tuple[Edge, ...], reduce: tuple[Edge, ...]) -> int:
    genotype = Genotype(normal, reduce, (2, 3, 4, 5), (2, 3, 4, 5))
    return count_parameters(Network(genotype, **PUBLISHED))


@pytest.mark.parametrize(("name", "count"), [("darts.v1", 3_169_414), ("darts.v2", 3_349_342)])
def test_published_networks(name: str, count: int) -> None:
    network = Network(zoo.get(name).genotype, **PUBLISHED, auxiliary=True)
    assert count_parameters(network) == count
    assert sum(p.numel() for p in network.auxiliary.parameters()) == 476_426
    assert sum(p.numel() for p in network.parameters()) == count + 476_426


@pytest.mark.parametrize(
    ("operation", "normal", "reduce"),
    [
        ("sep_conv_3x3", 359_856, 56_592),
        ("sep_conv_5x5", 408_240, 63_504),
        ("dil_conv_3x3", 179_928, 28_296),
        ("dil_conv_5x5", 204_120, 31_752),
        ("skip_connect", 0, 26_352),
    ],
)
def test_unit_constants(operation: str, normal: int, reduce: int) -> None:
    changed = (Edge(operation, 0, 2), *POOLS[1:])
    assert size(POOLS, POOLS) == 1_370_134
    assert size(changed, POOLS) - 1_370_134 == normal
    assert size(POOLS, changed) - 1_370_134 == reduce


def test_auxiliary_logits() -> None:
    v2 = zoo.get("darts.v2").genotype
    for side in (32, 8):
        network = Network(v2, cells=5, channels=4, classes=3, image=(1, side, side), auxiliary=True)
        out = network(torch.randn(2, 1, side, side), auxiliary=True)
        assert out.shape == (2, 2, 3)


@pytest.mark.parametrize("image", [(1, 8, 8), (2, 9, 13), (3, 33, 32), (4, 64, 40), (3, 256, 256)])
def test_any_image(image: tuple[int, int, int]) -> None:
    network = Network(zoo.get("darts.v1").genotype, cells=3, channels=4, classes=2, image=image)
    assert network(torch.randn(2, *image)).shape == (2, 2)
    assert max(network.stem(torch.randn(1, *image)).shape[-2:]) <= 48
    assert count_flops(network, image) > 0


def test_drop_path() -> None:
    torch.manual_seed(0)
    network = Network(zoo.get("darts.v2").genotype, cells=3, channels=4, classes=2)
    cell = network.cells[0]
    assert isinstance(cell, Cell)
    network.set_drop_path(0.3)
    skip, conv = (
        next(i for i, e in enumerate(cell.edges) if e.operation == name)
        for name in ("skip_connect", "sep_conv_3x3")
    )
    x = torch.ones(4000, 1, 1, 1)
    slots = [cell.slots[i] for i in (skip, conv)]
    kept, dropped = (cell._drop(x, cell.operations[slot or 0]) for slot in slots)
    assert torch.equal(kept, x)
    assert dropped.unique().tolist() == pytest.approx([0.0, 1 / 0.7])
    # 4000 draws with probability 0.3: five standard deviations are 0.036
    assert abs(float((dropped == 0).float().mean()) - 0.3) < 0.036
    with pytest.raises(UsageError):
        network.set_drop_path(1.0)


@pytest.mark.parametrize("field", ["cells", "channels", "classes"])
def test_sizes_are_checked(field: str) -> None:
    arguments = {"cells": 2, "channels": 2, "classes": 2} | {field: 0}
    with pytest.raises(UsageError, match=field):
        Network(zoo.get("darts.v1").genotype, **arguments)
