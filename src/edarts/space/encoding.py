"""Encoding: a genotype as named decisions, each among a few options, as black-box methods take it.

A decision is a categorical parameter of Optuna. An encoding draws and changes whole sets of
decisions ("choices"), and turns them into the genotype that they stand for.
"""

import random
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Protocol, cast

from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import BaseTrial

from edarts.config import SearchConfig, given
from edarts.space.darts import KEPT, Space
from edarts.space.genotype import KINDS, Edge, Genotype

Choices = Mapping[str, int | str]


class Encoding(Protocol):
    """What a black-box method knows of the genotypes it may propose."""

    @property
    def decisions(self) -> Mapping[str, Sequence[int | str]]:
        """Name of each decision -> its options, in the order in which they are taken."""

    def decode(self, choices: Choices) -> Genotype:
        """The genotype of an option for every decision. Raises UsageError if there is none."""

    def sample(self, generator: random.Random) -> dict[str, int | str]:
        """Choices drawn at random, as the method's paper begins."""

    def mutate(self, choices: Choices, generator: random.Random) -> dict[str, int | str]:
        """Choices that differ in a small, randomly drawn way; never those of no genotype."""


class CellEncoding:
    """The genotypes of `space`.

    Per node of each kind of cell: `KIND.NODE.sources`, the sorted pair of sources, where there is
    a choice, and an operation for each: `KIND.NODE.0`, `KIND.NODE.1`. In a space of `pairs` each of
    the two has a source of its own: `KIND.NODE.0.source`.
    """

    @classmethod
    def of(cls, config: SearchConfig) -> "CellEncoding":
        """That of the space which a resolved config names. Raises UsageError."""
        return cls(Space.parse(given(config.operations), given(config.topology)))

    def __init__(self, space: Space) -> None:
        self.space = space
        self.decisions: dict[str, Sequence[int | str]] = {}
        self._sources: dict[tuple[str, int], list[tuple[int, ...]]] = {}
        for kind in KINDS:
            for node, rows in space.incoming(kind).items():
                sources = [space.topology(kind)[row][0] for row in rows]
                place = f"{kind}.{node}"
                kept = KEPT if space.pairs else min(KEPT, len(sources))
                if space.pairs:
                    for slot in range(kept):
                        self.decisions[f"{place}.{slot}.source"] = tuple(sources)
                else:
                    ways = list(combinations(sources, kept))
                    self._sources[kind, node] = ways
                    if len(ways) > 1:
                        self.decisions[f"{place}.sources"] = tuple(map(_text, ways))
                for slot in range(kept):
                    self.decisions[f"{place}.{slot}"] = space.searchable

    def encode(self, genotype: Genotype) -> dict[str, int | str]:
        """The choices of a genotype of the space; the inverse of `decode`."""
        choices: dict[str, int | str] = {}
        for kind in KINDS:
            nodes: dict[int, list[Edge]] = {node: [] for node in self.space.incoming(kind)}
            for edge in genotype.edges(kind):
                nodes[edge.node].append(edge)
            for node, edges in nodes.items():
                place = f"{kind}.{node}"
                for slot, edge in enumerate(edges):
                    choices[f"{place}.{slot}"] = edge.operation
                    if self.space.pairs:
                        choices[f"{place}.{slot}.source"] = edge.source
                if f"{place}.sources" in self.decisions:
                    choices[f"{place}.sources"] = _text([edge.source for edge in edges])
        return choices

    def decode(self, choices: Choices) -> Genotype:
        """The genotype of an option for every decision."""
        edges: dict[str, list[Edge]] = {}
        for kind in KINDS:
            edges[kind] = []
            for node in self.space.incoming(kind):
                place = f"{kind}.{node}"
                if self.space.pairs:
                    sources = [int(choices[f"{place}.{slot}.source"]) for slot in range(KEPT)]
                elif f"{place}.sources" in self.decisions:
                    sources = [int(s) for s in str(choices[f"{place}.sources"]).split()]
                else:
                    sources = list(self._sources[kind, node][0])
                edges[kind] += [
                    Edge(str(choices[f"{place}.{slot}"]), source, node)
                    for slot, source in enumerate(sources)
                ]
        return self.space.genotype(edges)

    def sample(self, generator: random.Random) -> dict[str, int | str]:
        """Those of `Space.sample`."""
        return self.encode(self.space.sample(generator))

    def mutate(self, choices: Choices, generator: random.Random) -> dict[str, int | str]:
        """Those of `Space.mutate`."""
        return self.encode(self.space.mutate(self.decode(choices), generator))


def _text(sources: Sequence[int]) -> str:
    return " ".join(map(str, sources))


def distributions(encoding: Encoding) -> dict[str, BaseDistribution]:
    """The decisions as Optuna knows them."""
    return {name: CategoricalDistribution(options) for name, options in encoding.decisions.items()}


def suggest(encoding: Encoding, trial: BaseTrial) -> Genotype:
    """The genotype that the sampler of a trial's study proposes: any sampler of Optuna's or ours.

    Raises UsageError if the choices stand for none.
    """
    choices: dict[str, int | str] = {}
    for name, options in encoding.decisions.items():
        choices[name] = cast(int | str, trial.suggest_categorical(name, options))
    return encoding.decode(choices)
