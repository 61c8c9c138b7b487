"""The study of skip connections."""

from dataclasses import replace

import pytest

from edarts.config import SearchConfig
from edarts.errors import UsageError
from edarts.studies.base import Recipe
from edarts.studies.skips import SLIDES, SkipsOptions, SkipsStudy
from studies.fakes import RECIPE, TRAIN, fake, named


def test_skips_has_the_slides_four_rows() -> None:
    question = SkipsStudy(RECIPE, SkipsOptions(0.25))
    jobs = question.jobs({})
    assert len(jobs) == 16
    searches = {str(job.factors["row"]): job.search for job in jobs}
    assert list(searches) == list(SLIDES)
    settings = [(s.data_fraction, s.arch_update) for s in searches.values() if s is not None]
    assert settings == [(1.0, "step"), (0.25, "step"), (1.0, "epoch"), (0.25, "epoch")]
    rows = named(
        fake(
            job.name,
            job.seed,
            normal_skips=4 - job.seed % 2 - 2 * (job.factors["row"] == "+ both"),
            search_seconds=10.0 if job.factors["row"] == "DARTS" else 2.0,
            **job.factors,
        )
        for job in jobs
    )
    summary = question.summary(rows)
    by_row = {row[0]: row for row in summary.tables[0].rows}
    assert by_row["DARTS"][2] == 14
    assert by_row["+ both"][2] == 6
    assert by_row["+ both"][9] == pytest.approx(5.0)
    (both,) = [text for text in summary.sentences if text.startswith("+ both") and "skip" in text]
    # two fewer with every seed: no spread, so no test
    assert "-2.0 skip connections a run" in both and "no test applies" in both
    (same,) = [t for t in summary.sentences if t.startswith("+ epoch") and "skip" in t]
    assert "no significant change (p = 1" in same


def test_an_architecture_learning_rate_is_that_of_updates_at_every_step() -> None:
    given = Recipe(SearchConfig(method="darts", arch_lr=0.02), TRAIN)
    rates = {j.factors["row"]: j.search.arch_lr for j in SkipsStudy(given).jobs({}) if j.search}
    assert list(rates.values()) == [0.02, 0.02, None, None]


def test_fewer_skips_with_a_spread_are_significant() -> None:
    question = SkipsStudy(RECIPE)
    rows = named(
        fake(
            job.name,
            job.seed,
            normal_skips=9 if job.factors["row"] == "DARTS" else 2 + (job.seed == 0),
            **job.factors,
        )
        for job in question.jobs({})
    )
    skips = [text for text in question.summary(rows).sentences if "skip connections" in text]
    assert len(skips) == 3
    assert all("significantly fewer" in text for text in skips)


def test_without_the_first_row_nothing_is_compared() -> None:
    question = SkipsStudy(replace(RECIPE, seeds=1))
    rows = named(fake(job.name, **job.factors) for job in question.jobs({})[1:])
    assert question.summary(rows).sentences == ["No run of the first row has ended."]


def test_what_is_refused() -> None:
    with pytest.raises(UsageError, match="between 0 and 1"):
        SkipsOptions(1.5)
    with pytest.raises(UsageError, match="varies it"):
        SkipsStudy(Recipe(SearchConfig("darts", arch_update="epoch"), TRAIN))
    with pytest.raises(UsageError, match="random_search is a black-box method, which has none"):
        SkipsStudy(Recipe(SearchConfig("random_search"), TRAIN))
