"""What this machine can do at most: the two roofs of `edarts bench profile`.

The best of some tries: whatever else a machine does only makes it slower.
"""

import numba
import numpy as np
import torch

from edarts.bench.measure import seconds
from edarts.bench.pairs import Step
from edarts.nn.kernels.compiled import load_loops
from edarts.nn.kernels.loops.vectors import WIDTH, load, multiply_add, repeat, store

COPIED = 2**26  # numbers, far more than caches hold
CHAINS, ADDS = 8, 2**24  # sums that do not wait for each other; multiply-adds of each
TRIES = 9


def computing() -> float:
    """GFLOP/s of all threads that do nothing but multiply and add in registers."""
    load_loops()  # it sets the threads
    half = np.full(1, 0.5, np.float32)
    sums = np.zeros((numba.get_num_threads(), CHAINS * WIDTH), np.float32)
    _multiply_add(1, half, sums)  # it is compiled
    return 2 * sums.size * ADDS / _least(lambda: _multiply_add(ADDS, half, sums)) / 1e9


def copying() -> float:
    """GB/s that are read and written as a large array is copied."""
    one = torch.ones(COPIED)
    other = torch.empty_like(one)
    return 2 * 4 * COPIED / _least(lambda: other.copy_(one)) / 1e9


def _least(do: Step) -> float:
    """Seconds that it takes at least."""
    return min(seconds(do, torch.device("cpu")) for _ in range(TRIES))


@numba.njit(parallel=True)
def _multiply_add(times, number, sums):
    """Each row of `sums` holds the sums of one thread."""
    for row in numba.prange(len(sums)):
        a, out = repeat(number, 0), sums[row]
        b, c = load(out, 0), load(out, WIDTH)
        d, e = load(out, 2 * WIDTH), load(out, 3 * WIDTH)
        f, g = load(out, 4 * WIDTH), load(out, 5 * WIDTH)
        h, i = load(out, 6 * WIDTH), load(out, 7 * WIDTH)
        for _ in range(times):
            b, c = multiply_add(b, a, a), multiply_add(c, a, a)
            d, e = multiply_add(d, a, a), multiply_add(e, a, a)
            f, g = multiply_add(f, a, a), multiply_add(g, a, a)
            h, i = multiply_add(h, a, a), multiply_add(i, a, a)
        store(out, 0, b)
        store(out, WIDTH, c)
        store(out, 2 * WIDTH, d)
        store(out, 3 * WIDTH, e)
        store(out, 4 * WIDTH, f)
        store(out, 5 * WIDTH, g)
        store(out, 6 * WIDTH, h)
        store(out, 7 * WIDTH, i)
