"""Names of architectures: what each stands for."""

import pytest

from edarts import UsageError
from edarts.nn.baselines.resnet import ResNet
from edarts.space import named


@pytest.mark.parametrize("name", ["resnet", "resnet8"])
def test_a_baseline_by_its_name_and_by_the_name_that_a_race_gives_it(name: str) -> None:
    assert named.architecture(name) == ResNet(8)


@pytest.mark.parametrize("name", ["resnet80", "resne", "linear2"])
def test_other_names_are_refused_with_the_nearest(name: str) -> None:
    with pytest.raises(UsageError, match=f"'{name}'; did you mean"):
        named.architecture(name)
