"""eDARTS' own parts: attention, fixed topology, sparse updates, data subset."""

import dataclasses
import random
from typing import Any

import pytest
import torch

from edarts import SearchConfig, UsageError
from edarts.methods.oneshot import driver as oneshot
from edarts.methods.oneshot.alphas import Alphas, FirstOrder
from edarts.methods.oneshot.driver import resolve_config
from edarts.runs.progress import Progress
from edarts.runtime import Runtime
from edarts.space.darts import DartsSpace
from edarts.space.genotype import KINDS
from edarts.testing import oneshot as testing
from edarts.testing.problems import tiny_data


def test_attention_sets_the_first_weights() -> None:
    torch.manual_seed(0)
    shares = {"sep_conv_3x3": 4.0, "skip_connect": 1.0, "max_pool_3x3": 3.0}
    space = DartsSpace(tuple(shares))
    first = Alphas(space, lr=1e-3, weight_decay=0, attention=shares).softmax()
    for kind in KINDS:
        torch.testing.assert_close(
            first[kind].mean(0), torch.tensor([0.5, 0.125, 0.375]), atol=2e-3, rtol=0
        )
    with pytest.raises(UsageError, match="same operations"):
        Alphas(space, lr=1e-3, weight_decay=0, attention={"skip_connect": 1.0})


def test_operations_without_a_share_are_not_built() -> None:
    config, space, _ = resolve_config(SearchConfig(attention="skip_connect=1"), 50_000, 10)
    assert space.operations == ("skip_connect",)
    config, space, _ = resolve_config(SearchConfig.of(operations="SS3"), 50_000, 10)
    assert len(space.operations) == 5
    assert "sep_conv_3x3=4" in str(config.attention)
    with pytest.raises(UsageError, match="operation of attention"):
        resolve_config(
            SearchConfig.of(operations="skip_connect", attention="sep_conv_3x3=1"), 99, 2
        )


def test_defaults() -> None:
    config, space, notes = resolve_config(SearchConfig(), 50_000, 10)
    assert (config.cells, config.channels, config.epochs) == (5, 16, 50)
    assert config.data_fraction == 1 / 6
    assert config.arch_update == "epoch"
    assert len(space.normal) == 8
    assert "none" not in space.operations
    assert notes == []
    config, space, _ = resolve_config(SearchConfig(method="darts"), 50_000, 10)
    assert (config.cells, config.arch_update, config.arch_lr) == (8, "step", 3e-4)
    assert (len(space.normal), len(space.operations)) == (14, 8)


def test_small_data_uses_more_and_says_so() -> None:
    config, _, notes = resolve_config(SearchConfig(), 1000, 10)
    assert config.data_fraction == 0.5
    assert "50%" in notes[0]
    config, _, notes = resolve_config(SearchConfig(data_fraction=0.1), 1000, 10)
    assert config.data_fraction == 0.1
    assert notes == []


def test_subset_is_stratified_disjoint_halves() -> None:
    data = tiny_data(120, classes=3)
    for fraction, size in ((1.0, 120), (0.5, 60), (1e-3, 6)):
        first, second = oneshot.split_halves(data, fraction, seed=1)
        assert len(first) + len(second) == size
        assert first.labels.bincount().tolist() == second.labels.bincount().tolist()
        pixels = [set(map(tuple, half.images.flatten(1).tolist())) for half in (first, second)]
        assert not pixels[0] & pixels[1]


@pytest.mark.parametrize("method", ["darts", "edarts"])
def test_sparse_updates_only_at_the_end_of_an_epoch(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three epochs of three steps: w for a step of the weights, a for one of the architecture."""
    taken: list[str] = []
    weight_step, arch_step = oneshot.descend, FirstOrder.arch_step

    def watch_weights(*arguments: Any, **options: Any) -> None:
        taken.append("w")
        weight_step(*arguments, **options)

    def watch_architecture(*arguments: Any) -> dict[str, float]:
        taken.append("a")
        return arch_step(*arguments)

    monkeypatch.setattr(oneshot, "descend", watch_weights)
    monkeypatch.setattr(FirstOrder, "arch_step", watch_architecture)
    config = testing.tiny_config(method, arch_update="epoch", arch_steps=2)
    found = testing.run_search(config, tiny_data())
    assert "".join(taken) == "wwwaa" * 3
    assert (found.counts.weight, found.counts.architecture) == (9, 6)
    taken.clear()
    config = testing.tiny_config(method, arch_update="step")
    found = testing.run_search(config, tiny_data())
    assert "".join(taken) == "aw" * 9
    assert (found.counts.weight, found.counts.architecture) == (9, 9)
    with pytest.raises(UsageError, match="arch_update=epoch"):
        testing.run_search(
            dataclasses.replace(config, arch_update=None, method="darts", arch_steps=2),
            tiny_data(),
        )


def test_sparse_learning_rate_lets_a_choice_change() -> None:
    """From the default attention, against it, with the default number of updates and rate."""
    config, space, _ = resolve_config(SearchConfig(epochs=50), 50_000, 10)
    assert config.epochs is not None
    assert config.arch_steps is not None
    torch.manual_seed(0)
    learner = Alphas.of(space, config, torch.device("cpu"))
    favourite = space.operations.index("sep_conv_3x3")
    other = space.operations.index("skip_connect")
    for _ in range(config.epochs * config.arch_steps):
        weights = learner.softmax()
        loss = sum(w[:, favourite].sum() - w[:, other].sum() for w in weights.values())
        assert isinstance(loss, torch.Tensor)
        learner.step(learner.gradient(loss))
    assert (learner.softmax()["normal"].argmax(-1) == other).all()


def test_second_order_is_refused() -> None:
    with pytest.raises(UsageError, match=r"edarts takes no --order .methods that do: darts"):
        testing.tiny_config("edarts", order=2)


class Heard(Progress):
    """Keeps what it is told to warn of."""

    def __init__(self) -> None:
        super().__init__()
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def test_collapse_is_announced_once_with_a_remedy() -> None:
    space = DartsSpace(("skip_connect",), *[DartsSpace.topologies()[0]] * 2)
    genotype, heard = space.sample(random.Random(0)), Heard()
    runtime = Runtime(torch.device("cpu"), progress=heard)
    warn = oneshot.Collapse(SearchConfig(arch_update="step"), runtime)
    warn(genotype)
    assert len(heard.warnings) == 2
    assert "--arch-update epoch" in heard.warnings[0]
    warn(genotype)
    assert len(heard.warnings) == 2
