"""What a `find` is to do: its plan, made from what the user gave."""

from dataclasses import dataclass, replace

from edarts.config import Budget, SearchConfig, TrainConfig, is_black_box
from edarts.config import resolve as fill_in
from edarts.data.dataset import Dataset
from edarts.errors import UsageError
from edarts.methods.oneshot.resolve import resolve_config
from edarts.race.candidates import FOUND, Field, names
from edarts.race.operations import within_limits
from edarts.training import balance, fit, recipe

PATIENCE = 3  # of a search that `find` does
# Share of the training images, and their number, at most, that the final training holds out: what
# they teach of its answers holds for images like them, which it has not seen.
HELD_OUT = 0.05, 1000


@dataclass(frozen=True)
class Plan:
    """What is to be found: `wanted` candidates, on `data`, within `budget`, by these configs.

    `search`, `given`: search and training as the user gave them. `train`: the training, resolved
    for networks of cells. `test_images`: how many will be evaluated at the end. `flip_open`:
    whether nobody has said if mirroring is harmless. `without`: the operations that the limits
    have taken out of the search.
    """

    data: Dataset
    wanted: tuple[str, ...]
    budget: Budget
    search: SearchConfig
    given: TrainConfig
    train: TrainConfig
    test_images: int
    flip_open: bool = False
    without: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        data: Dataset,
        wanted: tuple[str, ...],
        budget: Budget,
        search: SearchConfig,
        given: TrainConfig,
        test_images: int = 0,
        flip_open: bool = False,
    ) -> "tuple[Plan, SearchConfig, list[str]]":
        """The plan, with what the configs leave open filled in; the search that it comes to; notes.

        `wanted`: see `wanted`. Raises UsageError for what the configs cannot hold.
        """
        search, sizes = fill_in(search, {"patience": PATIENCE}), (len(data), len(data.classes))
        resolved, space, notes = resolve_config(search, *sizes)
        usual = recipe.load(given.recipe).find_defaults(data.shape)
        given = fill_in(given, {**usual, "valid_fraction": held_out(len(data))})
        train = fit.resolve_config(given, len(data), whitens=space.whitens)
        field = field_of(data, budget, train)
        search, without = within_limits(search, resolved, space, field)
        if without:
            resolved, _, notes = resolve_config(search, *sizes)
        notes = [*notes, *balance.note(train.balance, data.labels, data.classes)]
        plan = cls(data, wanted, budget, search, given, train, test_images, flip_open, without)
        return plan, resolved, notes

    def lasting(self, epochs: int) -> TrainConfig:
        """`train` with so many epochs, by whose number a recipe may choose other settings too."""
        given, whitens = replace(self.given, epochs=epochs), bool(self.train.whitening)
        return fit.resolve_config(given, len(self.data), whitens=whitens)

    @property
    def races(self) -> bool:
        """Whether there is a race: `found` alone is searched and trained, as it is."""
        return self.wanted != (FOUND,)


def wanted(candidates: str, search: SearchConfig, given: TrainConfig) -> tuple[str, ...]:
    """The names of the candidates, of which there may be one. Raises UsageError."""
    found = names(candidates, given.pretrained)
    if is_black_box(search.method):
        raise UsageError(
            f"find searches with one-shot methods; for {search.method} use `edarts search`,"
            " then `edarts train`"
        )
    return found


def field_of(data: Dataset, budget: Budget, train: TrainConfig) -> Field:
    """Where the candidates for `data` are looked for; `train`: resolved for networks of cells."""
    mirrored = data.flip and recipe.load(train.recipe).mirrors(train)
    return Field(data.shape, len(data.classes), budget, train, mirrored)


def held_out(images: int) -> float:
    """The share of the training images that the final training holds out."""
    share, most = HELD_OUT
    return round(min(share, most / images), 4)
