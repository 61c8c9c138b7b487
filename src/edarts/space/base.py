"""What every space and every architecture can do: all that methods, networks and pages know of
them.

A space has *groups*, each a table of E rows (edges) and K columns (candidate operations): DARTS has
the groups `normal` and `reduce`, NAS-Bench-201 one cell, a chain of layers one row a layer. A
method learns weights for these tables, or proposes decisions, and the space turns what was chosen
into an architecture. Nothing here imports torch before it is needed.
"""

import hashlib
import json
import math
import random
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from edarts.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from edarts.space.picture import Picture

MOST = 2_000_000_000  # parameters of a network; eight GB
Image = tuple[int, int, int]
"""(C, H, W) of every image."""
Chosen = Mapping[str, Sequence[tuple[int, int]]]
"""Group -> the chosen (row, column) pairs, in any order."""
Decisions = Mapping[str, int | str]
"""Name of a decision -> the option taken."""


@dataclass(frozen=True)
class Size:
    """Depth and width: `cells` cells, the first with `channels` channels; None where an
    architecture has its own. `auxiliary`: whether the network gets a second classifier.
    `whitening`: whether it begins with the whitening layer of the CIFAR-10 speed record.
    """

    cells: int | None = None
    channels: int | None = None
    auxiliary: bool = False
    whitening: bool = False

    def __post_init__(self) -> None:
        cells, channels = self.cells or 0, self.channels or 0
        least = cells * channels**2  # of each cell, its 1 x 1 convolutions alone
        if least > MOST:
            raise UsageError(
                f"{cells} cells of {channels} channels: at least {least:,} parameters, more than"
                f" {MOST:,}; give fewer --cells or --channels"
            )

    def of_cells(self) -> dict[str, int]:
        """`cells` and `channels`, for what is built of cells. Raises UsageError if one is open."""
        if self.cells is None or self.channels is None:
            raise UsageError("a network of cells needs a number of cells and of channels")
        return {"cells": self.cells, "channels": self.channels}


class Architecture(ABC):
    """What a network is built from: immutable, hashable, kept as JSON.

    `FORMAT`: name and version of its JSON form; of a plug-in `GROUP.NAME/VERSION`, such as
    `spaces.nas_bench_201/1`, so that a file tells who can read it.
    """

    FORMAT: ClassVar[str]
    sized: ClassVar[bool] = True
    """Whether depth and width are chosen when it is built."""
    whitens: ClassVar[bool] = False
    """Whether its network can begin with the whitening layer."""

    @classmethod
    @abstractmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Architecture":
        """The inverse of `to_dict`. Raises UsageError."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form; `format` is `FORMAT`."""

    @abstractmethod
    def build(self, size: Size, image: Image, classes: int) -> "nn.Module":
        """The network, its weights drawn from torch's generator: images (B, C, H, W) -> (B,
        classes).

        It has `image` and `set_drop_path(probability)`; with an auxiliary head, `forward(x, True)`
        gives (2, B, classes).
        """

    def draw(self, title: str = "") -> "Picture":
        """What it looks like, for people; here no more than its name in a box."""
        from edarts.space.picture import Box, Panel, Picture

        box = Box((0.0, 0.0), str(self))
        right, top = box.width / 2 + 0.2, box.height / 2 + 0.2
        return Picture(title, (Panel("", (box,), (), (), (-right, -top, right, top)),))

    def digest(self) -> str:
        """A hash that is the same for architectures which compute the same."""
        text = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()

    def operations(self) -> dict[str, list[str]]:
        """Group -> the operations that it carries there, each as often as it does; may be empty."""
        return {}

    def skips(self) -> dict[str, int]:
        """Number of skip connections in each group."""
        return {group: names.count("skip_connect") for group, names in self.operations().items()}

    def lines(self) -> dict[str, str]:
        """What it is in words, a line under each heading."""
        return {"network": str(self)}

    def details(self) -> dict[str, str]:
        """What else there is to say of it, a line under each heading."""
        return {}

    def to_json(self) -> str:
        """The text of `to_dict`, indented for people and diffs."""
        return json.dumps(self.to_dict(), indent=2) + "\n"


_Architecture = Architecture  # a space names its own `Architecture`


class SearchSpace(ABC):
    """The architectures that a search may return, and the supernet that has them all.

    `Options`: a frozen dataclass of what a user may choose of the space; `Architecture`: the class
    of what it returns. `relaxable`: whether the rows of a group can be learned one by one; False
    where only a whole cell defines what it computes. `has_supernet`: False for a space that only
    black-box methods search.
    """

    Options: ClassVar[type]
    Architecture: ClassVar[type]
    relaxable: ClassVar[bool] = True
    has_supernet: ClassVar[bool] = True

    groups: ClassVar[tuple[str, ...]]

    @property
    def whitens(self) -> bool:
        """Whether the networks of its architectures can begin with the whitening layer."""
        return bool(getattr(self.Architecture, "whitens", False))

    @classmethod
    @abstractmethod
    def of(cls, options: Any) -> "SearchSpace":
        """The space that `Options` describe. Raises UsageError."""

    # -- tables ----------------------------------------------------------------------------------

    @abstractmethod
    def edges(self, group: str) -> tuple[tuple[int, int], ...]:
        """(source, node) of the E rows, ordered by node."""

    @abstractmethod
    def candidates(self, group: str) -> tuple[str, ...]:
        """Names of the K columns."""

    def shape(self, group: str) -> tuple[int, int]:
        """(E, K)."""
        return len(self.edges(group)), len(self.candidates(group))

    def incoming(self, group: str) -> dict[int, list[int]]:
        """Node -> the rows that enter it."""
        rows: dict[int, list[int]] = {}
        for row, (_, node) in enumerate(self.edges(group)):
            rows.setdefault(node, []).append(row)
        return rows

    def kept(self, group: str) -> int:
        """How many of the rows that enter a node stay in an architecture, where there are more."""
        return len(self.edges(group))

    def eligible(self, group: str) -> tuple[str, ...]:
        """The candidates that an architecture may carry: `none` only takes part in a search."""
        return tuple(name for name in self.candidates(group) if name != "none")

    # -- networks --------------------------------------------------------------------------------

    def supernet(
        self,
        size: Size,
        image: Image,
        classes: int,
        *,
        channel_fraction: float = 1.0,
        mask: "Mapping[str, Tensor] | None" = None,
    ) -> "nn.Module":
        """Every candidate at once: `net(x, weights, needs_grad=None)` -> logits (B, classes).

        `weights`: {group: (E, K)}; an exact zero is not computed unless `needs_grad`, a mask of the
        same shapes, is true there. `channel_fraction`: share of the channels that pass through the
        operations. `mask`: {group: (E, K)} of the operations that are built. It has
        `set_drop_path(probability)`. Raises UsageError for what it does not offer.
        """
        raise UsageError(f"space {type(self).__name__} has no supernet: give a black-box method")

    @abstractmethod
    def derive(self, chosen: Chosen) -> "_Architecture":
        """The architecture of the chosen rows and columns. Raises UsageError if there is none."""

    def weights_of(self, architecture: Any) -> "dict[str, Tensor]":
        """{group: (E, K)}: how often the architecture takes each candidate; the inverse of
        `derive`.

        With them the supernet computes what the architecture's network computes.
        """
        import torch

        weights = {}
        for group, pairs in self.chosen(architecture).items():
            weights[group] = torch.zeros(self.shape(group))
            for row, column in pairs:
                weights[group][row, column] += 1
        return weights

    @abstractmethod
    def chosen(self, architecture: Any) -> Chosen:
        """The rows and columns that `derive` makes it from. Raises UsageError if there are none."""

    def supports(self, architecture: Any) -> bool:
        """Whether the supernet has all that the architecture needs."""
        return architecture in self

    # -- black-box -------------------------------------------------------------------------------

    def decisions(self) -> Mapping[str, Sequence[int | str]]:
        """Name of each decision -> its options, in the order in which they are taken.

        As given here: a candidate for every row, where all rows stay.
        """
        return {
            f"{group}.{row}": self.eligible(group)
            for group in self.groups
            for row in range(len(self.edges(group)))
        }

    def decode(self, decisions: Decisions) -> "_Architecture":
        """The architecture of an option for every decision. Raises UsageError if there is none."""
        return self.derive(
            {
                group: [
                    (row, self.candidates(group).index(str(decisions[f"{group}.{row}"])))
                    for row in range(len(self.edges(group)))
                ]
                for group in self.groups
            }
        )

    def encode(self, architecture: Any) -> dict[str, int | str]:
        """The inverse of `decode`."""
        return {
            f"{group}.{row}": self.candidates(group)[column]
            for group, pairs in self.chosen(architecture).items()
            for row, column in pairs
        }

    def sample(self, rng: random.Random) -> Any:
        """An architecture drawn uniformly."""
        return self.decode(
            {name: rng.choice(options) for name, options in self.decisions().items()}
        )

    def mutate(self, architecture: Any, rng: random.Random) -> Any:
        """An architecture that differs in a small, randomly drawn way: here one decision, drawn
        anew.
        """
        decisions = self.encode(architecture)
        name = rng.choice(list(decisions))
        return self.decode(decisions | {name: rng.choice(self.decisions()[name])})

    def sample_decisions(self, rng: random.Random) -> dict[str, int | str]:
        """The decisions of an architecture that `sample` draws."""
        return self.encode(self.sample(rng))

    def mutate_decisions(self, decisions: Decisions, rng: random.Random) -> dict[str, int | str]:
        """The decisions of what `mutate` makes of the architecture that these stand for."""
        return self.encode(self.mutate(self.decode(decisions), rng))

    def __contains__(self, architecture: object) -> bool:
        """Whether a search may return it."""
        try:
            return bool(self.decode(self.encode(architecture)) == architecture)
        except (UsageError, AttributeError, KeyError, ValueError, TypeError):
            return False

    def key(self) -> str:
        """A text that is the same for the same space, in every process and version."""
        return repr(self)

    def size(self) -> int:
        """How many sets of decisions there are."""
        return math.prod(len(options) for options in self.decisions().values())


class DecisionSpace(SearchSpace):
    """A space without tables, which only black-box methods search: decisions, and how they
    change.
    """

    has_supernet: ClassVar[bool] = False
    groups: ClassVar[tuple[str, ...]] = ()

    def edges(self, group: str) -> tuple[tuple[int, int], ...]:
        return ()

    def candidates(self, group: str) -> tuple[str, ...]:
        return ()

    def derive(self, chosen: Chosen) -> "_Architecture":
        raise self._refusal()

    def chosen(self, architecture: Any) -> Chosen:
        raise self._refusal()

    def encode(self, architecture: Any) -> dict[str, int | str]:
        raise self._refusal()

    def __contains__(self, architecture: object) -> bool:
        raise self._refusal()

    def _refusal(self) -> UsageError:
        return UsageError(f"the architectures of {type(self).__name__} do not tell their decisions")

    def sample(self, rng: random.Random) -> Any:
        """The architecture of decisions that `sample_decisions` draws."""
        return self.decode(self.sample_decisions(rng))

    @abstractmethod
    def sample_decisions(self, rng: random.Random) -> dict[str, int | str]:
        """Decisions drawn as the method's paper draws its first architectures."""

    @abstractmethod
    def mutate_decisions(self, decisions: Decisions, rng: random.Random) -> dict[str, int | str]:
        """Decisions of another architecture, which differ in a small, randomly drawn way."""
