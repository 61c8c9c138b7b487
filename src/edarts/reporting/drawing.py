"""Pictures and texts for people: the drawing of an architecture."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edarts.errors import EdartsError
from edarts.nn import trees
from edarts.nn.densenet import DenseNetBC
from edarts.nn.trees import ProxylessTrees
from edarts.nn.whole import Whole
from edarts.space import operations
from edarts.space.genotype import INPUTS, KINDS, Edge, Genotype

COLOURS = {
    "sep": "#1b6ca8",
    "dil": "#7b3fa0",
    "dsep": "#7b3fa0",
    "skip": "#2e8b57",
    "max": "#c05621",
    "avg": "#b7791f",
}
INPUT_NAMES = ("c[k-2]", "c[k-1]")
BENDS = (0.0, *(sign * size / 20 for size in range(1, 11) for sign in (1, -1)))

Point = tuple[float, float]


def draw(
    architecture: Genotype | Whole, folder: Path, title: str = "", stem: str = "cell"
) -> list[Path]:
    """Write `stem`.svg and `stem`.png. Cells: the normal cell above, the reduction cell below.

    The folder is made if it is not there. Raises EdartsError if it cannot be written.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    # A fixed salt and no date: the same architecture gives the same file.
    with matplotlib.rc_context({"svg.hashsalt": "edarts", "font.family": "DejaVu Sans"}):
        height = 4 if isinstance(architecture, DenseNetBC) else 8
        figure = pyplot.figure(figsize=(13, height), layout="constrained")
        if isinstance(architecture, Genotype):
            _draw_cells(figure, architecture, title)
        elif isinstance(architecture, ProxylessTrees):
            _draw_trees(figure, architecture, title)
        elif isinstance(architecture, DenseNetBC):
            _draw_densenet(figure, architecture, title)
        paths = [folder / f"{stem}.svg", folder / f"{stem}.png"]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            figure.savefig(paths[0], metadata={"Date": None})
            figure.savefig(paths[1], dpi=110)
        except OSError as error:
            raise EdartsError(f"{folder}: cannot be written: {error.strerror or error}") from None
        finally:
            pyplot.close(figure)
    return paths


# -- cells ---------------------------------------------------------------------------------------


def _draw_cells(figure: Any, genotype: Genotype, title: str) -> None:
    for axis, kind in zip(figure.subplots(2, 1), KINDS, strict=True):
        name = "normal cell" if kind == "normal" else "reduction cell"
        axis.set_title(f"{name}{': ' + title if title else ''}", loc="left", fontsize=13)
        _draw_cell(axis, genotype.edges(kind), genotype.concat(kind))


@dataclass(frozen=True)
class Layout:
    """Where a cell's labels stand, and its lines, as (start, end, edge; None to the output)."""

    boxes: dict[Point, str]
    nodes: dict[int, Point]
    out: Point
    lines: list[tuple[Point, Point, Edge | None]]


def layout(edges: tuple[Edge, ...], concat: tuple[int, ...]) -> Layout:
    """Nodes from left to right, above and below in turn; each has the boxes of its operations
    before it, so that no label can meet another."""
    nodes = sorted({edge.node for edge in edges})
    place: dict[int, Point] = {0: (-0.8, 0.45), 1: (-0.8, -0.45)}
    for index, node in enumerate(nodes):
        place[node] = (2.6 * (index + 1), 1.5 * (-1) ** index)
    out = (2.6 * (len(nodes) + 1), 0.0)
    boxes = {out: "c[k]"}
    for node, at in place.items():
        boxes[at] = INPUT_NAMES[node] if node < INPUTS else str(node)
    lines: list[tuple[Point, Point, Edge | None]] = []
    for node in nodes:
        entering = [edge for edge in edges if edge.node == node]
        # The upper source enters at the upper box: fewer crossings.
        entering.sort(key=lambda edge: -place[edge.source][1])
        x, y = place[node]
        for slot, edge in enumerate(entering):
            at = (x - 1.05, y + 0.75 * ((len(entering) - 1) / 2 - slot))
            boxes[at] = operations.get(edge.operation).short
            lines += [(place[edge.source], at, edge), (at, place[node], edge)]
    lines += [(place[node], out, None) for node in concat]
    return Layout(boxes, place, out, lines)


def _draw_cell(axis: Any, edges: tuple[Edge, ...], concat: tuple[int, ...]) -> None:
    plan = layout(edges, concat)
    for start, end, edge in plan.lines:
        if edge is None:
            _line(axis, start, end, "#c4c4c4", "-|>", plan.boxes, dashed=True)
            continue
        colour, entering = colour_of(edge.operation), end == plan.nodes[edge.node]
        _line(axis, start, end, colour, "-|>" if entering else "-", plan.boxes)
        if not entering:
            _box(axis, end, plan.boxes[end], "white", edge=colour, text=colour)
    for node, at in plan.nodes.items():
        _box(axis, at, plan.boxes[at], "#dbeafe" if node < INPUTS else "#e5e7eb")
    _box(axis, plan.out, plan.boxes[plan.out], "#fde68a")
    axis.set_axis_off()
    axis.set_aspect("equal")  # so that a bend in the data's units is the bend that is drawn
    axis.set_xlim(-1.4, plan.out[0] + 0.6)
    height = max(2.25, *(abs(y) + 0.35 for _, y in plan.boxes))
    axis.set_ylim(-height, height)


def bend(start: Point, end: Point, boxes: dict[Point, str]) -> float:
    """The smallest bend of a line that keeps it off the boxes between, else the best one."""
    scores: dict[float, int] = {}
    for size in BENDS:  # the smallest first
        scores[size] = hits(start, end, size, boxes)
        if scores[size] == 0:
            break
    return min(scores, key=lambda size: (scores[size], abs(size)))


def hits(start: Point, end: Point, size: float, boxes: dict[Point, str]) -> int:
    """How many of 40 points on the line lie in another box, or above or below all boxes.

    The line is matplotlib's arc3: a quadratic Bezier curve, bent by `size`.
    """
    (x0, y0), (x1, y1) = start, end
    xc, yc = (x0 + x1) / 2 + size * (y1 - y0), (y0 + y1) / 2 - size * (x1 - x0)
    highest = max((abs(y) for _, y in boxes), default=0.0)
    count = 0
    for step in range(1, 41):
        t = step / 41
        x = (1 - t) ** 2 * x0 + 2 * t * (1 - t) * xc + t**2 * x1
        y = (1 - t) ** 2 * y0 + 2 * t * (1 - t) * yc + t**2 * y1
        count += abs(y) > highest or any(
            abs(x - at[0]) < half_width(label) and abs(y - at[1]) < HALF_HEIGHT
            for at, label in boxes.items()
            if at not in (start, end)
        )
    return count


HALF_HEIGHT = 0.26  # of a label's box, in the units of a layout, with a margin


def half_width(label: str) -> float:
    """Of a label's box, in the units of a layout, with a margin."""
    return 0.16 + 0.07 * len(label)


# -- whole networks ------------------------------------------------------------------------------


def _draw_trees(figure: Any, network: ProxylessTrees, title: str) -> None:
    """A block per line, a stage per column: width, then edge and two leaves of each child."""
    figure.suptitle(f"{network}{': ' + title if title else ''}", x=0.01, ha="left", fontsize=13)
    per_stage = len(network.blocks) // trees.STAGES
    for stage, axis in enumerate(figure.subplots(1, trees.STAGES)):
        axis.set_axis_off()
        axis.set_xlim(-1.9, 15.6)
        axis.set_ylim(per_stage + 0.5, -1.5)
        for group, name in enumerate(("A1", "A2", "B1", "B2")):
            axis.text(4 * group + 1.0, -1.0, name, ha="center", va="center", fontsize=10)
        for row in range(per_stage):
            index = stage * per_stage + row
            block = network.blocks[index]
            label = f"{index + 1}   w {block.width}"
            axis.text(-0.8, row, label, ha="right", va="center", fontsize=8)
            for group, child in enumerate(block.children):
                for place, letter in enumerate(child):
                    colour = _LETTERS[letter]
                    at = (4 * group + place, row)
                    fill = "#f3f4f6" if place == 0 else "white"
                    _box(axis, at, letter, fill, edge=colour, text=colour, font=("monospace", 9))
    legend = ",  ".join(f"{letter} = {name}" for letter, name in trees.OPERATIONS.items())
    figure.supxlabel(
        "A, B: the halves of a block's 2 w channels. Each has two children: a grey edge, and two"
        f" leaves that read it and are added.\n{legend}",
        fontsize=10,
    )


_LETTERS = {
    "i": COLOURS["skip"],
    "a": COLOURS["avg"],
    "m": COLOURS["max"],
    "3": COLOURS["sep"],
    "5": COLOURS["sep"],
    "7": COLOURS["sep"],
    "d": COLOURS["dil"],
}


def _draw_densenet(figure: Any, network: DenseNetBC, title: str) -> None:
    """The blocks in a row above, the steps of one layer below."""
    k, widths = network.growth, network.widths
    blocks = [f"3x3 conv\nto {2 * k}"]
    for before, after in widths:
        blocks += [f"{network.layers} layers\n{before} to {after}"]
        blocks += [f"norm, ReLU\n1x1 conv\nto {after // 2}\n2x2 average\npool"]
    blocks[-1] = "norm, ReLU\nglobal\npool\nlinear"
    steps = ["norm\nReLU", f"1x1 conv\nto {4 * k}", "norm\nReLU", f"3x3 conv\nto {k}"]
    steps += ["append to\nthe input"]
    rows = ((f"{network}{': ' + title if title else ''}", blocks), ("one layer", steps))
    for axis, (name, labels) in zip(figure.subplots(2, 1), rows, strict=True):
        axis.set_title(name, loc="left", fontsize=13)
        axis.set_axis_off()
        axis.set_xlim(-0.6, len(blocks) - 0.4)
        axis.set_ylim(-1, 1)
        for index, label in enumerate(labels):
            if index:
                _line(axis, (index - 1.0, 0.0), (float(index), 0.0), "#374151", "-|>", {}, gap=52)
            fill = "#dbeafe" if "layers" in label else "white"
            _box(axis, (index, 0.0), label, fill, font=("sans-serif", 11))


# -- parts ---------------------------------------------------------------------------------------


def colour_of(operation: str) -> str:
    short = operations.get(operation).short
    return next((c for prefix, c in COLOURS.items() if short.startswith(prefix)), "#374151")


def _box(
    axis: Any,
    at: Point,
    label: str,
    fill: str,
    edge: str = "#374151",
    text: str = "black",
    font: tuple[str, float] = ("sans-serif", 12),
) -> None:
    style = {"boxstyle": "round,pad=0.35", "facecolor": fill, "edgecolor": edge, "linewidth": 1.3}
    family, size = font
    axis.text(
        *at,
        label,
        ha="center",
        va="center",
        family=family,
        fontsize=size,
        color=text,
        zorder=5,
        bbox=style,
    )


def _line(
    axis: Any,
    start: Point,
    end: Point,
    colour: str,
    style: str,
    boxes: dict[Point, str],
    dashed: bool = False,
    gap: float = 16,
) -> None:
    """An arrow or line, bent around `boxes`; it ends `gap` points before the middle of its end."""
    axis.annotate(
        "",
        end,
        start,
        arrowprops={
            "arrowstyle": style,
            "color": colour,
            "linewidth": 1.1 if dashed else 1.7,
            "linestyle": "--" if dashed else "-",
            "shrinkA": 14,
            "shrinkB": gap,
            "connectionstyle": f"arc3,rad={bend(start, end, boxes)}",
        },
    )
