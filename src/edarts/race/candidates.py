"""Who takes part in a race: the found cell in two sizes, plain networks, each within the limits."""

import dataclasses
import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from edarts.config import Budget, TrainConfig
from edarts.errors import EdartsError, UsageError
from edarts.nn.costs import Costs, costs
from edarts.nn.mirrored import Mirrored
from edarts.nn.timm import Timm
from edarts.nn.whole import Whole
from edarts.space import named
from edarts.space.base import Architecture, Image, Size
from edarts.training.recipe import OF_CELLS

FOUND = "found"
# The found cell also takes part with so many times the channels; a baseline that has won becomes so
# many times as wide where there is time.
WIDER = 2
FEWER_CELLS = (3, 2)  # depths that are tried where the given one does not fit the limits


@dataclass(frozen=True)
class Candidate:
    """A network that takes part.

    `name`: what the user reads. `found`: whether a search found it.
    """

    name: str
    architecture: Architecture
    size: Size
    costs: Costs
    found: bool = False

    def training(self, config: TrainConfig) -> TrainConfig:
        """How it is trained: `config`, resolved for networks of cells, with its own size."""
        size: Any = self.size
        own = {"cells": size.cells, "channels": size.channels, "whitening": size.whitening}
        if not isinstance(self.architecture, Timm):
            config = dataclasses.replace(config, pretrained="")
        return dataclasses.replace(config, **(own if self.architecture.sized else OF_CELLS))


@dataclass(frozen=True)
class Field:
    """Where candidates are looked for: the data's images and classes, the limits, the training.

    `mirrored`: whether an answer takes an image and its mirror image, so costs twice.
    """

    image: Image
    classes: int
    budget: Budget
    config: TrainConfig
    mirrored: bool = False


def names(text: str, pretrained: str = "") -> tuple[str, ...]:
    """The names of a comma-separated list.

    Raises UsageError for none, for one given twice, and if none of them can begin with the
    `pretrained` weights.
    """
    found = tuple(name.strip() for name in text.split(",") if name.strip())
    if not found:
        raise UsageError("candidates names nothing; give found, a baseline or a zoo name")
    for name in found:
        if found.count(name) > 1:
            raise UsageError(f"candidates names {name} twice")
        if name != FOUND:
            try:
                named.architecture(name)
            except UsageError as error:
                raise UsageError(f"candidates: {error}") from None
    if pretrained and not any(name.startswith(named.TIMM) for name in found):
        raise UsageError(f"pretrained is for networks named {named.TIMM}NAME: none of them races")
    return found


def candidates(
    wanted: Iterable[str], found: Architecture | None, field: Field
) -> tuple[list[Candidate], list[str]]:
    """Those of the wanted that fit the budget, each as large as it may be; notes on the others.

    `found`: the cell that `found` stands for. A network of cells has the config's size; the found
    one also takes part with twice the channels. What does not fit becomes narrower, then shallower.
    Raises EdartsError, naming the nearest that can be reached, if nothing fits.
    """
    fitting: list[Candidate] = []
    notes, nearest = [], []
    for name in wanted:
        design = found if name == FOUND else named.architecture(name)
        assert design is not None
        forms = _Forms(name, design, field)
        mine = forms.fitting()
        fitting += mine
        if not mine:
            nearest.append(forms.smallest())
            notes.append(f"{forms.name} is left out: {_told(nearest[-1], field.budget)}")
    if not fitting:
        best = min(nearest, key=lambda one: _excess(one, field.budget))
        raise EdartsError(
            f"nothing fits the limits; the nearest is {best.name}, at its smallest:"
            f" {_told(best, field.budget)}"
        )
    return fitting, notes


def fits(cell: Architecture, field: Field) -> bool:
    """Whether a found cell would be within the limits at its smallest size."""
    return _Forms(FOUND, cell, field).smallest().costs.within(field.budget)


def wider(candidate: Candidate, field: Field) -> Candidate | None:
    """A baseline with `WIDER` times its width; None if it is none, has no width, or does not fit.

    What stands in the zoo stays as it was published.
    """
    return _Forms(candidate.name, candidate.architecture, field).wider()


class _Forms:
    """The sizes of one candidate."""

    def __init__(self, name: str, design: Architecture, field: Field) -> None:
        self.design, self.field, self.found = design, field, name == FOUND
        self.name = design.label if isinstance(design, Whole) and "." not in name else name

    def fitting(self) -> list[Candidate]:
        """The largest that fits; of the found cell also one of half the channels."""
        if not isinstance(self.design, Whole):
            return self._of_cells()
        design = self.design
        whole = self._whole(design)
        if whole.costs.within(self.field.budget):
            return [whole]
        width = _largest(1, design.most - 1, lambda w: self._fits(self._whole(design.scaled(w))))
        return [self._whole(design.scaled(width))] if width else []

    def wider(self) -> Candidate | None:
        """See `wider`."""
        if not isinstance(self.design, Whole) or "." in self.name:
            return None
        width = WIDER * self.design.most
        design = self.design.scaled(width)
        if design == self.design:
            return None
        wide = self._candidate(f"{self.name}-{width}", design, Size())
        return wide if self._fits(wide) else None

    def smallest(self) -> Candidate:
        """The smallest form that there is."""
        if isinstance(self.design, Whole):
            return self._whole(self.design.scaled(1))
        return self._cells(min(FEWER_CELLS), 1)

    def _of_cells(self) -> list[Candidate]:
        config = self.field.config
        most = config.channels * (WIDER if self.found else 1)
        for cells in (config.cells, *(n for n in FEWER_CELLS if n < config.cells)):
            width = _largest(1, most, functools.partial(self._cells_fit, cells))
            if width:
                half = [width // 2] if self.found and width > 1 else []
                return [self._cells(cells, channels) for channels in (width, *half)]
        return []

    def _cells_fit(self, cells: int, channels: int) -> bool:
        return self._fits(self._cells(cells, channels))

    def _fits(self, candidate: Candidate) -> bool:
        return candidate.costs.within(self.field.budget)

    def _whole(self, design: Whole) -> Candidate:
        return self._candidate(self.name, design, Size())

    def _cells(self, cells: int, channels: int) -> Candidate:
        whitening = bool(self.field.config.whitening) and self.design.whitens
        name = f"{self.name}-{channels}" if self.found else self.name
        return self._candidate(name, self.design, Size(cells, channels, whitening=whitening))

    def _candidate(self, name: str, design: Architecture, size: Size) -> Candidate:
        image, classes = self.field.image, self.field.classes
        network = design.build(size, image, classes)
        used = Mirrored(network) if self.field.mirrored else network
        cost = costs(used, image, self.field.budget)
        return Candidate(name, design, size, cost, self.found)


def _largest(low: int, high: int, fits: Callable[[int], bool]) -> int:
    """The largest of low..high that fits, by bisection; 0 if none does."""
    if high < low or not fits(low):
        return 0
    if fits(high):
        return high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def _told(candidate: Candidate, budget: Budget) -> str:
    over = candidate.costs.over(budget)
    return ", ".join(
        f"{name.removeprefix('max_')} {value:,.4g} with --{name.replace('_', '-')}"
        f" {budget.limits[name]:,.4g}"
        for name, value in over.items()
    )


def _excess(candidate: Candidate, budget: Budget) -> float:
    return max(value / budget.limits[name] for name, value in candidate.costs.over(budget).items())
