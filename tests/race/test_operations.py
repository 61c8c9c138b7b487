"""Operations of which no cell fits the limits take no part in a search; the others stay."""

import random

import pytest

from edarts.config import Budget, SearchConfig, TrainConfig, parse_attention
from edarts.methods.oneshot.resolve import resolve_config
from edarts.nn.costs import costs
from edarts.race.candidates import FOUND, Field, candidates
from edarts.race.operations import within_limits
from edarts.space.base import Size
from edarts.space.darts import DartsSpace
from edarts.space.genotype import Edge
from edarts.training import fit

IMAGE, CLASSES = (3, 32, 32), 5
TRAINING = fit.resolve_config(TrainConfig(cells=3, channels=8), 1000)


def restricted(
    budget: Budget, given: SearchConfig | None = None
) -> tuple[DartsSpace, SearchConfig, tuple[str, ...]]:
    """The space that is searched, its config, and what it is without."""
    given = given or SearchConfig("darts")
    resolved, space, _ = resolve_config(given, 1000, CLASSES)
    given, out = within_limits(given, resolved, space, Field(IMAGE, CLASSES, budget, TRAINING))
    config, space, _ = resolve_config(given, 1000, CLASSES)
    assert isinstance(space, DartsSpace)
    return space, config, out


def cell_of(operation: str) -> int:
    """Parameters of two cells of one channel with that operation on every edge."""
    nodes = [(0, 2), (1, 2), (0, 3), (1, 3), (0, 4), (1, 4), (0, 5), (1, 5)]
    edges = [Edge(operation, *edge) for edge in nodes]
    cell = DartsSpace().genotype({"normal": edges, "reduce": edges})
    return costs(cell.build(Size(2, 1, whitening=True), IMAGE, CLASSES), IMAGE, Budget()).parameters


def test_without_limits_all_stay() -> None:
    for budget in (Budget(), Budget(minutes=3), Budget(max_ms=0.001)):
        space, _, out = restricted(budget)
        assert out == () and space.operations == DartsSpace().operations


def test_what_cannot_fit_goes() -> None:
    """Between two operations' cells lies the limit: the one stays, the other goes."""
    small, large = cell_of("dil_conv_3x3"), cell_of("sep_conv_5x5")
    assert small < large
    space, _, out = restricted(Budget(max_parameters=small))
    assert "sep_conv_5x5" in out and "dil_conv_3x3" not in out
    assert set(space.operations) == set(DartsSpace().operations) - set(out)
    assert "none" in space.operations


@pytest.mark.parametrize("seed", range(5))
def test_whatever_is_found_then_fits(seed: int) -> None:
    budget = Budget(max_parameters=cell_of("dil_conv_5x5"))
    space, _, out = restricted(budget)
    assert out
    found, notes = candidates(
        [FOUND], space.sample(random.Random(seed)), Field(IMAGE, CLASSES, budget, TRAINING)
    )
    assert found and not notes
    assert all(one.costs.within(budget) for one in found)


def test_where_all_would_go_all_stay() -> None:
    space, _, out = restricted(Budget(max_parameters=1))
    assert out == () and space.operations == DartsSpace().operations


def test_shares_of_those_that_go_go_too() -> None:
    """edarts gives each operation a share; those that stay keep theirs."""
    whole = parse_attention(restricted(Budget(), SearchConfig("edarts"))[1].attention)
    budget = Budget(max_parameters=cell_of("dil_conv_3x3"))
    _, config, out = restricted(budget, SearchConfig("edarts"))
    shares = parse_attention(config.attention)
    assert whole is not None and shares is not None and out
    assert shares == {name: share for name, share in whole.items() if name not in out}
