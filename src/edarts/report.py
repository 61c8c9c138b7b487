"""Pictures and texts for people: the drawing of a genotype's cells."""

from pathlib import Path
from typing import Any

from edarts.genotype import INPUTS, KINDS, Edge, Genotype
from edarts.ops import PRIMITIVES

COLOURS = {
    "sep": "#1b6ca8",
    "dil": "#7b3fa0",
    "skip": "#2e8b57",
    "max": "#c05621",
    "avg": "#b7791f",
}
INPUT_NAMES = ("c[k-2]", "c[k-1]")


def draw(genotype: Genotype, folder: Path, title: str = "") -> list[Path]:
    """Write cell.svg and cell.png: the normal cell above, the reduction cell below."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    # A fixed salt and no date: the same genotype gives the same file.
    with matplotlib.rc_context({"svg.hashsalt": "edarts", "font.family": "DejaVu Sans"}):
        figure, axes = pyplot.subplots(2, 1, figsize=(13, 8), layout="constrained")
        for axis, kind in zip(axes, KINDS, strict=True):
            name = "normal cell" if kind == "normal" else "reduction cell"
            axis.set_title(f"{name}{': ' + title if title else ''}", loc="left", fontsize=13)
            _draw_cell(axis, genotype.edges(kind), genotype.concat(kind))
        paths = [folder / "cell.svg", folder / "cell.png"]
        figure.savefig(paths[0], metadata={"Date": None})
        figure.savefig(paths[1], dpi=110)
        pyplot.close(figure)
    return paths


def _draw_cell(axis: Any, edges: tuple[Edge, ...], concat: tuple[int, ...]) -> None:
    """Nodes from left to right; each has the boxes of its operations before it, so that no label
    can meet another."""
    nodes = sorted({edge.node for edge in edges})
    place: dict[int, tuple[float, float]] = {0: (0.0, 0.45), 1: (0.0, -0.45)}
    for index, node in enumerate(nodes):
        place[node] = (2.6 * (index + 1), 1.5 * (-1) ** index)
    out = (2.6 * (len(nodes) + 1), 0.0)
    axis.set_axis_off()
    for node in nodes:
        entering = [edge for edge in edges if edge.node == node]
        # The upper source enters at the upper box: fewer crossings.
        entering.sort(key=lambda edge: -place[edge.source][1])
        x, y = place[node]
        for slot, edge in enumerate(entering):
            box = (x - 1.05, y + 0.75 * ((len(entering) - 1) / 2 - slot))
            colour = _colour(edge.operation)
            short = PRIMITIVES[edge.operation].short
            _line(axis, place[edge.source], box, colour, "-")
            _line(axis, box, place[node], colour, "-|>")
            _box(axis, box, short, "white", edge=colour, text=colour)
    for node in concat:
        _line(axis, place[node], out, "#c4c4c4", "-|>", dashed=True)
    for node, at in place.items():
        label = INPUT_NAMES[node] if node < INPUTS else str(node)
        _box(axis, at, label, "#dbeafe" if node < INPUTS else "#e5e7eb")
    _box(axis, out, "c[k]", "#fde68a")
    axis.set_xlim(-0.6, out[0] + 0.6)
    axis.set_ylim(-2.2, 2.2)


def _colour(operation: str) -> str:
    short = PRIMITIVES[operation].short
    return next((c for prefix, c in COLOURS.items() if short.startswith(prefix)), "#374151")


def _box(
    axis: Any,
    at: tuple[float, float],
    label: str,
    fill: str,
    edge: str = "#374151",
    text: str = "black",
) -> None:
    style = {"boxstyle": "round,pad=0.35", "facecolor": fill, "edgecolor": edge, "linewidth": 1.3}
    axis.text(*at, label, ha="center", va="center", fontsize=12, color=text, zorder=5, bbox=style)


def _line(
    axis: Any,
    start: tuple[float, float],
    end: tuple[float, float],
    colour: str,
    style: str,
    dashed: bool = False,
) -> None:
    """An arrow or line; a long one on one height bends inwards, around the nodes between."""
    level = abs(end[1] - start[1]) < 0.5 and end[0] - start[0] > 3
    bend = 0.0 if not level else (0.2 if start[1] > 0 else -0.2)
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
            "shrinkB": 16,
            "connectionstyle": f"arc3,rad={bend}",
        },
    )
