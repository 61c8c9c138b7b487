"""The ranking of the surrogate."""

import random

import optuna
import pytest
from scipy.stats import spearmanr

from edarts.methods.blackbox import pnas
from edarts.methods.blackbox.driver import DIGEST, GENOTYPE, SCORED, result
from edarts.methods.blackbox.ledger import suggest
from edarts.space.blocks import BlockSpace, Cell

SPACE = BlockSpace(("skip_connect", "sep_conv_3x3", "max_pool_3x3"))


@pytest.mark.parametrize("kind", ["mlp", "lstm"])
def test_the_surrogate_ranks_cells_of_more_blocks(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fitted on cells of one and two blocks, it ranks those of three by a known score."""
    monkeypatch.setattr(pnas, "STEPS", 60)
    monkeypatch.setattr(pnas, "ENSEMBLE", 2)
    draw = random.Random(0)

    def score(cell: Cell) -> float:
        halves = [half for block in cell for half in block]
        return 0.5 + 0.4 * sum({0: -1, 1: 1, 2: 0}[op] for _, op in halves) / len(halves)

    def cells(blocks: int, count: int) -> list[Cell]:
        return [SPACE.cell(SPACE.sample_decisions(draw) | {"blocks": blocks}) for _ in range(count)]

    known = [*SPACE.widened(()), *cells(2, 60)]
    surrogate = pnas.Surrogate(kind, SPACE, 0)  # type: ignore[arg-type]
    unseen = cells(3, 100)
    surrogate.fit(known, [score(c) for c in known])
    rank = spearmanr(surrogate.predict(unseen), [score(c) for c in unseen]).statistic
    assert rank > 0.7, rank


def test_levels_widen_what_was_tried_and_the_best_of_the_last_is_returned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The rule of the search: all cells of one block, then `beam` at each level of those before."""
    monkeypatch.setattr(pnas, "STEPS", 5)
    space, beam = BlockSpace(("skip_connect", "sep_conv_3x3"), blocks=3), 4
    options = pnas.Options(beam=beam)
    wanted = pnas.PNAS.wanted("pnas", options, space)
    first = 4 * 5 // 2  # pairs of four halves: two sources, two operations
    assert (wanted.usual, wanted.least) == (first + 2 * beam, first + beam + 1)
    study = optuna.create_study(sampler=pnas.PNAS(space, 0, options), direction="maximize")
    for number in range(wanted.usual):
        trial = study.ask()
        genotype = suggest(space, trial)
        for key, value in ((DIGEST, genotype.digest()), (GENOTYPE, genotype.to_json())):
            trial.set_user_attr(key, value)
        trial.set_user_attr(SCORED, True)
        study.tell(trial, 1.0 / (1 + number))  # the very first is the best
    cells = [space.cell(trial.params) for trial in study.trials]
    assert [len(cell) for cell in cells] == [1] * first + [2] * beam + [3] * beam
    assert set(cells[:first]) == set(space.widened(()))
    for level, tried in ((cells[first : first + beam], cells[:first]), (cells[-beam:], cells)):
        assert all(cell[:-1] in tried for cell in level)
    assert len(set(cells)) == len(cells)
    best_of_last = study.trials[first + beam]
    assert result(study).architecture.to_json() == best_of_last.user_attrs[GENOTYPE]
    assert result(study).score == best_of_last.value != study.best_value


def test_a_search_that_was_cut_short_returns_the_best_of_the_level_it_reached() -> None:
    space = BlockSpace(("skip_connect",), blocks=2)
    trials = [
        optuna.trial.create_trial(
            params=space.decisions_of(cell),
            distributions=pnas.PNAS(space)._distributions,
            value=0.5,
        )
        for cell in space.widened(())
    ]
    assert pnas.PNAS(space).returnable(trials) == trials
