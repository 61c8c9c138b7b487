"""What a space gets from its base: a chain of layers that says no more than its two tables."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from edarts import Architecture, SearchSpace, Size, UsageError
from edarts.config import NoOptions
from edarts.space.base import Chosen, DecisionSpace
from edarts.space.blocks import BlockSpace
from edarts.space.operations import CANDIDATES


@dataclass(frozen=True)
class Chain(Architecture):
    """An operation for each layer; the last of two groups of layers."""

    FORMAT: ClassVar[str] = "spaces.chain/1"
    first: tuple[str, ...]
    last: tuple[str, ...]

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Chain":
        return cls(tuple(fields["first"]), tuple(fields["last"]))

    def to_dict(self) -> dict[str, Any]:
        return {"format": self.FORMAT, "first": list(self.first), "last": list(self.last)}

    def build(self, size: Size, image: tuple[int, int, int], classes: int) -> Any:
        raise NotImplementedError

    def operations(self) -> dict[str, list[str]]:
        return {"first": list(self.first), "last": list(self.last)}

    def __str__(self) -> str:
        return " > ".join([*self.first, *self.last])


class ChainSpace(SearchSpace):
    """Three layers, then two; each keeps its operation."""

    Options = NoOptions
    Architecture = Chain
    groups: ClassVar[tuple[str, ...]] = ("first", "last")

    @classmethod
    def of(cls, options: Any) -> "ChainSpace":
        return cls()

    def edges(self, group: str) -> tuple[tuple[int, int], ...]:
        return tuple((n, n + 1) for n in range(3 if group == "first" else 2))

    def candidates(self, group: str) -> tuple[str, ...]:
        return ("none", "skip_connect", "conv_1x1") if group == "first" else ("a", "b")

    def derive(self, chosen: Chosen) -> Chain:
        layers = {
            group: tuple(self.candidates(group)[column] for _, column in sorted(chosen[group]))
            for group in self.groups
        }
        return Chain(layers["first"], layers["last"])

    def chosen(self, architecture: Any) -> Chosen:
        return {
            group: [
                (row, self.candidates(group).index(name))
                for row, name in enumerate(architecture.operations()[group])
            ]
            for group in self.groups
        }


SPACE = ChainSpace()
SAME = Chain(("skip_connect",) * 3, ("a", "b"))


def test_tables() -> None:
    assert SPACE.shape("first") == (3, 3) and SPACE.shape("last") == (2, 2)
    assert SPACE.incoming("first") == {1: [0], 2: [1], 3: [2]}
    assert SPACE.eligible("first") == ("skip_connect", "conv_1x1")
    assert SPACE.kept("first") >= 1
    assert SPACE.relaxable and SPACE.has_supernet


def test_a_decision_for_every_row() -> None:
    assert SPACE.decisions() == {
        **{f"first.{row}": ("skip_connect", "conv_1x1") for row in range(3)},
        **{f"last.{row}": ("a", "b") for row in range(2)},
    }
    assert SPACE.size() == 2**5
    decisions = SPACE.encode(SAME)
    assert decisions["first.2"] == "skip_connect" and decisions["last.1"] == "b"
    assert SPACE.decode(decisions) == SAME


def test_drawing_reaches_all_and_stays_inside() -> None:
    drawn = {SPACE.sample(random.Random(seed)) for seed in range(1000)}
    assert len(drawn) == 2**5 and all(found in SPACE for found in drawn)
    rng = random.Random(0)
    for _ in range(100):
        before = SPACE.sample_decisions(rng)
        after = SPACE.mutate_decisions(before, rng)
        assert sum(before[name] != after[name] for name in before) <= 1
        assert SPACE.mutate(SPACE.decode(before), rng) in SPACE


def test_contains() -> None:
    assert SAME in SPACE and SPACE.supports(SAME)
    assert Chain(("conv_3x3",) * 3, ("a", "b")) not in SPACE
    assert Chain(("conv_1x1",) * 2, ("a", "b")) not in SPACE
    assert "a chain" not in SPACE and None not in SPACE


def test_weights_say_how_often_each_candidate_is_taken() -> None:
    weights = SPACE.weights_of(SAME)
    assert weights["first"].tolist() == [[0, 1, 0]] * 3
    assert weights["last"].tolist() == [[1, 0], [0, 1]]


def test_a_space_without_a_supernet_says_so() -> None:
    with pytest.raises(UsageError, match="space ChainSpace has no supernet: give a black-box"):
        SPACE.supernet(Size(1, 4), (3, 8, 8), 2)


def test_what_every_architecture_can_do() -> None:
    assert SAME.sized and SAME.skips() == {"first": 3, "last": 0}
    assert SAME.digest() == Chain.from_dict(SAME.to_dict()).digest()
    assert SAME.digest() != Chain(("conv_1x1",) * 3, ("a", "b")).digest()
    assert SAME.lines() == {"network": str(SAME)} and SAME.details() == {}
    (panel,) = SAME.draw("a title").panels
    assert [box.label for box in panel.boxes] == [str(SAME)]


def test_spaces_of_decisions_have_no_tables() -> None:
    space: DecisionSpace = BlockSpace(CANDIDATES)
    assert not space.has_supernet and space.groups == ()
    assert (space.edges("normal"), space.candidates("normal")) == ((), ())
    genotype = space.sample(random.Random(0))
    for refused in (
        lambda: space.encode(genotype),
        lambda: space.chosen(genotype),
        lambda: space.derive({}),
        lambda: space.mutate(genotype, random.Random(0)),
        lambda: genotype in space,
    ):
        with pytest.raises(UsageError, match="BlockSpace do not tell their decisions"):
            refused()
    with pytest.raises(UsageError, match="no supernet"):
        space.supernet(Size(1, 4), (3, 8, 8), 2)
