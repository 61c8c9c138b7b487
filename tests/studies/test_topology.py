"""The study of topologies."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edarts.config import SearchConfig
from edarts.errors import EdartsError, UsageError
from edarts.reporting import stats
from edarts.space.darts import DartsSpace
from edarts.studies.base import Recipe
from edarts.studies.ranking import features, ranking
from edarts.studies.row import Row
from edarts.studies.topology import TopologyOptions, TopologyStudy, one_seed_gain
from studies.fakes import RECIPE, TRAIN, fake, named


def test_the_test_split_chooses_nothing() -> None:
    rows = [
        fake(f"{i}", topology=i, valid=valid, test=test)
        for i, valid, test in ((0, 0.7, 0.9), (1, 0.8, 0.5), (2, 0.75, 0.99))
    ]
    assert ranking(rows) == [1, 2, 0]


def test_features_by_hand() -> None:
    wide = DartsSpace.topologies()[0]  # every node reads 0 and 1
    assert features(wide) == {"depth": 2, "width": 4.0, "readers": 4}
    chain = ((0, 2), (1, 2), (1, 3), (2, 3), (2, 4), (3, 4), (3, 5), (4, 5))
    assert features(chain) == {"depth": 5, "width": 1.5, "readers": 2}


def test_topology_finds_what_was_planted() -> None:
    """Accuracy that falls with depth, alike for two seeds."""
    question = TopologyStudy(replace(RECIPE, seeds=2, train=replace(TRAIN, epochs=3)))
    jobs = question.jobs({})
    assert len(jobs) == 360
    assert len({job.name for job in jobs}) == 360
    rows = named(
        fake(
            job.name,
            job.seed,
            valid=0.9 - 0.05 * float(job.factors["depth"]) + 0.001 * job.seed,
            **job.factors,
        )
        for job in jobs
    )
    summary = question.summary(rows)
    tables = {table.title: table for table in summary.tables}
    assert tables["Ranking by held-out training images"].rows[0][1] == 0
    shared = {row[0]: row[2] for row in summary.tables[1].rows}
    assert shared["depth"].value == pytest.approx(-1)
    assert any("Good topologies have less depth" in text for text in summary.sentences)
    assert any("Valid accuracies of the topologies differ" in text for text in summary.sentences)
    agreement = {row[0]: row[2].value for row in tables["Agreement of rankings"].rows}
    assert agreement["seed 0, seed 1"] == pytest.approx(1)
    assert [plot.name for plot in summary.plots] == ["ranking", "depth", "width", "readers"]


def test_halving_trains_the_best_third_on() -> None:
    question = TopologyStudy(
        replace(RECIPE, train=replace(TRAIN, epochs=9)),
        TopologyOptions(topologies="0-8", halving=True),
    )
    assert question.rungs() == [1, 3, 9]
    rows: dict[str, Row] = {}
    for expected in (9, 12, 13):
        jobs = question.jobs(rows)
        assert len(jobs) == expected
        for job in jobs:
            # topology 4 is the best, 3 and 5 come next
            valid = 1 - abs(int(job.factors["topology"]) - 4) / 10
            rows.setdefault(job.name, fake(job.name, valid=valid, **job.factors))
    factors = [row.factors for row in rows.values()]
    assert {f["topology"] for f in factors if f["epochs"] == 3} == {3, 4, 5}
    assert [f["topology"] for f in factors if f["epochs"] == 9] == [4]
    assert [job.test for job in question.jobs(rows)] == [False] * 12 + [True]
    sentences = question.summary(rows).sentences
    assert any("Successive halving: 1 topology was" in s for s in sentences)


def two_topologies(folder: Path | None, test: dict[int, float]) -> tuple[TopologyStudy, list[Row]]:
    """Topology 12, the best of held-out images, and the published one, a seed each."""
    question = TopologyStudy(replace(RECIPE, seeds=1), TopologyOptions(topologies="1,12"))
    rows = [
        replace(
            fake(job.name, valid=0.8 if job.factors["topology"] == 12 else 0.7,
                 test=test[int(job.factors["topology"])], run=f"runs/{job.name}", **job.factors),
            folder=folder,
        )
        for job in question.jobs({})
    ]  # fmt: skip
    return question, rows


def write_predictions(row: Row, right: np.ndarray, labels: np.ndarray) -> None:
    assert row.folder is not None and row.run is not None
    path = row.folder / row.run
    path.mkdir(parents=True)
    guesses = np.where(right, labels, (labels + 1) % 2)
    probabilities = np.eye(2, dtype=np.float32)[guesses]
    np.savez(path / "predictions.npz", probabilities=probabilities, labels=labels)


def test_one_seed_is_paired_by_image_where_predictions_are_kept(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    base = draw.random(1000) < 0.7
    better = base | (draw.random(1000) < 0.1)  # right wherever the published one is
    labels = draw.integers(0, 2, 1000)
    question, rows = two_topologies(tmp_path, {1: float(base.mean()), 12: float(better.mean())})
    by_topology = {row.factors["topology"]: row for row in rows}
    apart = one_seed_gain(by_topology[12], by_topology[1])
    assert "taken as unrelated" in apart
    write_predictions(by_topology[12], better, labels)
    write_predictions(by_topology[1], base, labels)
    (sentence,) = [s for s in question.summary(named(rows)).sentences if "minus topology 1" in s]
    expected = stats.paired_proportion(better, base)
    assert f"{100 * expected.value:+.2f} points" in sentence
    assert f"({100 * expected.low:+.2f} to {100 * expected.high:+.2f})" in sentence  # type: ignore[operator]
    assert "McNemar" in sentence and "paired by image" in sentence


def test_equal_gains_of_two_seeds_have_no_p_value() -> None:
    question = TopologyStudy(replace(RECIPE, seeds=2), TopologyOptions(topologies="1,12"))
    rows = named(
        fake(
            job.name,
            job.seed,
            valid=0.8 if job.factors["topology"] == 12 else 0.7,
            test=0.75 if job.factors["topology"] == 12 else 0.5,
            **job.factors,
        )
        for job in question.jobs({})
    )
    (sentence,) = [s for s in question.summary(rows).sentences if "minus topology 1" in s]
    assert "+25.00 points" in sentence and sentence.endswith("over 2 seeds.")


def test_what_is_refused(tmp_path: Path) -> None:
    for options, message in (
        (TopologyOptions(topologies="180"), "indices such as"),
        (TopologyOptions(topologies="1-x"), "indices such as"),
        (TopologyOptions(operation="sep_conv"), "sep_conv_3x3"),
        (TopologyOptions(operation="none"), "no operation but"),
    ):
        with pytest.raises(UsageError, match=message):
            TopologyStudy(RECIPE, options)
    for search in (SearchConfig("darts", epochs=3), SearchConfig("regularized_evolution")):
        with pytest.raises(UsageError, match="searches nothing"):
            TopologyStudy(Recipe(search, TRAIN))
    with pytest.raises(EdartsError, match="no topology study with finished runs"):
        TopologyStudy(RECIPE, TopologyOptions(beside=str(tmp_path)))
    with pytest.raises(EdartsError, match="no such study folder"):
        TopologyStudy(RECIPE, TopologyOptions(beside=str(tmp_path / "nowhere")))
