"""Drawings: every label and every edge is there, in both formats, and the same bytes each time."""

import io
import random
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from edarts.errors import EdartsError, UsageError
from edarts.reporting import drawing
from edarts.runs.folder import Run
from edarts.space import operations, zoo
from edarts.space.cell_picture import cell_panel
from edarts.space.darts import DartsSpace
from edarts.space.genotype import Genotype
from edarts.space.picture import Box, Line, Panel, Picture, Text, colour_of, connect

pytestmark = pytest.mark.pictures

SVG = "{http://www.w3.org/2000/svg}"
EVIL = '<script>alert("x")</script>&\'"$x$'


def genotype(seed: int) -> Genotype:
    return DartsSpace().sample(random.Random(seed))


def pixels(png: bytes) -> np.ndarray:
    """(H, W, 3), 0 to 255."""
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB"), dtype=np.int16)


def at(panel: Panel, shape: tuple[int, ...], x: float, y: float) -> tuple[int, int]:
    """Row and column of a point of the panel in its PNG of (H, W, 3)."""
    left, _, _, top = panel.bounds
    row, column = (top - y) / panel.height * shape[0], (x - left) / panel.width * shape[1]
    return round(row), round(column)


def rgb(colour: str) -> np.ndarray:
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])


# -- what is drawn -------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [4, 5])
def test_every_label_of_a_genotype_is_in_its_svg(seed: int) -> None:
    picture = genotype(seed).draw("a title")
    root = ElementTree.fromstring(drawing.svg(picture))
    expected = ["a title", "normal cell", "reduction cell"]
    for edges, _ in genotype(seed).cells.values():
        expected += ["c[k-2]", "c[k-1]", *sorted({str(edge.node) for edge in edges}), "c[k]"]
        expected += [operations.get(edge.operation).short for edge in edges]
    assert sorted(str(text.text) for text in root.iter(f"{SVG}text")) == sorted(expected)


@pytest.mark.parametrize("name", ["darts.v2", "nasnet_a.official", "fair_darts.a"])
def test_every_edge_has_its_lines(name: str) -> None:
    """One from the source to the operation, one on to the node, and one for each output node."""
    for edges, concat in zoo.get(name).genotype.cells.values():
        panel = cell_panel(edges, concat)
        nodes = {box.label: box for box in panel.boxes if re.fullmatch(r"\d+|c\[.*", box.label)}
        nodes |= {"0": nodes["c[k-2]"], "1": nodes["c[k-1]"]}
        starts = {box.at: box for box in panel.boxes}
        left = list(panel.lines)
        for operation, source, node in edges:
            into, out = next(
                (one, other)
                for one in left
                for other in left
                if one.start == nodes[str(source)].at
                and starts[one.end].label == operations.get(operation).short
                and other.start == one.end
                and nodes[str(node)].covers(other.head[0] if other.head else (99.0, 99.0))
            )
            assert into.colour == out.colour == colour_of(operation)
            left.remove(into)
            left.remove(out)
        assert [line.start for line in left] == [nodes[str(node)].at for node in concat]
        assert all(
            line.dashed and line.head and nodes["c[k]"].covers(line.head[0]) for line in left
        )
        assert sum(line.tag == f"{SVG}path" for line in svg_of(panel).iter()) == sum(
            1 + (line.head is not None) for line in panel.lines
        )


def svg_of(panel: Panel) -> ElementTree.Element:
    return ElementTree.fromstring(drawing.svg(panel))


def test_the_svg_has_each_line_where_the_picture_has_it() -> None:
    panel = genotype(4).draw().panels[0]
    drawn = [path.get("d") for path in svg_of(panel).iter(f"{SVG}path") if path.get("stroke")]

    def text(point: tuple[float, float]) -> str:
        return f"{point[0] * drawing.UNIT:.1f} {-point[1] * drawing.UNIT:.1f}"

    assert drawn == [
        f"M{text(line.start)} Q{text(line.control)} {text(line.end)}" for line in panel.lines
    ]


@pytest.mark.parametrize("name", ["darts.v2", "densenet_bc.l100_k12", "proxyless.cifar10"])
def test_the_png_shows_lines_boxes_and_labels_where_the_picture_has_them(name: str) -> None:
    sheet = zoo.get(name).architecture.draw(name).sheet()
    image = pixels(drawing.png(sheet))
    for line in sheet.lines:
        if line.head is not None:
            middle = np.mean(line.head, axis=0)
            row, column = at(sheet, image.shape, *middle)
            assert np.abs(image[row, column] - rgb(line.colour)).max() < 40, line
    for box in sheet.boxes:
        x, y = box.at
        corner = at(sheet, image.shape, x - box.width / 2, y + box.height / 2)
        other = at(sheet, image.shape, x + box.width / 2, y - box.height / 2)
        inside = image[corner[0] + 3 : other[0] - 3, corner[1] + 3 : other[1] - 3]
        assert np.abs(inside - rgb(box.fill)).max(axis=-1).min() < 8, box.label
        assert np.abs(inside - rgb(box.text)).max(axis=-1).min() < 90, box.label
        # The letters keep off the border: beside it, but for the corners, is only the area.
        assert np.abs(inside[6:-6, [0, -1]] - rgb(box.fill)).max() < 8, box.label
    for text in sheet.texts:
        x, y = text.at
        row, column = at(sheet, image.shape, x, y)
        near = image[row - 12 : row + 12, max(0, column - 30) : column + 30]
        assert near.min() < 90, text


def test_the_png_is_not_blank_and_differs_between_genotypes() -> None:
    one, other = (pixels(drawing.png(genotype(seed).draw())) for seed in (4, 5))
    for image in (one, other):
        assert image.shape[0] > 500 and image.shape[1] > 1000
        assert 0.02 < (image.min(axis=-1) < 250).mean() < 0.5  # some of it is drawn on
    assert one.shape == other.shape
    assert (np.abs(one - other).max(axis=-1) > 50).mean() > 0.002


def test_a_line_bends_around_a_box() -> None:
    start, end = Box((0.0, 0.0), "a"), Box((6.0, 0.0), "b")
    free = connect(start, end, [start, end])
    assert free.control[1] == free.end[1] == 0.0
    between = Box((3.0, 0.0), "between")
    above, below = Box((3.0, 2.0), "above"), Box((3.0, -2.0), "below")
    line = connect(start, end, [start, end, between, above, below])
    # The curve's own formula, not the module's: B(t) = (1-t)^2 P0 + 2t(1-t) P1 + t^2 P2.
    for t in np.linspace(0, 1, 101):
        curve = np.array([line.start, line.control, line.end])
        point = np.array([(1 - t) ** 2, 2 * t * (1 - t), t * t]) @ curve
        inside = abs(point[0] - 3.0) < between.width / 2 and abs(point[1]) < between.height / 2
        assert not inside
        assert abs(point[1]) < 2


def test_an_arrow_touches_its_box_and_ends_sharp() -> None:
    start, end = Box((0.0, 0.0), "a"), Box((4.0, 0.0), "box")
    line = connect(start, end)
    assert line.head is not None
    assert line.head[0] == pytest.approx((4.0 - end.width / 2, 0.0), abs=0.03)
    assert line.head[1][0] == line.head[2][0] < line.end[0] < line.head[0][0]
    assert connect(start, end, arrow=False) == Line((0.0, 0.0), (2.0, 0.0), (4.0, 0.0))


def test_an_operation_from_elsewhere_is_grey_and_has_its_own_name() -> None:
    panel = cell_panel([("my_convolution", 0, 2), ("skip_connect", 1, 2)], [2])
    (box,) = (box for box in panel.boxes if box.label == "my_convolution")
    assert box.edge == box.text == colour_of("my_convolution") == "#374151"
    for other in panel.boxes:  # long as the name is, it meets no other box
        apart = abs(box.at[0] - other.at[0]) > (box.width + other.width) / 2
        assert other is box or apart or abs(box.at[1] - other.at[1]) > box.height


def test_a_cell_may_have_other_inputs() -> None:
    panel = cell_panel([("skip_connect", 0, 1)], [1], "cell", inputs=["input"])
    assert [box.label for box in panel.boxes] == ["input", "1", "skip", "c[k]"]
    assert panel.boxes[0].at[1] == 0


def test_texts_are_escaped_and_read_as_they_are() -> None:
    panel = Panel(EVIL, (Box((0, 0), EVIL),), (), (Text((0, 1), EVIL),), (-2, -1, 2, 2))
    text = drawing.svg(Picture(EVIL, (panel,)))
    assert "<script" not in text
    root = ElementTree.fromstring(text)
    assert [one.text for one in root.iter(f"{SVG}text")] == [EVIL] * 4
    assert root.get("aria-label") == EVIL
    assert (pixels(drawing.png(Picture(EVIL, (panel,)))) < 100).any()  # no formula that fails


# -- a sheet -------------------------------------------------------------------------------------


def test_a_sheet_shows_all_panels_apart_and_inside() -> None:
    def panel(caption: str, size: float) -> Panel:
        box = Box((0.0, 0.0), caption)
        return Panel(caption, (box,), (), (), (-size, -size, size, size))

    panels = tuple(panel(name, size) for name, size in (("a", 1), ("b", 2), ("c", 1), ("d", 1)))
    sheet = Picture("title", panels, columns=2, note="one\ntwo").sheet()
    where = {box.label: box.at for box in sheet.boxes}
    assert where["a"][0] == where["c"][0] == 1.0
    assert where["b"][0] - where["a"][0] == 3.0
    assert where["d"][1] == where["c"][1] < where["b"][1] - 2
    assert [text.text for text in sheet.texts] == ["title", *"abcd", "one", "two"]
    heights = [text.at[1] for text in sheet.texts]
    assert heights[0] > heights[1] > where["a"][1]
    left, bottom, right, top = sheet.bounds
    for x, y in [*where.values(), *(text.at for text in sheet.texts)]:
        assert left < x < right and bottom < y < top


# -- files ---------------------------------------------------------------------------------------


def test_the_same_genotype_gives_the_same_files(tmp_path: Path) -> None:
    paths = drawing.draw(genotype(4), tmp_path / "new")
    assert paths == [tmp_path / "new" / "cell.svg", tmp_path / "new" / "cell.png"]
    first = [path.read_bytes() for path in paths]
    assert [path.read_bytes() for path in drawing.draw(genotype(4), tmp_path, stem="x")] == first
    others = [path.read_bytes() for path in drawing.draw(genotype(5), tmp_path)]
    assert all(one != other for one, other in zip(first, others, strict=True))
    titled = [path.read_bytes() for path in drawing.draw(genotype(4), tmp_path, "title")]
    assert all(one != other for one, other in zip(first, titled, strict=True))


def test_a_run_writes_the_files_itself(tmp_path: Path) -> None:
    written: dict[str, bytes] = {}

    class Recorder(Run):
        def write_bytes(self, name: str, content: bytes) -> Path:
            written[name] = content
            return self.path / name

    assert drawing.draw(genotype(4), Recorder(tmp_path)) == [
        tmp_path / "cell.svg",
        tmp_path / "cell.png",
    ]
    assert list(written) == ["cell.svg", "cell.png"]
    assert not list(tmp_path.iterdir())


def test_an_architecture_that_does_not_say_how_it_looks_gives_no_file(tmp_path: Path) -> None:
    class Silent:
        def draw(self, title: str = "") -> Picture:
            raise UsageError("there is no drawing of it")

    assert drawing.draw(Silent(), tmp_path) == []
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EdartsError, match=r"file.*cannot be written"):
        drawing.draw(genotype(4), tmp_path / "file" / "folder")
