"""The compiled loops. Importing this imports numba; they are compiled on first use, cached on disk.

All arrays are float32 and contiguous; an image tensor (N, C, H, W) comes in channels-last memory as
(N, H, W, C). Work is cut into parts that do not depend on the number of threads, with partial sums
of their own, so that no result depends on it either. Sums are never reordered by the compiler: it
may optimise a loop once where it was compiled and twice where it was read from the cache, and a
resumed run would differ from its first half.
"""

import numba

from edarts.nn.kernels.loops import passes, pieces, plans, rows, stages, vectors, windows
from edarts.nn.kernels.loops.passes import (
    average_pool,
    diagonal,
    factor_gradient,
    halves,
    max_pool,
    moments,
    norm,
    norm_grad_factors,
    norm_gradient,
    pixel_means,
    product_sums,
    weigh,
    weighted_sum,
)
from edarts.nn.kernels.loops.pieces import use_threads, without_openmp
from edarts.nn.kernels.loops.stages import separable, separable_gradient

__all__ = [
    "MODULES",
    "average_pool",
    "diagonal",
    "factor_gradient",
    "halves",
    "max_pool",
    "moments",
    "norm",
    "norm_grad_factors",
    "norm_gradient",
    "pixel_means",
    "prepare",
    "product_sums",
    "separable",
    "separable_gradient",
    "use_threads",
    "weigh",
    "weighted_sum",
    "without_openmp",
]

MODULES = (vectors, pieces, windows, rows, stages, passes, plans)


def prepare() -> bool:
    """Make ready what other loops call: before they are compiled, or read from the cache.

    Returns whether the longest of it was compiled before.

    `array_at` is compiled, as helpers call it but cannot compile what counts references. What works
    on a part of the images is read if it was compiled before: else those that call it use copies of
    their own, which the compiler has optimised twice and which take up to twice the time.
    """
    vectors.array_at.compile((numba.int64, numba.int64))
    for function, arguments in (*passes.examples(), *stages.examples()):
        signature = tuple(numba.typeof(argument) for argument in arguments)
        if signature not in function.overloads:
            found = function._cache.load_overload(signature, function.targetctx)
            if found is not None:
                function.add_overload(found)
    return all(function.overloads for function, _ in stages.examples())
