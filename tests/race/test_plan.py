"""What a plan fills in."""

import pytest

from edarts.config import Budget, SearchConfig, TrainConfig
from edarts.race.plan import Plan
from edarts.testing.problems import planted_data, tiny_data


@pytest.mark.parametrize(
    ("given", "small", "large"),
    [
        (TrainConfig(), 0.0, 0.25),
        (TrainConfig(cutout=0.0), 0.0, 0.0),
        (TrainConfig(cutout=0.4), 0.4, 0.4),
        (TrainConfig("shallow"), 0.0, 0.0),
    ],
)
def test_squares_are_cut_out_of_images_that_have_16_pixels(
    given: TrainConfig, small: float, large: float
) -> None:
    for data, expected in ((tiny_data(), small), (planted_data(60), large)):
        plan, _, _ = Plan.of(data, ("found",), Budget(), SearchConfig(), given)
        assert plan.train.cutout == expected
