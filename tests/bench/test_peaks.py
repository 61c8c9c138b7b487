"""What a machine can do at most, beside what it does."""

import numpy as np
import torch

from edarts.bench import peaks
from edarts.bench.measure import matrix_product
from edarts.nn.kernels.compiled import load_loops
from edarts.nn.kernels.loops.vectors import WIDTH


def test_nothing_computes_faster() -> None:
    """A matrix product does nearly nothing but multiply and add, and no faster than registers."""
    assert peaks.computing() > 0.8 * matrix_product(torch.device("cpu"))


def test_chains_are_computed() -> None:
    """Eight sums of a thread's own, s -> s / 2 + 1 / 2, all of which are worked out."""
    load_loops()
    sums = np.arange(2 * peaks.CHAINS * WIDTH, dtype=np.float32).reshape(2, -1)
    expected = (sums - 1) / 2**3 + 1
    peaks._multiply_add(3, np.full(1, 0.5, np.float32), sums)
    np.testing.assert_array_equal(sums, expected)


def test_copying_is_a_rate() -> None:
    assert 0.1 < peaks.copying() < 10_000
