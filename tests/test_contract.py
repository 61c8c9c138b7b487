"""Every method passes the shipped contract; a fresh process gives the same genotype."""

import os
import subprocess
import sys
from collections.abc import Callable, Container, Iterable
from typing import Any

import pytest

from edarts.methods.blackbox import registry_ as samplers
from edarts.methods.oneshot import registry_ as methods
from edarts.testing import contract as testing

# What methods need to solve the image problem in seconds; their papers search for days.
IMAGES: dict[str, dict[str, object]] = {
    # Operations do not compete, so none is driven out that only has a head start; the zero-one
    # loss on each of the 32 entries here is as strong as on each of 196 in the paper.
    "fair_darts": {"attention": "none", "zero_one": 10 * 32 / 196},
    # An operation learns only when it is drawn, so that one with a head start learns faster.
    "gdas": {"attention": "none", "epochs": 15},
    # Three supernets, each begun anew and deeper than the one before.
    "p_darts": {"arch_lr": 0.1, "epochs": 36, "cells": 2},
    "proxyless": {"arch_lr": 0.1, "epochs": 20},
    "snas": {"arch_lr": 0.1, "drop_path": 0.0, "constraint": "none"},
}
QUICK = ("darts", "edarts", "random_ws")


Check = Callable[..., None]


def cases(names: Iterable[str], checks: Iterable[Check], slow: Check, quick: Container[str]) -> Any:
    """Every check of every method; the check `slow` is slow for all but the `quick` ones."""
    return [
        pytest.param(
            method,
            check,
            id=f"{method}-{check.__name__}",
            marks=[pytest.mark.slow] if check is slow and method not in quick else [],
        )
        for method in names
        for check in checks
    ]


ONE_SHOT = cases(methods.names(), testing.CHECKS, testing.check_planted_images, QUICK)


@pytest.mark.parametrize(("method", "check"), ONE_SHOT)
def test_contract(method: str, check: Check) -> None:
    check(method, **(IMAGES.get(method, {}) if check is testing.check_planted_images else {}))


def test_second_order_darts_passes_too() -> None:
    config = testing.tiny_config("darts", order=2)
    first = testing.run_search(config, testing.tiny_data())
    assert testing.same(first, testing.run_search(config, testing.tiny_data()))
    # per step: 8 images for the weights; validation batch and three training batches of 8
    assert first.images_seen == sum(first.steps.values()) // 2 * (8 + 4 * 8)


FOUND = """
from edarts.methods.oneshot import registry_ as methods
from edarts.testing import contract as t
found = []
for name in methods.names():
    r = t.run_search(t.tiny_config(name), t.tiny_data())
    sums = [w.double().sum().item().hex() for w in r.weights.values()]
    found.append(f"{name} {r.genotype} {sums}")
"""


@pytest.mark.processes
def test_a_fresh_process_finds_the_same() -> None:
    """What is found hangs on nothing that differs between processes, such as the order of sets."""
    names: dict[str, Any] = {}
    exec(FOUND, names)
    seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    fresh = subprocess.run(
        [sys.executable, "-c", FOUND + 'print("\\n".join(found))'],
        env={**os.environ, "PYTHONHASHSEED": seed},
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    assert len(fresh) == len(methods.names())
    assert fresh == names["found"]


BLACK_BOX = [*samplers.names(), "optuna:TPESampler"]
# What ours need to reach the planted best; random search, which they must beat, is left out.
BEST: dict[str, dict[str, int]] = {
    "hierarchical_evolution": {"trials": 800, "edges": 20},
    "nasnet_rl": {"trials": 600},
    "pnas": {"trials": 61, "seeds": 3, "edges": 20},
    "regularized_evolution": {},
}
LEDGER = [
    case
    for case in cases(
        BLACK_BOX, testing.LEDGER_CHECKS, testing.check_ledger_planted, ["regularized_evolution"]
    )
    if case.values[1] is not testing.check_ledger_planted or case.values[0] in BEST
]


@pytest.mark.parametrize(("method", "check"), LEDGER)
def test_ledger_contract(method: str, check: Check) -> None:
    check(method, **(BEST[method] if check is testing.check_ledger_planted else {}))
