"""Both sides of every kind of comparison agree, before a step and after it."""

import pytest
import torch

from edarts import UsageError
from edarts.bench.comparisons import GROUPS, find, group, make
from edarts.bench.pairs import Comparison
from edarts.bench.rows import TOLERANCE, disagreement, relative_error

CPU = torch.device("cpu")


@pytest.mark.parametrize("kind", ["weight", "arch", "second_order"])
def test_supernets_agree_and_step_alike(kind: str) -> None:
    pair = make(Comparison(kind, kind, cells=3, channels=4, batch=4), CPU)  # type: ignore[arg-type]
    assert disagreement(kind, pair)[0] < TOLERANCE
    assert pair.flops > 0
    pair.ours()
    pair.textbook()
    assert relative_error(*pair.agree(slice(8))[0][:2]) < 1e-2  # they step alike, up to rounding


@pytest.mark.parametrize("auxiliary", [False, True])
def test_networks_agree_and_step_alike(auxiliary: bool) -> None:
    pair = make(Comparison("network", "train", 3, 4, 32, auxiliary=auxiliary), CPU)
    disagreement("network", pair)
    pair.ours()
    pair.textbook()
    assert relative_error(*pair.agree(slice(8))[0][:2]) < 1e-2


def test_comparisons_by_name() -> None:
    names = [comparison.name for kind in GROUPS for comparison in group(kind)]
    assert len(set(names)) == len(names) == 7
    assert [find(name).name for name in names] == names
    assert group("search") == ()
    edarts = find("edarts_weight_step")
    assert (edarts.cells, edarts.channels, edarts.batch, edarts.topology) == (5, 16, 64, "1")
    with pytest.raises(UsageError, match="darts_arch_step"):
        find("darts_arc_step")
