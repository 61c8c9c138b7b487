"""P-DARTS' stages, switches, dropout and skip cap on alphas made by hand."""

import math
import tempfile
from pathlib import Path

import pytest
import torch

from edarts import DartsSpace, Genotype, SearchConfig, Supernet, UsageError
from edarts.errors import Interrupted
from edarts.methods.oneshot import driver as oneshot
from edarts.methods.oneshot import p_darts
from edarts.methods.oneshot.derive import strongest
from edarts.nn.cells import Cell
from edarts.nn.kernels import FeatureMap
from edarts.nn.operations import count_parameters
from edarts.runs.folder import Run
from edarts.space.genotype import KINDS
from edarts.testing import oneshot as testing
from edarts.testing.problems import tiny_data
from edarts.testing.searches import StopAfter


def learner(**changes: object) -> p_darts.PDarts:
    config = SearchConfig.of("p_darts", **changes)
    config, space, _ = oneshot.resolve_config(config, 50_000, 10)
    torch.manual_seed(0)
    return p_darts.PLUGIN(space, config, torch.device("cpu"))


def test_first_stage_has_the_published_size() -> None:
    stage = next(learner().stages(75))
    net = Supernet(DartsSpace(), cells=stage.cells, channels=16, classes=10, mask=stage.mask)
    assert count_parameters(net) == 1_275_834


def test_stages_deepen_and_drop_the_weakest() -> None:
    method = learner()
    seen, weights = [], {}
    for stage in method.stages(75):
        assert stage.mask is not None
        counts = {kind: set(mask.sum(-1).tolist()) for kind, mask in stage.mask.items()}
        seen.append((stage.epochs, stage.cells, counts["normal"], counts["reduce"]))
        for kind, before in weights.items():
            dropped = before.masked_fill(stage.mask[kind], 0).max(-1).values
            left = before.masked_fill(~stage.mask[kind], 1).min(-1).values
            assert (dropped <= left).all()
        for value in method.alphas.values.values():
            assert value.detach().abs().max() < 0.01  # begun anew
            value.data = torch.randn(value.shape)
        weights = {k: w.detach().clone() for k, w in method.weights(training=False).items()}
        for kind, w in weights.items():
            assert (w.bool() == stage.mask[kind]).all()
            torch.testing.assert_close(w.sum(-1), torch.ones(14))
    assert seen == [(25, 5, {8}, {8}), (25, 11, {5}, {5}), (25, 17, {3}, {3})]


def test_none_may_survive_or_go() -> None:
    weights = {kind: torch.tensor([[0.5, 0.2, 0.3], [0.1, 0.5, 0.4]]) for kind in KINDS}
    mask = p_darts.keep(weights, 2)["normal"]
    assert mask.tolist() == [[True, False, True], [False, True, True]]


@pytest.mark.parametrize(
    ("operations", "sizes"), [(8, [8, 5, 3]), (7, [7, 4, 3]), (2, [2, 2, 2]), (1, [1, 1, 1])]
)
def test_stage_sizes(operations: int, sizes: list[int]) -> None:
    assert [p_darts.stage_size(operations, stage) for stage in range(3)] == sizes


def test_what_is_dropped_is_not_built() -> None:
    space = DartsSpace()
    built = {kind: torch.zeros(14, 8, dtype=torch.bool) for kind in KINDS}
    for mask in built.values():
        mask[:, 3:5] = True
    net = Supernet(space, cells=5, channels=4, classes=10, mask=built)
    small = DartsSpace(("skip_connect", "sep_conv_3x3"))
    assert count_parameters(net) == count_parameters(
        Supernet(small, cells=5, channels=4, classes=10)
    )


def test_epochs_are_shared_and_three_at_least() -> None:
    assert [stage.epochs for stage in learner().stages(11)] == [4, 4, 3]
    with pytest.raises(UsageError, match="p_darts trains 3 supernets"):
        learner(epochs=2)


def test_dropout_fades_as_in_the_authors_code() -> None:
    for first in (0.1, 0.4, 0.7):
        for epoch in range(25):
            expected = first * (25 - epoch - 1) / 25
            if epoch >= 10:
                expected = first * math.exp(-(epoch - 10) * 0.2)
            assert p_darts.dropout_rate(first, epoch, 25, 10) == pytest.approx(expected)


def test_rates_of_each_stage_can_be_set() -> None:
    assert learner().dropout == (0.1, 0.4, 0.7)  # the authors' command
    assert learner(preset="paper").dropout == (0.0, 0.4, 0.7)
    method = learner(skip_dropout="0.1,0.2,0.3")  # the paper's for CIFAR-100
    rates = []

    class Watch:
        def set_skip_dropout(self, rate: float) -> None:
            rates.append(rate)

    for _ in method.stages(75):
        method.begin_epoch(Watch(), 10)  # type: ignore[arg-type]
    assert rates == pytest.approx([0.1, 0.2, 0.3])
    for wrong in ("0.1,0.2", "0.1,0.2,1", "0.1,0.2,x", "-1,0,0"):
        with pytest.raises(UsageError, match="for each of the 3 stages"):
            learner(skip_dropout=wrong)


def test_ties_are_broken_as_by_the_authors() -> None:
    """They drop the first of the smallest, one after the other."""
    weights = {kind: torch.tensor([[0.2, 0.2, 0.2, 0.2, 0.1, 0.1, 0.0, 0.0]]) for kind in KINDS}
    row = weights["normal"][0].tolist()
    for _ in range(3):
        row[row.index(min(row))] = 1.0
    expected = [value != 1.0 for value in row]
    assert p_darts.keep(weights, 1)["normal"][0].tolist() == expected
    equal = {kind: torch.full((14, 8), 1 / 8) for kind in KINDS}
    assert p_darts.keep(equal, 1)["normal"].tolist() == [[False] * 3 + [True] * 5] * 14
    space = DartsSpace()
    genotype = space.derive(strongest(space, equal))
    assert {edge.operation for edge in genotype.normal} == {"max_pool_3x3"}  # the first but none
    assert {edge.source for edge in genotype.normal} == {0, 1}


def test_dropout_reaches_identities_only() -> None:
    method = learner()
    stages = method.stages(75)
    next(stages)
    next(stages)  # the second: 0.4
    space = DartsSpace(("skip_connect",), ((0, 2),), ((0, 2),))
    net = Supernet(space, cells=3, channels=4, classes=2)
    method.begin_epoch(net, 10)
    cell = net.cells[0]
    assert isinstance(cell, Cell)
    x = torch.randn(64, 12, 8, 8)
    source = cell.preprocess[0](x)
    y = cell(FeatureMap(x), FeatureMap(x), [torch.ones(())]).x
    kept = y != 0
    assert float(kept.float().mean()) == pytest.approx(0.6, abs=0.02)
    torch.testing.assert_close(y[kept], source[kept] / 0.6)
    reduction = net.cells[1]
    assert isinstance(reduction, Cell)
    reduced = reduction(FeatureMap(x), FeatureMap(y), [torch.ones(())]).x
    assert (reduced != 0).all()  # stride 2 is no identity


def weights_by_hand() -> dict[str, torch.Tensor]:
    """Columns skip, sep_conv_3x3; eight edges prefer their skip, one less than the other."""
    column = torch.tensor(
        [0.90, 0.89, 0.88, 0.87, 0.5, 0.86, 0.85, 0.5, 0.5, 0.84, 0.83, 0.5, 0.5, 0.5]
    )
    skip = torch.stack([column, torch.where(column > 0.5, 0.6, 0.2)], dim=1)
    return {"normal": skip, "reduce": skip.clone()}


def test_skip_cap_by_hand() -> None:
    """Weakest skips go first; then their edge's next operation competes, 0.6, and stays in."""
    space = DartsSpace(("skip_connect", "sep_conv_3x3"))
    weights = weights_by_hand()
    assert space.derive(strongest(space, weights)).count("normal", "skip_connect") == 8
    for cap in range(9):
        genotype = space.derive(p_darts.cap_skips(space, weights, cap))
        assert genotype in space
        assert genotype.count("normal", "skip_connect") == cap
        assert genotype.count("reduce", "skip_connect") == 8  # never capped
        # those left are the strongest ones
        rows = [space.normal.index((e.source, e.node)) for e in genotype.normal if "skip" in e[0]]
        assert rows == [0, 1, 2, 3, 5, 6, 9, 10][:cap]
    assert weights["normal"][10, 0] == pytest.approx(0.83)  # not changed by the derivation


def authors_cap(
    weights: torch.Tensor, names: tuple[str, ...], cap: int
) -> set[tuple[str, int, int]]:
    """The authors' loop, from methods.md section 5, in plain Python."""
    rows = [
        [0.0 if n == "none" else v for n, v in zip(names, row, strict=True)]
        for row in weights.tolist()
    ]
    skip = names.index("skip_connect")
    while True:
        chosen, start = [], 0
        for node in range(4):
            top = sorted(range(start, start + node + 2), key=lambda r: -max(rows[r]))[:2]
            chosen += [(r, rows[r].index(max(rows[r])), r - start, node + 2) for r in top]
            start += node + 2
        skips = [r for r, k, *_ in chosen if k == skip]
        if len(skips) <= cap:
            return {(names[k], j, n) for _, k, j, n in chosen}
        rows[min(skips, key=lambda r: rows[r][skip])][skip] = 0.0


def test_discretisation_follows_the_authors() -> None:
    space = DartsSpace()
    capped = 0
    for seed in range(50):
        generator = torch.Generator().manual_seed(seed)
        weights = {}
        for kind in KINDS:
            alpha = torch.randn(14, 8, generator=generator)
            alpha[:, 3] += 1.5  # skips, so that the cap has work
            left = alpha.topk(3, dim=-1).indices
            mask = torch.zeros_like(alpha, dtype=torch.bool).scatter(1, left, True)
            weights[kind] = alpha.masked_fill(~mask, -torch.inf).softmax(-1)
        genotype = space.derive(p_darts.cap_skips(space, weights, 2))
        assert set(genotype.normal) == authors_cap(weights["normal"], space.operations, 2)
        assert set(genotype.reduce) == authors_cap(weights["reduce"], space.operations, 99)
        first = space.derive(strongest(space, weights))
        capped += first.count("normal", "skip_connect") > 2
    assert capped > 10


def test_a_cap_that_cannot_be_met_ends() -> None:
    space = DartsSpace(("skip_connect",))
    weights = {kind: torch.ones(14, 1) for kind in KINDS}
    genotype = space.derive(p_darts.cap_skips(space, weights, 2))
    assert genotype.count("normal", "skip_connect") == 8


def test_resumes_in_a_later_stage() -> None:
    config, data = testing.tiny_config("p_darts", epochs=4, warm_up=0.0), tiny_data()
    whole = testing.run_search(config, data)
    with tempfile.TemporaryDirectory() as folder:
        # 3 steps an epoch, 2 epochs in the first stage: the eighth step is one of the second
        with pytest.raises(Interrupted, match="search-2"):
            testing.run_search(config, data, Run(Path(folder)), StopAfter(7))
        continued = testing.run_search(config, data, Run(Path(folder)))
    assert testing.same(whole, continued)
    assert whole.counts == continued.counts
    assert [line["phase"] for line in continued.history] == [
        "search",
        "search",
        "search-2",
        "search-3",
    ]
    assert isinstance(continued.architecture, Genotype)
