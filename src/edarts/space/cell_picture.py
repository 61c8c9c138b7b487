"""The drawing of cells: nodes from left to right, each after the boxes of its operations."""

from collections.abc import Iterable, Mapping, Sequence

from edarts.space import operations
from edarts.space.picture import GREY, Box, Line, Panel, Picture, colour_of, connect

INPUT_NAMES = ("c[k-2]", "c[k-1]")
NAMES = {"normal": "normal cell", "reduce": "reduction cell"}

Edges = Sequence[tuple[str, int, int]]
"""(operation, source, node) of each edge."""


def cells_picture(cells: Mapping[str, tuple[Edges, Sequence[int]]], title: str = "") -> Picture:
    """A panel for each kind of cell, given as its name -> (edges, concatenated nodes)."""
    return Picture(title, tuple(cell_panel(*cells[kind], NAMES.get(kind, kind)) for kind in cells))


def cell_panel(
    edges: Edges, concat: Iterable[int], caption: str = "", inputs: Sequence[str] = INPUT_NAMES
) -> Panel:
    """One cell. Nodes 0, 1, ... are its `inputs`, with these names; the others follow by number.

    Nodes stand above and below in turn, and each has the boxes of its operations before it, so
    that no label can meet another.
    """
    labels = [short_name(operation) for operation, _, _ in edges]
    reach = max([1.05, *(Box((0, 0), label).width / 2 + 0.4 for label in labels)])
    step = reach + 1.55  # from a node to the next one
    nodes = _inputs(inputs)
    for index, node in enumerate(sorted({node for _, _, node in edges})):
        at = (step * (index + 1), 1.5 * (-1) ** index)
        nodes[node] = Box(at, str(node), "#e5e7eb")
    right = step * (len(nodes) - len(inputs) + 1)
    output = Box((right, 0.0), "c[k]", "#fde68a")
    operations = _operations(edges, labels, nodes, reach)
    boxes = (*nodes.values(), *operations, output)
    lines: list[Line] = []
    for (operation, source, node), box in zip(edges, operations, strict=True):
        colour = colour_of(operation)
        lines.append(connect(nodes[source], box, boxes, colour, arrow=False))
        lines.append(connect(box, nodes[node], boxes, colour))
    lines += [connect(nodes[node], output, boxes, GREY, dashed=True) for node in concat]
    left = min(box.at[0] - box.width / 2 for box in boxes) - 0.15
    height = max(2.25, *(abs(box.at[1]) + 0.35 for box in boxes))
    return Panel(caption, boxes, tuple(lines), (), (left, -height, right + 0.5, height))


def _inputs(names: Sequence[str]) -> dict[int, Box]:
    middle = (len(names) - 1) / 2
    return {
        node: Box((-0.8, 0.9 * (middle - node)), name, "#dbeafe") for node, name in enumerate(names)
    }


def _operations(
    edges: Edges, labels: Sequence[str], nodes: Mapping[int, Box], reach: float
) -> list[Box]:
    """A box for each edge, `reach` to the left of its node."""
    found: dict[int, Box] = {}
    for node, target in nodes.items():
        entering = [index for index, edge in enumerate(edges) if edge[2] == node]
        # The upper source enters at the upper box: fewer crossings.
        entering.sort(key=lambda index: -nodes[edges[index][1]].at[1])
        x, y = target.at
        for slot, index in enumerate(entering):
            at = (x - reach, y + 0.75 * ((len(entering) - 1) / 2 - slot))
            colour = colour_of(edges[index][0])
            found[index] = Box(at, labels[index], edge=colour, text=colour)
    return [found[index] for index in range(len(edges))]


def short_name(operation: str) -> str:
    """What a drawing calls an operation: its short name, or its name where it has no other."""
    return operations.get(operation).short if operation in operations.names() else operation
