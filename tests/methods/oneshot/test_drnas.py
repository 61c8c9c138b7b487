"""DrNAS: draws from the Dirichlet distribution, their pathwise gradient, and its two stages."""

import tempfile
from pathlib import Path

import pytest
import torch

from edarts import DartsSpace, SearchConfig, Supernet, UsageError
from edarts.errors import Interrupted
from edarts.methods.oneshot import driver as oneshot
from edarts.methods.oneshot import drnas
from edarts.nn.cells import Cell
from edarts.runs.folder import Run
from edarts.space.genotype import KINDS
from edarts.testing import oneshot as testing
from edarts.testing.problems import tiny_data
from edarts.testing.searches import StopAfter
from edarts.training.optim import cosine


def learner(**changes: object) -> drnas.DrNAS:
    config, space, _ = oneshot.resolve_config(SearchConfig.of("drnas", **changes), 50_000, 10)
    torch.manual_seed(0)
    return drnas.PLUGIN(space, config, torch.device("cpu"))


def test_draws_have_the_mean_and_variance() -> None:
    torch.manual_seed(0)
    c = torch.tensor([0.5, 1.0, 2.5])
    draws = drnas.draw(c.expand(40_000, 3))
    mean = c / c.sum()
    torch.testing.assert_close(draws.sum(-1), torch.ones(40_000))
    torch.testing.assert_close(draws.mean(0), mean, atol=0.01, rtol=0)
    torch.testing.assert_close(draws.var(0), mean * (1 - mean) / (c.sum() + 1), atol=0.01, rtol=0)


def test_pathwise_gradient_is_that_of_the_expectation() -> None:
    """E[w . s] = c . s / sum(c); its gradient by calculus against the average of draws."""
    torch.manual_seed(1)
    c = torch.tensor([0.7, 1.2, 2.0], dtype=torch.float64).requires_grad_()
    slope = torch.tensor([1.0, -0.5, 0.25], dtype=torch.float64)
    (mine,) = torch.autograd.grad((drnas.draw(c.expand(60_000, 3)) @ slope).mean(), c)
    (exact,) = torch.autograd.grad((c @ slope) / c.sum(), c)
    torch.testing.assert_close(mine, exact, atol=5e-3, rtol=0)


def test_first_concentrations_follow_the_attention() -> None:
    method = learner(attention="sep_conv_3x3=4,skip_connect=1")
    weights = method.weights(training=False)["normal"]
    torch.testing.assert_close(weights.mean(0), torch.tensor([0.8, 0.2]), atol=1e-2, rtol=0)
    torch.testing.assert_close(
        method.concentrations()["normal"].sum(-1), torch.full((14,), 2.0), atol=1e-2, rtol=0
    )


def test_stages_are_the_authors() -> None:
    """1/6 of the channels and 7 operations, then 1/4 and the best 4; 10 of 25 epochs warm up."""
    method = learner(preset="paper")
    assert (method.config.cells, method.config.channels, method.config.epochs) == (20, 36, 50)
    assert "none" not in method.space.candidates("normal")
    stages = method.stages(50)
    first = next(stages)
    assert (first.epochs, first.cells, first.channel_fraction) == (25, 20, 1 / 6)
    assert first.mask is None and not first.grows
    alphas = {kind: torch.randn(14, 7) for kind in KINDS}
    for kind in KINDS:
        method.alphas.values[kind].data.copy_(alphas[kind])
    second = next(stages)
    assert (second.epochs, second.cells, second.channel_fraction) == (25, 20, None)
    assert method.config.channel_fraction == 1 / 4
    assert second.grows and (first.rates, second.rates) == ((0, 50), (25, 50))
    assert [method.config.warm_up_epochs(stage.epochs) for stage in (first, second)] == [10, 10]
    assert second.mask is not None
    for kind in KINDS:
        for row in range(14):
            best = sorted(range(7), key=lambda k, row=row, kind=kind: -float(alphas[kind][row, k]))
            left = second.mask[kind][row].nonzero()[:, 0].tolist()
            assert sorted(best[:4]) == left
        value = method.alphas.values[kind].detach()
        torch.testing.assert_close(value, alphas[kind] * second.mask[kind])
        for weights in (method.weights(training=True), method.weights(training=False)):
            assert torch.equal(weights[kind] != 0, second.mask[kind])
            torch.testing.assert_close(weights[kind].sum(-1), torch.ones(14))
    assert list(stages) == []


def test_defaults_have_the_same_shares() -> None:
    method = learner()
    assert next(method.stages(50)).channel_fraction == 1 / 6
    assert method.config.cells == 8
    with pytest.raises(UsageError, match="drnas has 2 stages"):
        learner(epochs=1)


@pytest.mark.parametrize(
    ("fraction", "channels", "first"),
    [(1 / 4, 36, 6), (1 / 4, 24, 6), (1 / 4, 16, 8), (1 / 4, 4, 4), (1 / 2, 36, 3), (1, 36, 1)],
)
def test_the_share_of_the_first_stage_divides_the_channels(
    fraction: float, channels: int, first: int
) -> None:
    assert drnas.first_fraction(fraction, channels) == 1 / first


@pytest.mark.parametrize(("operations", "left"), [(7, 4), (5, 3), (3, 2), (2, 2), (1, 1)])
def test_operations_of_the_second_stage(operations: int, left: int) -> None:
    assert drnas.kept(operations) == left


def test_a_supernet_grows_by_copies_of_its_channels() -> None:
    torch.manual_seed(0)
    space = DartsSpace(tuple(drnas.DrNAS.DEFAULTS["operations"].split(",")))
    sizes = {"cells": 3, "channels": 12, "classes": 3}
    small = Supernet(space, **sizes, channel_fraction=1 / 6)
    mask = {kind: torch.rand(14, 7) < 0.6 for kind in KINDS}
    large = Supernet(space, **sizes, channel_fraction=1 / 4, mask=mask)
    seen = set()
    with torch.no_grad():
        for new, old, spread in large.grown_from(small):
            new.copy_(spread(old))
            seen.add(new)
    assert seen == set(large.parameters())
    torch.testing.assert_close(large.stem.state_dict(), small.stem.state_dict())
    copied = 0
    for kind, cell, old in zip(large.kinds, large.cells, small.cells, strict=True):
        assert isinstance(cell, Cell) and isinstance(old, Cell)
        torch.testing.assert_close(cell.preprocess.state_dict(), old.preprocess.state_dict())
        for edge, slot in enumerate(cell.slots):
            assert (slot is not None) == bool(mask[kind].flatten()[edge])
            if slot is None or cell.edges[edge].operation != "dil_conv_3x3":
                continue
            mine, its = cell.operations[slot], old.operations[old.slots[edge] or 0]
            wide, narrow = mine.pointwise.weight, its.pointwise.weight  # (C', C', 1, 1)
            width = len(narrow)
            assert torch.equal(wide[:width, :width], narrow)
            for channel in range(width, len(wide)):  # each is one of the old, in and out alike
                same = [
                    n
                    for n in range(width)
                    if torch.equal(wide[channel, :width], narrow[n])
                    and torch.equal(wide[:width, channel], narrow[:, n])
                    and torch.equal(mine.depthwise.weight[channel], its.depthwise.weight[n])
                ]
                assert len(same) == 1
                copied += 1
    assert copied > 0
    weights = {kind: mask[kind].float() for kind in KINDS}
    assert large(torch.randn(2, 3, 8, 8), weights).shape == (2, 3)


def test_the_second_stage_goes_on_where_the_first_has_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Weights, momentum and the cosine of the learning rate; and it resumes there."""
    trainings: list[oneshot.SupernetTraining] = []
    begin = oneshot.SupernetTraining.__init__

    def watch(self: oneshot.SupernetTraining, *arguments: object) -> None:
        begin(self, *arguments)  # type: ignore[arg-type]
        stem = next(iter(self.net.parameters()))
        self.first = stem.detach().clone(), self.optimizer.param_groups[0]["lr"]  # type: ignore[attr-defined]
        self.momentum = self.optimizer.state.get(stem, {}).get("momentum_buffer")  # type: ignore[attr-defined]
        self.momentum = None if self.momentum is None else self.momentum.clone()
        trainings.append(self)

    monkeypatch.setattr(oneshot.SupernetTraining, "__init__", watch)
    config = testing.tiny_config("drnas", epochs=4, warm_up=0.5, channels=12)
    whole = testing.run_search(config, tiny_data())
    first, second = trainings
    stem = next(iter(first.net.parameters()))
    start, rate = second.first  # type: ignore[attr-defined]
    assert torch.equal(start, stem)
    assert torch.equal(second.momentum, first.optimizer.state[stem]["momentum_buffer"])  # type: ignore[attr-defined]
    assert rate == pytest.approx(cosine(2, 4, 0.1, 0.0))
    assert whole.counts.architecture == 2 * 3  # the second of two epochs in each, of 3 steps
    assert [line["phase"] for line in whole.history] == ["search"] * 2 + ["search-2"] * 2
    with tempfile.TemporaryDirectory() as folder:
        with pytest.raises(Interrupted, match="search-2"):
            testing.run_search(config, tiny_data(), Run(Path(folder)), StopAfter(8))
        continued = testing.run_search(config, tiny_data(), Run(Path(folder)))
    assert testing.same(whole, continued)
    assert whole.counts == continued.counts
