"""Every method passes the shipped contract; a fresh process gives the same genotype."""

import os
import subprocess
import sys

import pytest

from edarts import methods, testing


@pytest.mark.parametrize("check", testing.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("method", methods.names())
def test_contract(method: str, check: object) -> None:
    check(method)  # type: ignore[operator]


def test_second_order_darts_passes_too() -> None:
    config = testing.tiny_config("darts", order=2)
    first = testing.run_search(config, testing.tiny_data())
    assert testing.same(first, testing.run_search(config, testing.tiny_data()))
    # per step: 8 images for the weights; validation batch and three training batches of 8
    assert first.images_seen == sum(first.steps.values()) // 2 * (8 + 4 * 8)


def test_a_fresh_process_finds_the_same() -> None:
    code = (
        "from edarts import methods, testing as t\n"
        "for name in methods.names():\n"
        "    r = t.run_search(t.tiny_config(name), t.tiny_data())\n"
        "    print(name, r.genotype, [w.double().sum().item().hex() for w in r.weights.values()])"
    )
    outputs = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout.splitlines()
        for seed in ("1", "2")
    ]
    assert len(outputs[0]) == len(methods.names())
    assert outputs[0] == outputs[1]
