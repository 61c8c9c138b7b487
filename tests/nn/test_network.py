"""Published sizes of networks (methods.md section 16), drop path, stem, odd and large images."""

import io

import pytest
import torch

from edarts import DartsSpace, Edge, Genotype, Network, Supernet, UsageError
from edarts.nn.cells import Cell
from edarts.nn.kernels import FeatureMap, global_mean
from edarts.nn.operations import count_flops, count_parameters
from edarts.space import zoo

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


def test_a_cell_of_any_edges_equals_its_formula() -> None:
    """One edge, three edges, the same edge twice, an input in the output, a zero node."""
    torch.manual_seed(0)
    edges = [
        *(Edge("sep_conv_3x3", 0, 2), Edge("sep_conv_3x3", 0, 2), Edge("avg_pool_3x3", 1, 2)),
        *(Edge("avg_pool_3x3", 1, 3), Edge("avg_pool_3x3", 1, 3)),
        *(Edge("none", 0, 4), Edge("conv_3x3", 2, 5), Edge("skip_connect", 4, 5)),
    ]
    for reduces in (False, True):
        cell = Cell(
            edges, (0, 3, 4, 5), (6, 6), 4, halved=False, reduces=reduces, affine=True
        ).eval()
        s0, s1 = torch.randn(2, 2, 6, 8, 8).unbind()
        x0, x1 = cell.preprocess[0](s0), cell.preprocess[1](s1)
        first, second, pool, conv = (cell.operations[i] for i in (0, 1, 2, 3))
        node2 = first(x0.relu()) + second(x0.relu()) + pool(x1)
        assert not torch.equal(first(x0.relu()), second(x0.relu()))
        node5 = conv(node2.relu())
        out0 = cell.fit["0"](x0) if reduces else x0
        expected = torch.cat([out0, 2 * pool(x1), torch.zeros_like(node5), node5], 1)
        torch.testing.assert_close(
            cell(FeatureMap(s0), FeatureMap(s1)).x, expected, rtol=1e-5, atol=1e-6
        )
        assert cell.channels_out == expected.shape[1]


@pytest.mark.parametrize("cells", [1, 2, 3, 5])
@pytest.mark.parametrize("preprocessing", ["darts", "nasnet", "enas"])
def test_preprocessing(preprocessing: str, cells: int) -> None:
    """Every preprocessing at any depth; the first cell's reductions and raw inputs fit too."""
    cell = "2:sep3(0)+skip(0)+max3(1) 3:conv1(0)"
    genotype = Genotype.from_dict(
        {"normal": cell, "reduce": cell, "normal_concat": [0, 2, 3], "reduce_concat": [0, 1, 3]}
        | {"preprocessing": preprocessing}
    )
    network = Network(genotype, cells=cells, channels=4, classes=3, auxiliary=True)
    assert network(torch.randn(2, 3, 32, 32), auxiliary=True).shape == (2, 2, 3)
    raw = preprocessing == "nasnet"
    assert isinstance(network.cells[0].preprocess[0], torch.nn.Identity) == raw
    # ReLU before the global pool: a map below zero gives the bias alone
    x = -torch.rand(1, network.classifier.in_features, 2, 2)
    below = network.classifier(global_mean(x, network.rectified))
    assert torch.equal(below[0], network.classifier.bias) == (preprocessing != "darts")


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


def test_drop_path_of_nodes_drops_sums_and_identities() -> None:
    """Fair DARTS' training: every node, for each image alone, kept ones divided by 1 - p."""
    text = "2:skip(0)+skip(1) 3:skip(0)+max3(1) 4:skip(1)+avg3(0) 5:skip(0)+sep3(1)"
    genotype = Genotype.from_dict({"normal": text, "reduce": text})
    torch.manual_seed(0)
    network = Network(genotype, cells=1, channels=2, classes=2)
    cell = network.cells[0]
    assert isinstance(cell, Cell)
    s = FeatureMap(network.stem(torch.randn(600, 3, 4, 4)).detach())
    cell.train()
    whole = cell(s, s).parts
    network.set_drop_path(0.3)
    network.set_drop_nodes()
    kept = []
    for before, after in zip(whole, cell(s, s).parts, strict=True):
        alive = after.flatten(1).abs().sum(1) > 0
        torch.testing.assert_close(after[alive], before[alive] / 0.7, atol=1e-4, rtol=1e-4)
        kept.append(alive)
    assert abs(float(torch.stack(kept).float().mean()) - 0.7) < 0.05
    assert any(not torch.equal(kept[0], other) for other in kept[1:])  # each node by itself
    plain = cell.eval()(s, s).parts
    network.set_drop_path(0.0)
    for one, other in zip(plain, cell(s, s).parts, strict=True):
        torch.testing.assert_close(one, other)  # nothing is dropped in evaluation


@pytest.mark.parametrize("probability", [-0.1, 1.0, 1.5, float("nan")])
def test_impossible_probabilities_are_refused(probability: float) -> None:
    """By supernets and networks alike."""
    network = Network(zoo.get("darts.v2").genotype, cells=3, channels=4, classes=2)
    for net in (network, Supernet(DartsSpace(), cells=3, channels=4, classes=2)):
        with pytest.raises(UsageError, match=r"drop path must lie in \[0, 1\)"):
            net.set_drop_path(probability)
        with pytest.raises(UsageError, match=r"skip dropout must lie in \[0, 1\)"):
            net.set_skip_dropout(probability)
        net.set_skip_dropout(0.5)
        net.set_drop_path(0.999)


SEARCHED = "2:sep3(0)+skip(1) 3:max3(0)+dil5(2) 4:avg3(1)+dil3(0) 5:sep5(3)+skip(0)"


@pytest.mark.parametrize("side", [(32, 32), (17, 23)])
@pytest.mark.parametrize("name", ["searched", "nasnet_a.official"])
def test_recorded_networks_take_any_batch(name: str, side: tuple[int, int]) -> None:
    """Exported with a free batch, and traced at one of 7, they compute what the network does."""
    genotype = (
        Genotype.from_dict({"normal": SEARCHED, "reduce": SEARCHED})
        if name == "searched"
        else zoo.get(name).genotype
    )
    network = Network(genotype, cells=3, channels=4, classes=3, image=(3, *side)).eval()
    x = torch.randn(7, 3, *side)
    exported = torch.export.export(network, (x,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    traced = torch.jit.trace(network, (x,), check_trace=False)
    for batch in (1, 7, 300):
        images = torch.randn(batch, 3, *side)
        expected = network(images)
        for made in (exported.module(), traced):
            torch.testing.assert_close(made(images), expected, rtol=1e-5, atol=1e-5)


def test_legacy_onnx_depends_on_the_image() -> None:
    """The graph once was a constant: its batch and its path were chosen when it was traced."""
    onnx = pytest.importorskip("onnx")
    evaluator = pytest.importorskip("onnx.reference")
    network = Network(zoo.get("darts.v2").genotype, cells=3, channels=4, classes=3).eval()
    file = io.BytesIO()
    torch.onnx.export(
        network,
        (torch.randn(7, 3, 32, 32),),
        file,
        input_names=["x"],
        dynamic_axes={"x": {0: "batch"}},
        dynamo=False,
    )
    session = evaluator.ReferenceEvaluator(onnx.load_from_string(file.getvalue()))
    for batch in (1, 5):
        x = torch.randn(batch, 3, 32, 32)
        (logits,) = session.run(None, {"x": x.numpy()})
        torch.testing.assert_close(torch.from_numpy(logits), network(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("field", ["cells", "channels", "classes"])
def test_sizes_are_checked(field: str) -> None:
    arguments = {"cells": 2, "channels": 2, "classes": 2} | {field: 0}
    with pytest.raises(UsageError, match=field):
        Network(zoo.get("darts.v1").genotype, **arguments)
