"""The study of depth."""

from dataclasses import replace

import pytest

from edarts.config import SearchConfig
from edarts.errors import UsageError
from edarts.studies.base import Recipe
from edarts.studies.depth import DepthOptions, DepthStudy
from studies.fakes import RECIPE, SEARCH, TRAIN, fake, named


def test_depth_varies_the_supernet_alone() -> None:
    question = DepthStudy(replace(RECIPE, seeds=3), DepthOptions("8,5"))
    jobs = question.jobs({})
    assert [(job.search.cells, job.seed) for job in jobs if job.search] == [
        (cells, seed) for seed in range(3) for cells in (5, 8)
    ]
    assert {job.train for job in jobs} == {TRAIN}
    assert {replace(job.search, cells=None) for job in jobs if job.search} == {RECIPE.search}
    rows = named(
        fake(
            job.name,
            job.seed,
            test=0.8
            + 0.01 * job.seed
            + (0.05 + 0.001 * job.seed) * (job.factors["search_cells"] == 8),
            search_seconds=10.0 if job.factors["search_cells"] == 5 else 30.0,
            **job.factors,
        )
        for job in jobs
    )
    summary = question.summary(rows)
    (sentence, cost) = summary.sentences
    assert sentence.startswith("8 cells minus 5 cells: +5.10 points")
    assert "significantly better" in sentence
    assert "takes 3.0 times as long" in cost
    (table,) = summary.tables
    assert [row[0] for row in table.rows] == [5, 8]
    units = {column.name: column.unit for column in table.columns}
    assert units["test accuracy"] == "share" and units["minus shallowest"] == "points"
    assert [plot.name for plot in summary.plots] == ["accuracy", "cost"]
    assert len(summary.architectures) == 2


def test_nothing_has_ended() -> None:
    assert DepthStudy(RECIPE).summary({}).sentences == ["No run has ended."]


def test_what_is_refused() -> None:
    with pytest.raises(UsageError, match=r"leave out --search\.cells"):
        DepthStudy(Recipe(SEARCH, TRAIN))
    with pytest.raises(UsageError, match="give depths"):
        DepthStudy(RECIPE, DepthOptions("5,x"))


@pytest.mark.parametrize("method", ["regularized_evolution", "optuna:TPESampler"])
def test_a_black_box_method_has_no_supernet_to_vary(method: str) -> None:
    with pytest.raises(UsageError, match=f"{method} is a black-box method, which has none"):
        DepthStudy(Recipe(SearchConfig(method), TRAIN))
