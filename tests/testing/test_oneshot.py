"""Every one-shot method passes the shipped contract; a fresh process finds the same."""

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from edarts import registry
from edarts.methods.oneshot.darts import Darts
from edarts.testing import oneshot as testing
from edarts.testing.others import Skipped
from edarts.testing.problems import tiny_data

QUICK = ("darts", "edarts", "random_ws")

Check = Callable[..., str | None]
CASES = [
    pytest.param(
        method,
        check,
        id=f"{method}-{check.__name__}",
        marks=[pytest.mark.slow]
        if check is testing.check_planted_images and method not in QUICK
        else [],
    )
    for method in registry.names("methods")
    for check in testing.CHECKS
]


@pytest.mark.parametrize(("method", "check"), CASES)
def test_contract(method: str, check: Check) -> None:
    planted = registry.get("methods", method).PLANTED
    with suppress(Skipped):
        check(method, **(planted if check is testing.check_planted_images else {}))


def test_second_order_darts_passes_too() -> None:
    config = testing.tiny_config("darts", order=2)
    first = testing.run_search(config, tiny_data())
    assert testing.same(first, testing.run_search(config, tiny_data()))
    # per step: 8 images for the weights; validation batch and three training batches of 8
    steps = first.counts.weight + first.counts.architecture
    assert first.counts.images == steps // 2 * (8 + 4 * 8)


FOUND = """
from edarts import registry
from edarts.testing.searches import searched
found = []
for name in registry.names("methods"):
    r = searched(name)
    sums = [w.double().sum().item().hex() for w in r.weights.values()]
    found.append(f"{name} {r.architecture} {sums}")
"""


@pytest.mark.processes
def test_a_fresh_process_finds_the_same() -> None:
    """What is found hangs on nothing that differs between processes, such as the order of sets."""
    here: dict[str, Any] = {}
    exec(FOUND, here)
    seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    fresh = subprocess.run(
        [sys.executable, "-c", FOUND + 'print("\\n".join(found))'],
        env={**os.environ, "PYTHONHASHSEED": seed},
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    assert len(fresh) == len(registry.names("methods"))
    assert fresh == here["found"]


# -- methods that are wrong, handed in as objects, are found out -----------------------------------


class Deaf(Darts):
    """Never learns anything of the architecture."""

    name = "deaf"

    def arch_step(self, net: nn.Module, *rest: Any) -> dict[str, float]:
        return {"valid_loss": 0.0, "valid_accuracy": 0.0}


class Forgetful(Darts):
    """Keeps nothing for a search that is resumed."""

    name = "forgetful"

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Any) -> None:
        pass


class Unseeded(Darts):
    """Draws its first parameters from no seed."""

    name = "unseeded"

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        for value in self.alphas.values.values():
            noise = torch.rand(value.shape, generator=torch.Generator().manual_seed(os.getpid()))
            value.data += noise * next(Unseeded.scale)

    scale = iter(range(1, 100))


class Misshapen(Darts):
    """Has weights of one edge too few."""

    name = "misshapen"

    def weights(self, training: bool) -> dict[str, Tensor]:
        weights = super().weights(training)
        return weights if training else {group: w[1:] for group, w in weights.items()}

    def architecture(self) -> Any:
        return self.space.derive(a_choice(self))


def a_choice(method: Darts) -> dict[str, list[tuple[int, int]]]:
    """The first operation on every edge."""
    return {g: [(row, 0) for row in range(method.space.shape(g)[0])] for g in method.space.groups}


@pytest.mark.parametrize(
    ("method", "check", "reason"),
    [
        (Deaf, testing.check_planted_cell, "planted"),
        (Deaf, testing.check_planted_images, "a convolution on 0 of 16"),
        (Forgetful, testing.check_resume, "resuming changed the result"),
        (Unseeded, testing.check_seeds, "the same seed gave another result"),
        (Misshapen, testing.check_seam, "another shape"),
    ],
)
def test_a_wrong_method_fails(method: type[Darts], check: Check, reason: str) -> None:
    quick = {"epochs": 2} if check is testing.check_planted_images else {}
    with pytest.raises(AssertionError, match=reason):
        check(method, **quick)


def test_a_method_handed_in_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    class Mine(Darts):
        """DARTS under another name."""

        name = "mine"

    monkeypatch.setattr(testing, "CHECKS", (testing.check_seeds, testing.check_resume))
    testing.check_method(Mine)
    assert "mine" in registry.names("methods")
