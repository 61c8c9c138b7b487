"""The whole zoo: sizes to the last published digit, building, JSON, drawings; data and table."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from edarts import Genotype, Network, Size, UsageError
from edarts.nn.operations import count_parameters
from edarts.nn.trees import Block, ProxylessTrees
from edarts.reporting import drawing
from edarts.space import architecture, operations, zoo
from edarts.space.genotype import KINDS, loose_ends
from edarts.space.picture import Box, Line, hits

# methods.md section 16: given to the unit where an int, in millions with these digits where a text.
SIZES: dict[str, int | str] = {
    "densenet_bc.l190_k40": 25_624_430,
    "densenet_bc.l100_k12": "0.769",
    "resnet.r20": 269_722,
    "resnet.r110": 1_727_962,
    "mobilenetv2.w32": 2_236_682,
    "convnet.w64": 1_972_792,
    "linear.pixels": 30_730,
    "nasnet_a.official": "3.347",
    "nasnet_a.darts": "3.06",
    "amoebanet_a.official": "3.218",
    "amoebanet_a.darts": "3.145",
    "amoebanet_b.official": "2.839",
    "pnasnet5.official": "3.19",
    "enas.script": "3.894",
    "enas.figure": "4.020",
    "darts.v1": 3_169_414,
    "darts.v2": 3_349_342,
    "snas.mild": 2_661_382,
    "snas.moderate": 2_847_358,
    "snas.aggressive": 2_313_622,
    "proxyless.cifar10": 5_731_530,
    "pc_darts.cifar10": 3_634_678,
    "fair_darts.a": "2.3608",
    "fair_darts.b": "3.4079",
    "fair_darts.c": "2.5988",
    "fair_darts.d": "3.3655",
    "fair_darts.e": "2.6437",
    "fair_darts.f": "3.1511",
    "fair_darts.g": "2.8991",
    "p_darts.cifar10": 3_433_798,
}
README = Path(__file__).parents[2] / "README.md"
REFERENCE = Path(os.environ.get("EDARTS_REFERENCE", "../shared/reference/genotypes.json"))
# Zoo name -> name in the reference.
CELLS = {
    **{f"darts.{v}": f"DARTS_{v.upper()}" for v in ("v1", "v2")},
    **{f"snas.{c}": f"SNAS_{c}" for c in ("mild", "moderate", "aggressive")},
    **{f"fair_darts.{c}": f"FairDARTS_{c}" for c in "abcdefg"},
    "pc_darts.cifar10": "PC_DARTS_cifar",
    "p_darts.cifar10": "PDARTS_C10",
    "enas.script": "ENAS_script",
    "enas.figure": "ENAS_paper_transcribed",
    "nasnet_a.official": "NASNet_A_official",
    "nasnet_a.darts": "NASNet_DARTSrepo",
    "amoebanet_a.official": "AmoebaNet_A_official",
    "amoebanet_a.darts": "AmoebaNet_DARTSrepo",
    "amoebanet_b.official": "AmoebaNet_B_official",
    "pnasnet5.official": "PNASNet5",
}


def digits(count: int, printed: str) -> str:
    """`count` in millions, with as many digits as `printed`."""
    return f"{count / 1e6:.{len(printed.partition('.')[2])}f}"


Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def rows() -> Rows:
    """Counting every parameter takes seconds: once for all tests."""
    return zoo.rows()


def test_sizes_name_the_whole_zoo() -> None:
    assert list(SIZES) == zoo.names()


@pytest.mark.pictures
@pytest.mark.parametrize("name", SIZES)
def test_everything(name: str, tmp_path: Path) -> None:
    """Count, JSON round trip, building, forward, backward, drawing."""
    entry, size = zoo.get(name), SIZES[name]
    count = entry.parameters()
    assert count == size if isinstance(size, int) else digits(count, size) == size
    again = architecture.parse(entry.architecture.to_json())
    assert again == entry.architecture
    assert hash(again) == hash(entry.architecture)

    torch.manual_seed(0)
    image = (3, 8, 8)
    network = again.build(Size(5, 4) if again.sized else Size(), image, 5)
    logits = network(torch.randn(2, *image))
    assert logits.shape == (2, 5)
    logits.square().sum().backward()
    idle = [n for n, p in network.named_parameters() if p.requires_grad and p.grad is None]
    assert all(".preprocess." in n for n in idle), idle  # of an input that no edge leaves

    drawings = drawing.draw(entry.architecture, tmp_path, title=name, stem=name)
    assert [path.name for path in drawings] == [f"{name}.svg", f"{name}.png"]
    assert drawings[0].stat().st_size > 1_000
    assert drawings[1].read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("name", CELLS)
def test_no_label_or_line_meets_a_label(name: str) -> None:
    genotype = zoo.get(name).genotype
    for panel, (edges, _) in zip(genotype.draw().panels, genotype.cells.values(), strict=True):
        nodes = {0, 1} | {edge.node for edge in edges}
        assert len(panel.boxes) == len(edges) + len(nodes) + 1
        for index, one in enumerate(panel.boxes):
            for other in panel.boxes[:index]:
                apart = abs(one.at[0] - other.at[0]) > (one.width + other.width) / 2
                assert apart or abs(one.at[1] - other.at[1]) > one.height, (one, other)
        for line in panel.lines:
            ends = [box for box in panel.boxes if ends_at(line, box)]
            assert len(ends) == 2, line
            others = [box for box in panel.boxes if box not in ends]
            assert hits(line, others) == 0, line


def ends_at(line: Line, box: Box) -> bool:
    return box.at == line.start or box.covers(line.head[0] if line.head else line.end)


@pytest.mark.parametrize("name", CELLS)
def test_cells_equal_the_reference(name: str) -> None:
    if not REFERENCE.exists():
        pytest.skip(f"{REFERENCE} is absent")
    known, genotype = json.loads(REFERENCE.read_text()), zoo.get(name).genotype
    fields = known[CELLS[name]]
    if name.startswith("fair_darts"):  # lists [operation, node, source]; absent nodes in the output
        nodes = {kind: {to for _, to, _ in fields[kind]} for kind in KINDS}
        fields = {
            **{kind: [[o, source, to] for o, to, source in fields[kind]] for kind in KINDS},
            **{f"{kind}_concat": sorted(nodes[kind]) for kind in KINDS},
        }
    assert Genotype.from_dict(fields | {"preprocessing": genotype.preprocessing}) == genotype
    all_edges = known.get(f"{CELLS[name]}_edge_all")  # SNAS lists all 14 edges as well
    if all_edges is not None:
        rows = [node for node in range(2, 6) for _ in range(node)]
        for kind in KINDS:
            edges = [[*e, to] for e, to in zip(all_edges[kind], rows, strict=True)]
            both = Genotype.from_dict({"normal": edges, "reduce": edges})
            assert both.normal == genotype.edges(kind)


def test_trees_equal_the_reference() -> None:
    if not REFERENCE.exists():
        pytest.skip(f"{REFERENCE} is absent")
    known = json.loads(REFERENCE.read_text())["Proxyless_CIFAR_trees"]
    trees = zoo.get("proxyless.cifar10").architecture
    assert isinstance(trees, ProxylessTrees)
    for number, (width, block) in enumerate(zip(known["widths"], trees.blocks, strict=True), 1):
        assert block == Block.parse(f"{width} {' '.join(known['trees'][str(number)])}")
        # w = r - r mod 2, r = round(16 + 84 l / 54): the addition rule of PyramidNet
        rounded = round(16 + 84 * number / 54)
        assert width == rounded - rounded % 2


def test_sizes_of_other_forms() -> None:
    """methods.md sections 5, 9 to 12, 14 and 16: auxiliary heads, 100 classes, other sizes."""
    for name in ("darts.v1", "snas.mild", "pc_darts.cifar10", "p_darts.cifar10", "fair_darts.a"):
        with torch.device("meta"):
            network = zoo.get(name).build(auxiliary=True)
        assert sum(p.numel() for p in network.parameters()) == zoo.get(name).parameters() + 476_426
    with torch.device("meta"):
        enas = zoo.get("enas.script").build(auxiliary=True)
    assert digits(sum(p.numel() for p in enas.parameters()), "4.389") == "4.389"
    assert digits(zoo.get("p_darts.cifar10").parameters(classes=100), "3.4857") == "3.4857"
    assert digits(zoo.get("densenet_bc.l190_k40").parameters(classes=100), "25.822") == "25.822"

    def size(name: str, cells: int, channels: int, **change: object) -> int:
        genotype = Genotype.from_dict(zoo.get(name).genotype.to_dict() | change)
        with torch.device("meta"):
            return count_parameters(Network(genotype, cells=cells, channels=channels, classes=10))

    figure = {"preprocessing": "enas", "normal_concat": "loose ends", "reduce_concat": "loose ends"}
    assert digits(size("enas.figure", 17, 36, **figure), "3.492") == "3.492"
    assert digits(size("pnasnet5.official", 9, 48, preprocessing="darts"), "3.177") == "3.177"
    assert digits(size("amoebanet_a.official", 20, 32), "2.568") == "2.568"
    assert digits(size("amoebanet_b.official", 20, 80), "13.7") == "13.7"
    assert digits(size("amoebanet_b.official", 20, 128), "34.9") == "34.9"
    assert digits(size("nasnet_a.darts", 20, 36), "3.83") == "3.83"


def test_loose_ends_of_enas() -> None:
    reduce = zoo.get("enas.figure").genotype.reduce
    assert loose_ends(reduce) == (2, 3, 6)
    assert zoo.get("enas.script").genotype.reduce_concat == (2, 4, 5, 6)


def test_entries_are_complete(rows: Rows) -> None:
    for row in rows:
        name, entry = row["name"], zoo.get(row["name"])
        assert all((entry.row, entry.paper, entry.source)), name
        assert entry.published.parameters_m or "no figures" in entry.differs, name
        assert 2016 <= entry.year <= 2024 or name == "linear.pixels"
        if abs(row["parameters"] / 1e6 - (entry.published.parameters_m or 0)) > 0.06:
            assert entry.differs, name
        assert (entry.cells is None) == (not isinstance(entry.architecture, Genotype))
    with pytest.raises(UsageError, match=r"did you mean pc_darts\.cifar10"):
        zoo.get("pc_darts.cifar")
    with pytest.raises(TypeError, match="whole network"):
        _ = zoo.get("proxyless.cifar10").genotype


def test_table(rows: Rows) -> None:
    v2 = next(row for row in rows if row["name"] == "darts.v2")
    assert v2["parameters"] == 3_349_342
    assert v2["published"] == {
        "c10_error": 2.76,
        "c100_error": 17.54,
        "parameters_m": 3.3,
        "gpu_days": 4.0,
    }
    lines = zoo.table(rows).splitlines()
    assert len(lines) == 1 + len(rows) + 4
    assert len({line.rindex("  ") for line in lines}) == 1  # columns are aligned
    (line,) = [line for line in lines if line.startswith("darts.v2")]
    assert line.split()[1:] == ["2.76", "17.54", "3.3", "3,349,342", "4", "gradient-based"]
    (shown,) = re.findall(r"```text\n(name .*?)```", README.read_text(encoding="utf-8"), re.S)
    assert set(shown.splitlines()) <= set(lines)  # the README prints what is printed
    assert any(line.startswith("eDARTS CIFAR10 + cutout") for line in shown.splitlines())


def test_description() -> None:
    text = zoo.get("amoebanet_b.official").describe()
    for part in ("3:conv3(0)+skip(2)", "2,839,186", "2.55 %", "3150 GPU"):
        assert part in text
    assert re.search(r"^normal output +\(1, 3, 4, 6\)$", text, re.MULTILINE)
    used = {e.operation for n in CELLS for k in KINDS for e in zoo.get(n).genotype.edges(k)}
    assert used == set(operations.BUILT_IN)
