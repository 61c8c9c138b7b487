"""`edarts bench`: both sides agree, disagreement is refused, figures come from the clock."""

import json

import pytest
import torch
from torch import Tensor

from edarts import EdartsError, Space
from edarts.bench import steps as bench
from edarts.bench.steps import Pair, Row, relative_error, supernet_pair
from edarts.cli.main import main

CPU = torch.device("cpu")


def small(kind: str) -> Pair:
    return supernet_pair(kind, Space(), 3, 4, 4, CPU)


@pytest.mark.parametrize("kind", ["weight", "arch", "second_order"])
def test_supernets_agree(kind: str) -> None:
    pair = small(kind)
    assert bench.disagreement(kind, pair)[0] < bench.TOLERANCE
    assert pair.flops > 0
    pair.ours()
    pair.textbook()
    assert relative_error(*pair.agree(slice(8))[0][:2]) < 1e-2  # they step alike, up to rounding


@pytest.mark.parametrize("auxiliary", [False, True])
def test_networks_agree_and_step_alike(auxiliary: bool) -> None:
    pair = bench.network_pair(3, 4, 32, auxiliary, CPU)
    bench.disagreement("network", pair)
    pair.ours()
    pair.textbook()
    assert relative_error(*pair.agree(slice(8))[0][:2]) < 1e-2


def test_ratio_is_of_medians(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([4.0, 1.0, 6.0, 2.0, 50.0, 2.0])
    monkeypatch.setattr(bench, "seconds", lambda *_: next(times))
    monkeypatch.setattr(
        bench, "peak", lambda _what, side, _where: {"textbook": 30, "ours": 10}[side]
    )
    monkeypatch.setattr(bench, "make", lambda *_: small("weight"))
    row = bench.compare("anything", 3, CPU)
    assert (row.textbook_s, row.ours_s, row.time_ratio) == (6.0, 2.0, 3.0)
    assert (row.memory_ratio, row.images_per_second) == (3.0, 2.0)


def test_disagreement_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    ones, almost = torch.ones(2), torch.ones(2) + 1e-6
    draws: list[slice] = []

    def agree(images: slice, ours: float, textbook: Tensor) -> list[bench.Triple]:
        draws.append(images)
        return [(ones * ours, textbook, ones.double())]

    wrong = Pair(print, print, lambda part: agree(part, 1.01, almost), 20, 1)
    monkeypatch.setattr(bench, "make", lambda *_: wrong)
    with pytest.raises(EdartsError, match="the two sides differ"):
        bench.compare("anything", 1, CPU)
    assert draws == [slice(0, 8), slice(8, 16), slice(16, 24)]
    # No farther from float64 than the textbook's float32 is: rounding.
    rounding = Pair(print, print, lambda part: agree(part, 1.01, ones * 0.99), 8, 1)
    assert min(bench.disagreement("x", rounding)) > 0.009
    # One of the draws agrees: what parted the others was rounding that decides, not a mistake.
    seldom = Pair(print, print, lambda p: agree(p, 1.01 if p.start == 0 else 1, almost), 16, 1)
    assert bench.disagreement("x", seldom)[0] < bench.TOLERANCE


def test_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    row = Row("x", 2.0, 1.0, 2.0, 20.0, 10.0, 2.0, 1e-6, 1e-7, 64.0, 5.0)
    monkeypatch.setattr(bench, "compare", lambda what, *_: row)
    monkeypatch.setattr(bench, "matrix_product", lambda _: 100.0)
    assert main(["bench", "train", "--rounds", "1", "--json"]) == 0
    out = capsys.readouterr().out.splitlines()
    rows = json.loads(out[-1])["rows"]
    assert [r["time_ratio"] for r in rows] == [2.0] * len(bench.GROUPS["train"])
    assert main(["bench", "nothing"]) == 2
    assert main(["bench", "step", "--rounds", "0"]) == 2
    assert "rounds" in capsys.readouterr().err


def test_peak_counts_what_a_step_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = []

    def step() -> None:
        kept.append(torch.ones(64 * 2**18))  # 64 MiB

    pair = Pair(step, step, list, 1, 1)
    monkeypatch.setattr(bench, "make", lambda *_: pair)
    assert bench.measure_peak("x", "ours", "cpu") > 100
