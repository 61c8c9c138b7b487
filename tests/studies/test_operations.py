"""The study of operations."""

from dataclasses import replace

import pytest

from edarts.config import SearchConfig
from edarts.errors import UsageError
from edarts.space.darts import DartsSpace
from edarts.studies.base import Recipe
from edarts.studies.operations import OperationsOptions, OperationsStudy
from studies.fakes import RECIPE, TRAIN, fake, named


def test_operations_sees_a_planted_effect() -> None:
    """Each separable 3x3 edge adds a point, each dilated 5x5 one takes one."""
    question = OperationsStudy(replace(RECIPE, seeds=3))
    assert question.subsets == [f"SS{n}" for n in range(1, 9)]
    rows = {}
    gains = {"sep_conv_3x3": 0.01, "dil_conv_5x5": -0.01}
    for index, job in enumerate(question.jobs({})):
        space = DartsSpace.parse(str(job.factors["subset"]))
        operations = space.operations
        pick = [operations[(index + i * i) % len(operations)] for i in range(8)]
        cell = [(op, j, 2 + i // 2) for i, (op, j) in enumerate(zip(pick, [0, 1] * 4, strict=True))]
        gain = sum(2 * gains.get(name, 0.0) for name in pick) + 1e-4 * (index % 3)
        rows[job.name] = fake(
            job.name,
            job.seed,
            test=0.6 + gain,
            genotype={"normal": cell, "reduce": cell},
            **job.factors,
        )
    summary = question.summary(rows)
    effects = {row[0]: row[1] for row in summary.tables[3].rows}
    assert effects["sep_conv_3x3"].value == pytest.approx(0.01, abs=1e-3)
    assert effects["dil_conv_5x5"].value == pytest.approx(-0.01, abs=1e-3)
    assert abs(effects["max_pool_3x3"].value) < 1e-3
    chosen = {row[0]: row[1] / row[2] for row in summary.tables[1].rows}
    assert sum(row[1] for row in summary.tables[1].rows) == 24 * 16
    assert all(0 <= share <= 1 for share in chosen.values())
    units = [column.unit for table in summary.tables for column in table.columns]
    assert units.count("points") == 2 and units.count("share") == 3
    (effects_plot,) = [plot for plot in summary.plots if plot.name == "effects"]
    (series,) = effects_plot.series
    shown = dict(zip(series.x, series.y, strict=True))
    point = shown["sep_conv_3x3"]
    assert not isinstance(point, float)
    assert point.value == pytest.approx(1.0, abs=0.1)
    assert point.low is not None and point.high is not None
    assert point.low < point.value < point.high


def test_few_cells_determine_no_effects() -> None:
    question = OperationsStudy(replace(RECIPE, seeds=1), OperationsOptions("SS1,SS2"))
    rows = named(fake(job.name, **job.factors) for job in question.jobs({}))
    summary = question.summary(rows)
    assert "do not determine the effects" in summary.tables[3].note
    assert [plot.name for plot in summary.plots] == ["accuracy"]
    assert "from 1 seed, nothing can be concluded" in summary.sentences[0]


def test_what_is_refused() -> None:
    with pytest.raises(UsageError, match="SS9"):
        OperationsStudy(RECIPE, OperationsOptions("SS9"))
    with pytest.raises(UsageError, match="varies them"):
        OperationsStudy(Recipe(SearchConfig("darts", attention="none"), TRAIN))
