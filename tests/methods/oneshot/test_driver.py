"""The driver's options: every method takes each of eDARTS' or says why not; what steps cost."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from edarts import Network, SearchConfig, Supernet, UsageError, methods, registry
from edarts.cli.main import main
from edarts.config import SHARED, option_names
from edarts.data.batches import Transform
from edarts.methods.blackbox.driver import resolve_config as resolve_black_box
from edarts.methods.oneshot import alphas, resolve
from edarts.methods.oneshot import driver as oneshot
from edarts.nn.cells import Cell
from edarts.runs.folder import Run
from edarts.runtime import Runtime
from edarts.space import architecture
from edarts.testing import oneshot as testing
from edarts.testing.problems import tiny_data

IDEAS: dict[str, object] = {
    "topology": "7",
    "operations": "skip_connect,sep_conv_3x3",
    "attention": "skip_connect=1,sep_conv_3x3=2",
    "data_fraction": 0.5,
    "arch_update": "epoch",
    "arch_steps": 1,
    "cells": 2,
    "channel_fraction": 1 / 2,
    "warm_up": 0.2,
    "drop_path": 0.1,
}


@pytest.mark.parametrize("method", registry.names("methods"))
def test_the_ideas_of_edarts_work_with_every_method_or_are_refused(method: str) -> None:
    taken, refused = {}, {}
    for name, value in IDEAS.items():
        fixed = registry.get("methods", method).FIXED
        update = {} if "arch_update" in fixed else {"arch_update": "epoch"}
        try:
            config = testing.tiny_config(method, **{**update, name: value})
            config, space, _ = oneshot.resolve_config(config, 48, 3)
            registry.get("methods", method)(space, config, torch.device("cpu"))
            taken[name] = value
        except UsageError as error:
            refused[name] = str(error)
    known = {"enas": {"topology", "attention"}, "random_ws": {"attention", "arch_update"}}
    assert set(refused) == known.get(method, set())
    assert all(method in text and "\n" not in text for text in refused.values())
    found = testing.run_search(testing.tiny_config(method, **taken), tiny_data())
    # 24 images, half of them, batches of 8
    assert (found.counts.weight, found.counts.architecture) == (6, 3)
    network = Network(found.architecture, cells=2, channels=4, classes=3, image=(1, 8, 8))
    assert network(torch.zeros(2, 1, 8, 8)).shape == (2, 3)
    if "topology" in taken:
        assert len(found.space.normal) == 8
    if "attention" in taken:
        assert str(found.config.attention) == "skip_connect=1,sep_conv_3x3=2"


def test_an_option_of_another_method_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", "--method", "darts", "--constraint", "mild"]) == 2
    error = capsys.readouterr().err
    assert "takes no --constraint" in error
    assert "(methods that do: snas)" in error
    assert main(["search", "--method", "enas", "--attention", "skip_connect=1"]) == 2
    error = capsys.readouterr().err
    assert "takes no --attention: its controller begins with biases of its own" in error
    assert len(error.splitlines()) == 1


def test_what_a_method_refuses_leaves_no_run_folder(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    refused = {
        "p_darts trains 3 supernets": ["p_darts", "--epochs", "2"],
        "takes no --topology": ["enas", "--topology", "7"],
        "enas chooses every source": ["enas", "--space", "darts"],
    }
    for reason, options in refused.items():
        out = tmp_path / options[0]
        assert main(["search", "--method", *options, "--out", str(out)]) == 2
        assert reason in capsys.readouterr().err
        assert not out.exists()


def test_methods_declare_known_options() -> None:
    for name in registry.names("methods"):
        method = registry.get("methods", name)
        space = registry.get("spaces", method.SPACE)
        assert set(methods.taken(name)) <= set(SHARED)
        assert set(method.taken()) <= {*SHARED, *option_names(space)}
        assert method.__doc__
        assert sys.modules[method.__module__].__doc__


def test_joint_updates_use_all_images_and_one_pass() -> None:
    config = testing.tiny_config("darts", arch_update="joint")
    found = testing.run_search(config, tiny_data(48))
    assert (found.counts.weight, found.counts.architecture) == (18, 18)
    assert (found.counts.forward, found.counts.backward) == (18, 18)
    config = testing.tiny_config("darts", arch_update="step")
    found = testing.run_search(config, tiny_data(48))
    assert (found.counts.weight, found.counts.architecture) == (9, 9)
    assert (found.counts.forward, found.counts.backward) == (18, 18)
    with pytest.raises(UsageError, match="order 2"):
        testing.run_search(testing.tiny_config("darts", arch_update="joint", order=2), tiny_data())


def test_second_order_passes_are_counted() -> None:
    found = testing.run_search(testing.tiny_config("darts", order=2), tiny_data())
    assert (found.counts.forward, found.counts.backward) == (9 * 5, 9 * 5)  # methods.md section 1


def test_sparse_rate_counts_the_epochs_that_learn() -> None:
    for warm_up, epochs in ((0.0, 50), (0.3, 35)):
        config, _, _ = oneshot.resolve_config(
            SearchConfig("edarts", warm_up=warm_up, arch_steps=40), 50_000, 10
        )
        assert config.arch_lr == pytest.approx(resolve.TRAVEL / (epochs * 40), rel=1e-6)
    config, _, _ = oneshot.resolve_config(SearchConfig("enas"), 50_000, 10)
    assert (config.arch_steps, config.arch_lr) == (30, 0.0035)  # its own, made for sparse updates


def test_weight_step_asks_no_gradient_of_the_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    """In bilevel search the weights come detached, so only an architecture step sees alpha."""
    seen: list[bool] = []
    forward = Supernet.forward

    def watch(self: Supernet, x: object, weights: dict, *rest: object) -> object:  # type: ignore[type-arg]
        seen.append(weights["normal"].requires_grad)
        return forward(self, x, weights, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Supernet, "forward", watch)
    testing.run_search(testing.tiny_config("pc_darts", warm_up=0.5), tiny_data())
    assert seen == [False] * 3 + [True, False] * 6


def test_drop_path_reaches_the_supernets_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []
    original = alphas.valid_loss

    def watch(net: Supernet, *rest: object) -> object:
        rates.extend(cell.drop_path for cell in net.cells if isinstance(cell, Cell))
        return original(net, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(alphas, "valid_loss", watch)
    testing.run_search(testing.tiny_config("darts", drop_path=0.25), tiny_data())
    assert set(rates) == {0.25}


def test_a_search_has_settled_when_its_cell_stays_and_its_entropy_falls() -> None:
    def reached(patience: int, *epochs: tuple[str, float]) -> list[bool]:
        settled = oneshot.Settled(patience)
        found = []
        for cell, entropy in epochs:
            again = oneshot.Settled(patience)  # as a resumed search makes it
            again.load_state_dict(settled.state_dict())
            settled = again
            settled.add(cell, entropy)
            found.append(settled.reached)
        return found

    falling = [("a", 3.0), ("a", 2.9), ("a", 2.95), ("a", 2.8), ("a", 2.7)]
    assert reached(3, *falling) == [False, False, False, True, True]
    assert reached(0, *falling) == [False] * 5
    assert reached(4, *falling) == [False] * 4 + [True]
    assert reached(2, ("a", 1.0), ("a", 1.1), ("a", 1.2), ("a", 1.05)) == [False] * 3 + [True]
    assert reached(2, ("a", 3.0), ("a", 2.9), ("b", 2.8), ("b", 2.7), ("b", 2.6)) == (
        [False] * 4 + [True]
    )


def test_a_settled_search_ends_early_and_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled = property(lambda settled: len(settled.state_dict()["entropies"]) >= 2)
    monkeypatch.setattr(oneshot.Settled, "reached", settled)
    config, space, _ = oneshot.resolve_config(
        testing.tiny_config("edarts", patience=1, epochs=12, arch_lr=0.3), 48, 2
    )
    runtime = Runtime(torch.device("cpu"), run=Run(tmp_path))
    found = oneshot.one_shot(tiny_data(), config, space, runtime)
    assert len(found.history) < 12 and found.settled
    last = [architecture.from_dict(line["genotype"]) for line in found.history[-2:]]
    assert last == [found.architecture] * 2 or len(found.history) == 1
    again = oneshot.one_shot(tiny_data(), config, space, replace(runtime, run=Run(tmp_path)))
    assert again.architecture == found.architecture and again.history == found.history


@pytest.mark.parametrize("method", ["gdas", "proxyless"])
def test_weights_that_are_not_drawn_move_on_or_rest(method: str) -> None:
    """GDAS: as with the torch of its authors' time, zeros as gradients, so momentum and decay go
    on. ProxylessNAS: its authors keep both still.
    """
    config = testing.tiny_config(method, momentum=0.9, weight_decay=0.1, epochs=1)
    config, space, _ = oneshot.resolve_config(config, 48, 3)
    torch.manual_seed(0)
    learner = config.plugins()[0](space, config, torch.device("cpu"))
    data = tiny_data()
    net = oneshot.build_supernet(space, config, data)
    loaders = oneshot._loaders(data, config, Runtime(torch.device("cpu"), 0))
    warn = oneshot.Collapse(config, Runtime(torch.device("cpu"), 0))
    stage, transform = next(iter(learner.stages(1))), Transform.of(data)
    training = oneshot.SupernetTraining(learner, net, loaders, transform, stage, warn)
    rows = {g: torch.tensor([1.0, 0.0, 0.0]).repeat(space.shape(g)[0], 1) for g in space.groups}
    taken = [{g: w.roll(k, 1) for g, w in rows.items()} for k in (1, 2)]  # sep_conv_3x3, a pool
    draws = iter(taken)
    learner.weights = lambda training: next(draws)
    training.warm_up = 1  # the weights alone
    training.step(0, 0)
    drawn = [p for p in net.parameters() if p in training.optimizer.state]
    before = [(p.detach().clone(), training.optimizer.state[p]["momentum_buffer"].clone())
              for p in drawn]  # fmt: skip
    training.step(0, 1)
    idle = 0
    for p, (value, momentum) in zip(drawn, before, strict=True):
        if p.grad is None or not p.grad.any():
            idle += 1
            pushed = 0.9 * momentum + 0.1 * value
            expected = value if method == "proxyless" else value - config.lr * pushed
            torch.testing.assert_close(p.detach(), expected)
    assert idle > 10


def test_presets_are_what_the_papers_ran() -> None:
    def of(method: str, **options: object) -> SearchConfig:
        given = SearchConfig.of(method, preset="paper", **options)
        return oneshot.resolve_config(given, 50_000, 10)[0]

    assert (of("drnas").cells, of("drnas").channels) == (20, 36)
    assert of("drnas", cells=5).cells == 5  # what is given counts
    assert of("darts").options.order == 2
    assert of("p_darts").options.skip_dropout == "0.0,0.4,0.7"
    assert of("gdas").cells == 6
    assert of("enas").nesterov and of("proxyless").nesterov
    for method in registry.names("methods"):
        usual = oneshot.resolve_config(SearchConfig(method), 50_000, 10)[0].to_settings()
        paper = of(method).to_settings()
        changed = {name for name, value in paper.items() if usual.get(name) != value}
        assert changed == {"preset", *registry.get("methods", method).PAPER}
        assert (
            oneshot.resolve_config(SearchConfig.from_settings(paper), 50_000, 10)[0].to_settings()
            == paper
        )
    with pytest.raises(UsageError, match="takes no --preset"):
        resolve_black_box(SearchConfig.of("random_search", preset="paper"))


def test_nesterov_reaches_the_optimizer() -> None:
    assert not oneshot.resolve_config(SearchConfig("darts"), 50_000, 10)[0].nesterov
    with pytest.raises(UsageError, match="needs momentum above 0"):
        oneshot.resolve_config(SearchConfig.of("darts", nesterov=True, momentum=0.0), 50_000, 10)
    with pytest.raises(UsageError, match="leave out nesterov"):
        oneshot.resolve_config(SearchConfig.of("darts", nesterov=True, order=2), 50_000, 10)
    plain, other = (
        testing.run_search(testing.tiny_config("darts", nesterov=n), tiny_data(24))
        for n in (False, True)
    )
    assert not testing.same(plain, other)


def test_a_dry_run_says_what_and_how_long(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    argv = ["search", "digits", "--method", "p_darts", "--preset", "paper", "--cells", "1"]
    argv += ["--channels", "2", "--batch-size", "8", "--topology", "0", "--dry-run"]
    argv += ["--operations", "skip_connect,sep_conv_3x3"]
    assert main([*argv, "--json"]) == 0
    out = capsys.readouterr().out
    assert "skip_dropout      0.0,0.4,0.7   (default: 0.1,0.4,0.7)" in out
    assert "epochs            75\n" in out
    told = json.loads(out.splitlines()[-1])
    assert told["settings"]["cells"] == 1
    assert told["seconds"] > 0
    assert told["hours"] == pytest.approx(told["seconds"] / 3600)
    assert list(tmp_path.iterdir()) == []  # nothing is written
    assert main(["search", "digits", "--method", "random_search", "--dry-run"]) == 2


def test_the_seconds_of_a_search_are_those_of_all_its_stages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Epochs times steps times seconds, of three supernets; alpha learns after the warm-up."""
    monkeypatch.setattr(oneshot, "seconds_of_step", lambda training, _: training.net_cells)
    monkeypatch.setattr(
        oneshot.SupernetTraining,
        "net_cells",
        property(lambda self: float(len(self.net.cells))),
        raising=False,
    )
    clock = iter(range(1000))
    monkeypatch.setattr(oneshot.time, "perf_counter", lambda: next(clock))
    config = testing.tiny_config("p_darts", epochs=15, cells=2, warm_up=0.4)
    config, space, _ = oneshot.resolve_config(config, 48, 3)
    runtime = Runtime(torch.device("cpu"), 0)
    seconds = oneshot.seconds_of_search(tiny_data(), config, space, runtime)
    # Stages of 5 epochs and 3 steps, 2, 8 and 14 cells; 3 of the 5 learn, a second each step.
    assert seconds == 5 * 3 * (2 + 8 + 14) + 3 * (3 * 3 * 1)
    assert oneshot.seconds_of_epoch(tiny_data(), config, space, runtime) == pytest.approx(
        seconds / 15
    )
