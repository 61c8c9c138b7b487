"""The space of PNAS: cells that grow by blocks (Liu et al., ECCV 2018; methods.md section 12)."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations_with_replacement, product
from typing import Any, ClassVar

from edarts.space.base import Decisions, DecisionSpace
from edarts.space.darts import parse_eligible
from edarts.space.genotype import Edge, Genotype

BLOCKS = 5
FIRST = 2  # the node of the first block; those before it are the cell's inputs

Half = tuple[int, int]
"""Source node and index of the operation."""
Block = tuple[Half, Half]
Cell = tuple[Block, ...]


@dataclass(frozen=True)
class Options:
    """What can be chosen of the space."""

    operations: str = (
        "sep_conv_3x3,sep_conv_5x5,sep_conv_7x7,conv_1x7_7x1,skip_connect,avg_pool_3x3,"
        "max_pool_3x3,dil_conv_3x3"
    )
    """Candidate operations: SS1..SS8, all, or names with commas."""


@dataclass(frozen=True)
class BlockSpace(DecisionSpace):
    """Cells of one to `blocks` blocks; a block adds two operations, each on a source of its own.

    The decisions are `blocks`, how many there are, and `BLOCK.HALF.source`, `BLOCK.HALF` of each;
    those on blocks that are not there do not count. One kind of cell serves as both.
    """

    Options: ClassVar[type] = Options
    Architecture: ClassVar[type] = Genotype

    operations: tuple[str, ...]
    blocks: int = BLOCKS

    @classmethod
    def of(cls, options: Any) -> "BlockSpace":
        return cls(parse_eligible(options.operations))

    def decisions(self) -> Mapping[str, Sequence[int | str]]:
        return self._decisions

    @cached_property
    def _decisions(self) -> dict[str, Sequence[int | str]]:
        found: dict[str, Sequence[int | str]] = {"blocks": tuple(range(1, self.blocks + 1))}
        for block in range(self.blocks):
            for half in range(2):
                found[f"{block}.{half}.source"] = tuple(range(FIRST + block))
                found[f"{block}.{half}"] = self.operations
        return found

    def cell(self, decisions: Decisions) -> Cell:
        """The blocks as numbers, the halves of each sorted."""
        halves = [
            tuple(
                (
                    int(decisions[f"{b}.{h}.source"]),
                    self.operations.index(str(decisions[f"{b}.{h}"])),
                )
                for h in range(2)
            )
            for b in range(int(decisions["blocks"]))
        ]
        return tuple((min(a, b), max(a, b)) for a, b in halves)

    def decisions_of(self, cell: Cell) -> dict[str, int | str]:
        """The inverse of `cell`; what does not count takes its first option."""
        result = {name: options[0] for name, options in self._decisions.items()}
        result["blocks"] = len(cell)
        for b, block in enumerate(cell):
            for h, (source, operation) in enumerate(block):
                result[f"{b}.{h}.source"] = source
                result[f"{b}.{h}"] = self.operations[operation]
        return result

    def widened(self, cell: Cell) -> Iterator[Cell]:
        """`cell` with each block that it may get next, halves not told apart."""
        halves = list(product(range(FIRST + len(cell)), range(len(self.operations))))
        for first, second in combinations_with_replacement(halves, 2):
            yield (*cell, (first, second))

    def decode(self, decisions: Decisions) -> Genotype:
        """The cell, normal and reduction alike, all its blocks concatenated."""
        edges = tuple(
            Edge(self.operations[operation], source, FIRST + b)
            for b, block in enumerate(self.cell(decisions))
            for source, operation in block
        )
        concat = tuple(sorted({edge.node for edge in edges}))
        return Genotype(edges, edges, concat, concat)

    def sample_decisions(self, rng: random.Random) -> dict[str, int | str]:
        """A cell of all the blocks, drawn uniformly."""
        drawn = {name: rng.choice(options) for name, options in self._decisions.items()}
        return self.decisions_of(self.cell(drawn | {"blocks": self.blocks}))

    def mutate_decisions(self, decisions: Decisions, rng: random.Random) -> dict[str, int | str]:
        """One decision, but for their number, with an option drawn from all."""
        count, all_options = int(decisions["blocks"]), self._decisions
        name = rng.choice([n for n in all_options if n != "blocks" and int(n[0]) < count])
        changed = {n: decisions[n] for n in all_options}
        return changed | {name: rng.choice(all_options[name])}


PLUGIN = BlockSpace
