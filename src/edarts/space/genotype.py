"""Genotype: which edges a cell has and which operation each carries, for both kinds of cell.

Nodes: 0 is the output of the cell before the last one, 1 that of the last one, 2, 3, ... are the
intermediate nodes; a cell's output is the channel concatenation of its `concat` nodes (DARTS,
Liu et al. 2019, section 2.1). A genotype is immutable, hashable and kept in canonical order, since
a node sums its edges: their order has no meaning. A node has any number of edges, the same one
twice if need be.

A node that no edge enters is missing, and an edge from it is left out (as in Fair DARTS' cells); a
node all of whose edges carry `none` is there, and zero (as in SNAS' aggressive cell).
"""

import ast
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar

from edarts import registry
from edarts.errors import EdartsError, UsageError, reason_of, unknown
from edarts.runs.files import read_kept
from edarts.space import operations
from edarts.space.base import Architecture, Image, Size
from edarts.space.cell_picture import cells_picture
from edarts.space.picture import Picture

if TYPE_CHECKING:
    from torch import nn

INPUTS = 2
KINDS = ("normal", "reduce")
Parsed = TypeVar("Parsed")
PREPROCESSINGS = ("darts", "nasnet", "enas")


class Edge(NamedTuple):
    """`operation` on the way from node `source` to node `node`."""

    operation: str
    source: int
    node: int

    @property
    def from_input(self) -> bool:
        """Whether it leaves one of the cell's two inputs."""
        return self.source < INPUTS


class CellDesign(NamedTuple):
    """One cell: its `edges`, and the nodes whose concatenation is its output."""

    edges: tuple[Edge, ...]
    concat: tuple[int, ...]


@dataclass(frozen=True)
class Genotype(Architecture):
    """Two cells as edge lists.

    `normal`, `reduce`: edges, sorted on construction by node, source and operation.
    `normal_concat`, `reduce_concat`: the nodes whose concatenation is the cell's output.
    `preprocessing`: how a network's cells bring their inputs to their own width, `darts`, `nasnet`
    or `enas` (see `cells.Cell`).
    Raises UsageError for an unknown operation or preprocessing, an edge that does not go forward, a
    concatenation of a missing node, or an empty cell.
    """

    FORMAT: ClassVar[str] = "edarts.genotype/1"
    whitens: ClassVar[bool] = True

    normal: tuple[Edge, ...]
    reduce: tuple[Edge, ...]
    normal_concat: tuple[int, ...]
    reduce_concat: tuple[int, ...]
    preprocessing: str = "darts"

    def __post_init__(self) -> None:
        for kind in KINDS:
            edges = _canonical(kind, [Edge(*e) for e in self.edges(kind)])
            concat = tuple(sorted(set(self.concat(kind))))
            _check_cell(kind, edges, concat)
            object.__setattr__(self, kind, edges)
            object.__setattr__(self, f"{kind}_concat", concat)
        if self.preprocessing not in PREPROCESSINGS:
            raise unknown("preprocessing", self.preprocessing, PREPROCESSINGS)

    @property
    def cells(self) -> dict[str, CellDesign]:
        """The design of each kind of cell, by the kind's name."""
        return {kind: CellDesign(self.edges(kind), self.concat(kind)) for kind in KINDS}

    def edges(self, kind: str) -> tuple[Edge, ...]:
        """The edges of the `kind` ("normal" or "reduce") cell."""
        return self.normal if kind == "normal" else self.reduce

    def concat(self, kind: str) -> tuple[int, ...]:
        """The concatenated nodes of the `kind` cell."""
        return self.normal_concat if kind == "normal" else self.reduce_concat

    def count(self, kind: str, *names: str) -> int:
        """How many edges of the `kind` cell carry one of the operations with these `names`."""
        return sum(edge.operation in names for edge in self.edges(kind))

    def parameter_free(self, kind: str) -> int:
        """How many edges of the `kind` cell carry an operation without a convolution."""
        return sum(operations.parameter_free(edge.operation) for edge in self.edges(kind))

    def operations(self) -> dict[str, list[str]]:
        """The operation of every edge, for each kind of cell."""
        return {kind: [edge.operation for edge in self.edges(kind)] for kind in KINDS}

    def build(self, size: Size, image: Image, classes: int) -> "nn.Module":
        """A stack of its cells; `size` says how many and how wide. Raises UsageError."""
        network: nn.Module = registry.locate("edarts.nn.network:Network")(
            self,
            **size.of_cells(),
            classes=classes,
            image=image,
            auxiliary=size.auxiliary,
            whitening=size.whitening,
        )
        return network

    def details(self) -> dict[str, str]:
        """The nodes of each cell's output, and how the cells take their inputs."""
        return {
            "normal output": str(self.normal_concat),
            "reduce output": str(self.reduce_concat),
            "preprocessing": self.preprocessing,
        }

    def lines(self) -> dict[str, str]:
        """Both cells in short form."""
        return {
            "normal cell": self.describe("normal"),
            "reduction cell": self.describe("reduce"),
        }

    def __str__(self) -> str:
        """Short form, e.g. `normal 2:sep3(0)+sep3(1) ...`, nodes in order."""
        return " | ".join(f"{kind} {self.describe(kind)}" for kind in KINDS)

    def describe(self, kind: str) -> str:
        """One cell in short form: `2:sep3(0)+skip(1) 3:...`, sources in brackets."""
        nodes: dict[int, list[str]] = {}
        for operation, source, node in self.edges(kind):
            nodes.setdefault(node, []).append(f"{operations.get(operation).short}({source})")
        return " ".join(f"{node}:{'+'.join(parts)}" for node, parts in nodes.items())

    def draw(self, title: str = "") -> Picture:
        """The drawing of both cells, the normal one above."""
        return cells_picture(self.cells, title)

    def digest(self) -> str:
        """A hash that is the same for genotypes which differ only in the numbers of their nodes.

        Nodes that the output does not depend on, and the order of the output, do not count. Each
        node is told by what it computes (its sources, downwards) and by what reads it (upwards):
        a sum of two readings of one node is not a sum of one reading of each of two equal nodes.
        """
        parts = [self.preprocessing, *(_cell_digest(self.edges(k), self.concat(k)) for k in KINDS)]
        return _hash(parts)

    # -- reading and writing ---------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form: edges as [operation, source, node], and the concatenated nodes."""
        return {
            "format": self.FORMAT,
            "normal": [list(edge) for edge in self.normal],
            "normal_concat": list(self.normal_concat),
            "reduce": [list(edge) for edge in self.reduce],
            "reduce_concat": list(self.reduce_concat),
            **({} if self.preprocessing == "darts" else {"preprocessing": self.preprocessing}),
        }

    def to_json(self) -> str:
        """One line per edge list, for people and diffs."""
        body = (f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in self.to_dict().items())
        return "{\n" + ",\n".join(body) + "\n}\n"

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Genotype":
        """Read what `to_dict` gives, or the short DARTS form.

        An edge is [operation, source, node], or [operation, source]: then edges come in pairs, the
        first pair for node 2, the second for node 3 and so on (DARTS' genotypes.py). A cell may
        also be a text as `describe` writes it. A missing concat means all intermediate nodes, the
        text "loose ends" those nodes and inputs that no edge leaves. `preprocessing` was called
        `plumbing` once, and is read under either name. Raises UsageError for anything else.
        """
        if not isinstance(fields, Mapping):
            raise UsageError("a genotype is an object with the keys 'normal' and 'reduce'")
        parts: dict[str, Any] = {}
        for kind in KINDS:
            if kind not in fields:
                raise UsageError(f"the genotype has no '{kind}' cell")
            parts[kind] = _canonical(kind, _read_edges(kind, fields[kind]))
            nodes = sorted({edge.node for edge in parts[kind]})
            concat = fields.get(f"{kind}_concat", nodes)
            if concat == "loose ends":
                concat = loose_ends(parts[kind])
            if not isinstance(concat, Sequence | range) or not all(type(n) is int for n in concat):
                raise UsageError(f"{kind}_concat of the genotype is no list of nodes: {concat!r}")
            parts[f"{kind}_concat"] = tuple(concat)
        preprocessing = fields.get("preprocessing", fields.get("plumbing", "darts"))
        return cls(**parts, preprocessing=str(preprocessing))

    @classmethod
    def parse(cls, text: str) -> "Genotype":
        """Read JSON, or the `Genotype(normal=[...], ...)` text that DARTS' code prints."""
        text = text.strip()
        try:
            fields = json.loads(text) if text.startswith("{") else _read_call(text)
        except (ValueError, SyntaxError, TypeError) as error:
            raise UsageError(f"not a genotype: {error}") from None
        return cls.from_dict(fields)

    @classmethod
    def load(cls, path: str | Path) -> "Genotype":
        """Read a file; errors name the file. Raises EdartsError."""
        return read_file(path, cls.parse)


def read_file(path: str | Path, parse: Callable[[str], Parsed]) -> Parsed:
    """What `parse` makes of a file's text; errors name the file. Raises EdartsError."""
    try:
        return parse(read_kept(Path(path)).decode())
    except FileNotFoundError:
        raise EdartsError(f"{path}: no such file; give a genotype's JSON file") from None
    except Exception as error:  # odd contents can be stumbled over in any way
        if isinstance(error, EdartsError) and not isinstance(error, UsageError):
            raise
        reason = getattr(error, "strerror", None) or reason_of(error)
        # The cause tells a run folder's reader that a plug-in is missing.
        raise EdartsError(f"{path}: damaged genotype: {reason}") from error


def loose_ends(edges: Iterable[Edge]) -> tuple[int, ...]:
    """The nodes, inputs included, that no edge leaves: the output of ENAS' and NASNet's cells."""
    edges = tuple(edges)
    nodes = {*range(INPUTS), *(edge.node for edge in edges)}
    return tuple(sorted(nodes - {edge.source for edge in edges if edge.operation != "none"}))


def _hash(value: object) -> str:
    return hashlib.blake2b(repr(value).encode(), digest_size=12).hexdigest()


def _cell_digest(edges: Sequence[Edge], concat: Sequence[int]) -> str:
    entering: dict[int, list[Edge]] = {}
    leaving: dict[int, list[Edge]] = {}
    for edge in edges:
        entering.setdefault(edge.node, []).append(edge)
        leaving.setdefault(edge.source, []).append(edge)
    nodes = [*range(INPUTS), *entering]
    down: dict[int, str] = {}
    for node in nodes:
        sources = [(operation, down[source]) for operation, source, _ in entering.get(node, ())]
        down[node] = _hash(sorted(sources)) if sources else str(node)
    up: dict[int, str] = {}
    for node in reversed(nodes):
        readers = [
            (operation, down[reader], up[reader])
            for operation, _, reader in leaving.get(node, ())
            if reader in up
        ]
        if readers or node in concat:
            up[node] = _hash((node in concat, sorted(readers)))
    return _hash(sorted((down[node], seen) for node, seen in up.items()))


def _canonical(kind: str, edges: Iterable[Edge]) -> tuple[Edge, ...]:
    """Sorted by node, source and operation, without the edges that carry nothing.

    Those are edges from missing nodes, and `none`; a node that has nothing else keeps one `none`.
    """
    kept: dict[int, list[Edge]] = {}
    for edge in sorted(edges, key=lambda e: (e.node, e.source, e)):
        operations.check(edge.operation)
        if not 0 <= edge.source < edge.node or edge.node < INPUTS:
            raise UsageError(f"{kind} cell: edge {edge.source} -> {edge.node} does not go forward")
        if edge.source < INPUTS or edge.source in kept:
            kept.setdefault(edge.node, []).append(edge)
    result: list[Edge] = []
    for node, entering in kept.items():
        some = [edge for edge in entering if edge.operation != "none"]
        result += some or [Edge("none", 0, node)]
    return tuple(result)


def _check_cell(kind: str, edges: tuple[Edge, ...], concat: tuple[int, ...]) -> None:
    if not concat or all(edge.operation == "none" for edge in edges):
        raise UsageError(f"the {kind} cell of the genotype has no edges but 'none', or no output")
    missing = sorted(set(concat) - {0, 1} - {edge.node for edge in edges})
    if missing:
        raise UsageError(f"{kind} cell: output node {missing[0]} has no edges")


def _read_edges(kind: str, entries: Any) -> tuple[Edge, ...]:
    if isinstance(entries, str):
        return _read_short(kind, entries)
    if not isinstance(entries, Iterable):
        raise UsageError(f"the {kind} cell of the genotype is no list of edges")
    edges = []
    for index, entry in enumerate(entries):
        ok = isinstance(entry, Sequence) and len(entry) in (2, 3) and isinstance(entry[0], str)
        if not ok or not all(type(number) is int for number in entry[1:]):
            raise UsageError(
                f"{kind} cell, entry {index}: expected [operation, source] or"
                f" [operation, source, node], got {entry!r}"
            )
        node = entry[2] if len(entry) == 3 else INPUTS + index // 2
        edges.append(Edge(entry[0], entry[1], node))
    return tuple(edges)


def _read_short(kind: str, text: str) -> tuple[Edge, ...]:
    """The edges that `Genotype.describe` wrote as `2:sep3(0)+skip(1) 3:...`."""
    edges = []
    for group in text.split():
        node, _, parts = group.partition(":")
        for part in parts.split("+"):
            match = re.fullmatch(r"(\w+)\((\d+)\)", part)
            if match is None or not node.isdecimal():
                raise UsageError(
                    f"the {kind} cell of the genotype is no list of edges, nor a text such as"
                    f" '2:sep3(0)+skip(1) 3:...': {group!r}"
                )
            edges.append(Edge(operations.by_short(match[1]), int(match[2]), int(node)))
    return tuple(edges)


def _read_call(text: str) -> dict[str, Any]:
    """The keyword arguments of a `Genotype(...)` call, read without running anything."""
    call = ast.parse(text, mode="eval").body
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
        raise ValueError("neither JSON nor Genotype(...)")
    fields = {}
    for keyword in call.keywords:
        value = keyword.value
        if isinstance(value, ast.Call) and ast.unparse(value.func) in ("range", "list"):
            inner = value.args[0] if ast.unparse(value.func) == "list" else value
            if isinstance(inner, ast.Call):
                fields[str(keyword.arg)] = list(range(*map(ast.literal_eval, inner.args)))
                continue
        fields[str(keyword.arg)] = ast.literal_eval(value)
    return fields
