"""The plan: how many runs are left, and how long they take."""

from dataclasses import replace

import pytest

from edarts.config import SearchConfig, TrainConfig
from edarts.studies.base import Job
from edarts.studies.plan import Plan, Schedule, cost
from edarts.studies.row import Row
from studies.fakes import TRAIN
from studies.stepped import Stepped


def test_the_time_left_is_shared_by_the_workers() -> None:
    rows = {"a": Row("a", seconds=4.0)}
    left = [Schedule(Stepped(), rows, 60, 10, n).seconds_left() for n in (1, 2, 8)]
    assert left == pytest.approx([8.0, 4.0, 4.0])
    assert Schedule(Stepped(), rows, 60, 10, 1).plan() == Plan(3, 1, 8.0)
    assert Schedule(Stepped(), {}, 60, 10, 1).plan() == Plan(3, 0, None)


def test_the_plan_in_words() -> None:
    assert Plan(3, 0, None).describe() == (
        "plan: 3 runs, 0 of them done; the time is estimated after the first"
    )
    assert Plan(3, 1, 65.0).describe().endswith("1 of them done; about 1:05 to go")
    assert Plan(3, 1, 65.0).describe_left() == "  (1 of 3, about 1:05 to go)"


def test_the_cost_of_a_run_grows_with_what_it_passes_through() -> None:
    alone = Job("a", {}, 0, TRAIN)
    assert cost(alone, 100, 10) == pytest.approx(100 * 0.6 * 1 * 2 * 8)
    twice = replace(alone, train=replace(TRAIN, epochs=2))
    assert cost(twice, 100, 10) == pytest.approx(2 * cost(alone, 100, 10))
    small = SearchConfig("darts", cells=2, channels=4, epochs=1)
    searched = replace(alone, search=small)
    deeper = replace(alone, search=replace(small, cells=4))
    of_search = cost(searched, 100, 10) - cost(alone, 100, 10)
    # half the images, two passes a step, 14 edges of 8 operations
    assert of_search == pytest.approx(100 / 2 * 2 * 2 * 14 * 8)
    assert cost(deeper, 100, 10) - cost(alone, 100, 10) == pytest.approx(2 * of_search)


def test_a_black_box_search_costs_its_trainings() -> None:
    train = TrainConfig(cells=5, channels=16, epochs=10, valid_fraction=0.5)
    evolution = SearchConfig.of(
        "regularized_evolution", trials=20, cells=5, channels=16, epochs=10, data_fraction=0.5
    )
    alone = cost(Job("a", {}, 0, train), 100, 10)
    both = cost(Job("a", {}, 0, train, search=evolution), 100, 10)
    assert both == pytest.approx(21 * alone)
    table = SearchConfig.of("regularized_evolution", trials=20, score="table:scores.json")
    assert cost(Job("a", {}, 0, train, search=table), 100, 10) > alone
