"""The comparison of methods, one-shot and black-box, with random cells of equal cost."""

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edarts.config import SearchConfig
from edarts.errors import UsageError
from edarts.space.darts import DartsSpace, parse_operations
from edarts.space.enas import EnasSpace
from edarts.space.genotype import Genotype
from edarts.studies import searches
from edarts.studies.base import Recipe
from edarts.studies.compare import CompareOptions, CompareStudy
from edarts.studies.ledger import read_ledger
from edarts.studies.row import Row
from studies.fakes import RECIPE, TRAIN, fake, named

RECORDED = Path(__file__).parents[2] / "results" / "compare-cifar10"


def test_compare_gives_random_cells_the_cost_of_the_search() -> None:
    question = CompareStudy(
        replace(RECIPE, seeds=2), CompareOptions("edarts,darts", "darts.v2,densenet_bc.l100_k12")
    )
    jobs = question.jobs({})
    assert [job.name for job in jobs if job.seed == 0] == [
        f"{name}-seed-0" for name in ("edarts", "darts", "darts.v2", "densenet_bc.l100_k12")
    ]
    rows = {
        job.name: fake(job.name, job.seed, test=0.8, search_seconds=14.0, **job.factors)
        for job in jobs
    }
    more = [job for job in question.jobs(rows) if job.name not in rows]
    assert len(more) == 2 * 2 * 4  # methods, seeds, 1 + round(14 / 5)
    space = DartsSpace.parse("sep_conv_3x3,dil_conv_3x3,skip_connect,max_pool_3x3", "1")
    mine = [job for job in more if job.genotype in space]
    assert len(mine) == 8
    for index, job in enumerate(more):
        # the best on held-out images is not the best on the test split
        n = int(job.factors["draw"])
        rows[job.name] = fake(
            job.name, job.seed, valid=0.5 + n / 10, test=0.7 - n / 100 + index / 1e4, **job.factors
        )
    assert question.jobs(rows) == [*jobs, *more]
    for group in question.baselines(rows).values():
        assert [row.factors["draw"] for row in group] == [3, 3]
        assert [row.factors["cells_drawn"] for row in group] == [4, 4]
        assert [row.search_seconds for row in group] == [20.0, 20.0]  # of four trainings
    summary = question.summary(rows)
    measured = {row[0]: row for row in summary.tables[0].rows}
    assert measured["random cells (edarts)"][2].value == pytest.approx(1 - 0.67, abs=0.01)
    assert [row[:2] for row in summary.tables[1].rows[:2]] == [
        (m, f"random cells ({m}'s space and cost)") for m in ("edarts", "darts")
    ]
    published = {row[0]: row[1] for row in summary.tables[2].rows}
    assert published == {
        "edarts": 2.53,
        "darts": 3.0,
        "darts.v2": 2.76,
        "densenet_bc.l100_k12": published["densenet_bc.l100_k12"],
    }
    assert [plot.name for plot in summary.plots] == ["error", "size"]


def test_runs_of_a_seed_are_compared_image_by_image(tmp_path: Path) -> None:
    """Where they kept their answers: the table names both, the seed, and McNemar's p."""
    question = CompareStudy(RECIPE, CompareOptions("darts", "darts.v2"))

    def kept(name: str, architecture: str, kind: str, right: int) -> Row:
        run = tmp_path / name
        run.mkdir()
        said = np.eye(2, dtype=np.float32)[(np.arange(20) < right).astype(int)]
        np.savez(run / "predictions.npz", probabilities=said, labels=np.ones(20, dtype=np.int64))
        row = fake(name, test=right / 20, kind=kind, architecture=architecture, run=name)
        return replace(row, folder=tmp_path)

    rows = named([kept("a", "darts", "method", 18), kept("b", "darts.v2", "zoo", 10)])
    (table,) = [t for t in question.summary(rows).tables if t.title == "Image by image"]
    ((first, second, seed, difference, p),) = table.rows
    assert (first, second, seed) == ("darts", "darts.v2", 0)
    assert difference.value == pytest.approx(0.4)
    assert p == pytest.approx(2 / 2**8)  # eight images of which the first alone is right
    alone = named([fake("a", kind="method", architecture="darts")])
    assert "Image by image" not in [t.title for t in question.summary(alone).tables]


def test_a_whole_network_has_its_own_size() -> None:
    question = CompareStudy(RECIPE, CompareOptions("darts", "darts.v1,densenet_bc.l100_k12"))
    by_name = {str(job.genotype): job.train for job in question.jobs({}) if job.seed == 0}
    assert by_name["darts.v1"].cells == TRAIN.cells
    assert by_name["densenet_bc.l100_k12"].cells is None


def test_black_box_methods_are_compared_too() -> None:
    search = SearchConfig.of_many(trials=4, arch_lr=0.01)
    question = CompareStudy(
        Recipe(search, TRAIN, seeds=1), CompareOptions("darts,regularized_evolution,pnas")
    )
    configs = {job.search.method: job.search for job in question.jobs({}) if job.search}
    assert list(configs) == ["darts", "regularized_evolution", "pnas"]
    # each takes its own part of the recipe's options
    assert configs["darts"].given() == {"arch_lr": 0.01}
    assert configs["regularized_evolution"].given() == {"trials": 4}
    for config in configs.values():
        searches.check(config, 60, 10)
    rows = named(
        fake(job.name, job.seed, search_seconds=10.0, **job.factors) for job in question.jobs({})
    )
    drawn = [job for job in question.jobs(rows) if job.name not in rows]
    assert len({job.factors["architecture"] for job in drawn}) == 3  # three spaces
    assert len(drawn) == 3 * 3
    assert all(isinstance(job.genotype, Genotype) for job in drawn)
    rows |= named(fake(job.name, job.seed, **job.factors) for job in drawn)
    assert list(question.baselines(rows)) == ["darts", "regularized_evolution", "pnas"]


def test_random_cells_of_a_black_box_space_are_those_it_can_propose() -> None:
    evolution = SearchConfig.of("regularized_evolution", operations="SS3")
    draws = searches.draws(evolution)  # a node may read one source twice
    cells = [draws.sample(random.Random(f"{n}")) for n in range(20)]
    assert all(cell in EnasSpace(parse_operations("SS3")) for cell in cells)
    assert len(set(cells)) == 20
    # in the space of DARTS it has DARTS' cells
    same = searches.draws(SearchConfig.of("random_search", operations="SS3"))
    assert same.text == searches.draws(SearchConfig.of("darts", operations="SS3")).text
    # PNAS' cells are blocks, which no space of edges holds
    blocks = searches.draws(SearchConfig("pnas"))
    assert blocks.sample(random.Random("0")) == blocks.sample(random.Random("0"))
    assert blocks.text != draws.text


def test_the_recorded_random_cells_are_found_again() -> None:
    """Their names and draws follow from the text of the space, which must not change."""
    rows = read_ledger(RECORDED)
    question = CompareStudy(RECIPE, CompareOptions("darts,random_ws"))
    for method, group in question.baselines(rows).items():
        assert len(group) == 3, method
    job = next(j for j in question.jobs(rows) if j.factors["kind"] == "random")
    assert job.genotype == rows[job.name].genotype


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"methods": "dart"}, "darts"),
        ({"methods": "regularised_evolution"}, "regularized_evolution"),
        ({"methods": " , "}, "at least one method"),
        ({"zoo": "darts.v3"}, "darts.v2"),
        ({"random_cells": 0}, "at least 1"),
    ],
)
def test_what_is_refused(options: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        CompareStudy(RECIPE, CompareOptions(**options))  # type: ignore[arg-type]


def test_an_option_that_no_method_takes_is_refused() -> None:
    recipe = Recipe(SearchConfig.of_many(zero_one=1.0), TRAIN)
    with pytest.raises(UsageError, match=r"none of the methods.*--search\.zero-one"):
        CompareStudy(recipe, CompareOptions("edarts,darts"))
    CompareStudy(recipe, CompareOptions("edarts,fair_darts"))
