"""Ours beside the original authors' code: numbers that their code computed, and what ours makes of
the same weights and draws.

A file `NAME.npz` holds the numbers; README.md beside it says what each array is, and where it comes
from. The modules `methods` and `networks` compare; `python -m edarts.testing.golden` prints the
table of docs/methods.md.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edarts import registry

FOLDER = Path(__file__).parent
CLOSE = 1e-10  # largest relative difference that rounding explains
CELLS = 40  # tables in a file, from each of which a cell is derived

# File -> the function that compares ours with it.
COMPARISONS = {
    "darts": "edarts.testing.golden.methods:darts",
    "network_darts_v2": "edarts.testing.golden.networks:network",
    "pc_darts": "edarts.testing.golden.methods:pc_darts",
    "network_pc_darts": "edarts.testing.golden.networks:network",
    "p_darts": "edarts.testing.golden.methods:p_darts",
    "fair_darts": "edarts.testing.golden.methods:fair_darts",
    "gdas": "edarts.testing.golden.methods:gdas",
    "drnas": "edarts.testing.golden.methods:drnas",
    "drnas_k1": "edarts.testing.golden.methods:drnas",
    "snas": "edarts.testing.golden.methods:snas",
    "proxyless": "edarts.testing.golden.methods:proxyless",
    "enas": "edarts.testing.golden.methods:enas",
}
# Method -> its files, if not the one of its name.
FILES = {
    "darts": ("darts", "network_darts_v2"),
    "pc_darts": ("pc_darts", "network_pc_darts"),
    "drnas": ("drnas", "drnas_k1"),
}


@dataclass(frozen=True)
class Comparison:
    """`what` was compared, and the largest difference, as a share of the authors' largest value.

    Of derived cells `difference` is the share of those that differ without a reason; `on_purpose`
    says how many differ, and why.
    """

    what: str
    difference: float
    on_purpose: str = ""


class Golden:
    """The numbers of one file."""

    def __init__(self, name: str) -> None:
        self.name = name
        with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as arrays:
            self.arrays: dict[str, Any] = dict(arrays)

    def __contains__(self, name: str) -> bool:
        return name in self.arrays

    def __getitem__(self, name: str) -> Tensor:
        """An array of numbers, float64."""
        return torch.from_numpy(self.arrays[name].copy())

    def whole(self, name: str) -> Tensor:
        """An array of indices, labels or marks."""
        return self[name].long()

    def groups(self, name: str) -> dict[str, Tensor]:
        """Those of the normal and of the reduction cell."""
        return {kind: self[f"{name}_{kind}"] for kind in ("normal", "reduce")}

    def number(self, name: str) -> float:
        return float(self.arrays[name])

    def text(self, name: str) -> str:
        return str(self.arrays[name])

    def names(self, name: str) -> list[str]:
        return [str(text) for text in self.arrays[name]]

    def batch(self, end: str = "") -> tuple[Tensor, Tensor]:
        """Images (3, 3, H, W) and labels (3,)."""
        return self[f"x{end}"], self.whole(f"y{end}")

    def put_weights(self, module: nn.Module) -> None:
        """Give a module the authors' weights."""
        there = dict(module.named_parameters())
        names = self.names("names")
        assert sorted(there) == sorted(names), f"{self.name}: other parameters than the authors'"
        with torch.no_grad():
            for index, name in enumerate(names):
                there[name].copy_(self[f"w{index:03d}"])

    def near(self, what: str, ours: Tensor | Sequence[float] | float, name: str) -> Comparison:
        """Ours beside the array of that name."""
        theirs = self[name]
        mine = torch.as_tensor(ours, dtype=torch.float64).detach()
        assert mine.shape == theirs.shape, f"{self.name} {name}: {mine.shape}, {theirs.shape}"
        return Comparison(what, float((mine - theirs).abs().max() / theirs.abs().max()))

    def weight_gradients(self, module: nn.Module, found: Sequence[Tensor], name: str) -> Comparison:
        """Norm and first eight values of each weight's gradient, of `named_parameters()`."""
        by_name = dict(zip(dict(module.named_parameters()), found, strict=True))
        rows = torch.zeros(len(by_name), 9, dtype=torch.float64)
        for row, key in zip(rows, self.names("names"), strict=True):
            first = by_name[key].flatten()[:8]
            row[0], row[1 : 1 + len(first)] = by_name[key].norm(), first
        return self.near("gradients of the weights", rows, name)

    def tables(self, name: str) -> Iterator[dict[str, Tensor]]:
        """Of each of the cells to derive, {kind: (E, K) or (E,)}."""
        both = self.groups(name)
        for number in range(CELLS):
            yield {kind: table[number] for kind, table in both.items()}

    def genotypes(self) -> list[dict[str, list[list[Any]]]]:
        """The authors' cells: {kind: [[operation, source, node], ...]}, sorted, without `none`."""
        return [
            {kind: sorted(e for e in edges if e[0] != "none") for kind, edges in cell.items()}
            for cell in json.loads(self.text("genotypes"))
        ]


@contextmanager
def doubles() -> Iterator[None]:
    """What is made in here computes in float64."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def files_of(method: str) -> tuple[str, ...]:
    """The files of a method; none of one that there are no numbers of."""
    found = FILES.get(method, (method,))
    return tuple(name for name in found if name in COMPARISONS)


@cache
def compare(name: str) -> tuple[Comparison, ...]:
    """Ours beside all that a file holds. Raises AssertionError for what rounding cannot explain."""
    with doubles():
        function: Callable[[Golden], Iterator[Comparison]] = registry.locate(COMPARISONS[name])
        found = tuple(function(Golden(name)))
    for one in found:
        assert one.difference <= CLOSE, f"{name}: {one.what} differ by {one.difference:.1e}"
    return found


def table() -> list[str]:
    """The table of docs/methods.md: a row for each file."""
    heads = (
        "numbers",
        "authors' repository and commit",
        "compared",
        "largest difference",
        "differs",
    )
    rows = [heads, ("---",) * len(heads)]
    for name in COMPARISONS:
        found = compare(name)
        compared = ", ".join(dict.fromkeys(one.what for one in found))
        differs = "; ".join(one.on_purpose for one in found if one.on_purpose)
        source = Golden(name).text("source")
        largest = max(one.difference for one in found)
        rows.append((name, source, compared, f"{largest:.0e}", differs or "nothing"))
    return [f"| {' | '.join(row)} |" for row in rows]
