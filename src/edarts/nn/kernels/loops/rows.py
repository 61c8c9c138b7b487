"""Convolutions of two rows at a time, with sums that stay in registers, and their gradients."""

import numba

from edarts.nn.kernels.loops.pieces import BLOCK, bring
from edarts.nn.kernels.loops.vectors import (
    WIDTH,
    add,
    load,
    multiply_add,
    repeat,
    store,
    zeros,
)


@numba.njit(cache=True)
def _store_block(out, m, pitch, width, a0, a1, a2, a3, b0, b1, b2, b3):
    """The sums of a block: four pixels of `width` from m on, and four of the row `pitch` below."""
    store(out, m, a0)
    store(out, m + width, a1)
    store(out, m + 2 * width, a2)
    store(out, m + 3 * width, a3)
    m += pitch
    store(out, m, b0)
    store(out, m + width, b1)
    store(out, m + 2 * width, b2)
    store(out, m + 3 * width, b3)


@numba.njit(cache=True)
def convolve_rows(x, start, pitch, s, taps, offsets, width, columns, out, ahead):
    """Two rows of a depthwise convolution of stride s: out (2, columns, width).

    `start`: where the first tap of the first row reads. Eight sums at once hide the time that each
    multiply-add takes.
    """
    step = s * width
    for c in range(0, width, WIDTH):
        for w in range(0, columns, BLOCK):
            base = start + w * step + c
            a0, a1, a2, a3 = zeros(), zeros(), zeros(), zeros()
            b0, b1, b2, b3 = zeros(), zeros(), zeros(), zeros()
            for t in range(len(offsets)):
                v = load(taps, t * width + c)
                q = base + offsets[t]
                p = q + s * pitch
                a0 = multiply_add(v, load(x, q), a0)
                a1 = multiply_add(v, load(x, q + step), a1)
                a2 = multiply_add(v, load(x, q + 2 * step), a2)
                a3 = multiply_add(v, load(x, q + 3 * step), a3)
                b0 = multiply_add(v, load(x, p), b0)
                b1 = multiply_add(v, load(x, p + step), b1)
                b2 = multiply_add(v, load(x, p + 2 * step), b2)
                b3 = multiply_add(v, load(x, p + 3 * step), b3)
            bring(ahead)
            _store_block(out, w * width + c, columns * width, width, a0, a1, a2, a3, b0, b1, b2, b3)


@numba.njit(cache=True)
def multiply_rows(x, start, below, matrix, columns, used, inner, outer, out, place, pitch, ahead):
    """Two rows of out, `pitch` apart = those of x, `below` apart, times matrix (inner, outer).

    x has `inner` channels, of which the first `used` are not zero.
    """
    for c in range(0, outer, WIDTH):
        for w in range(0, columns, BLOCK):
            a0, a1, a2, a3 = zeros(), zeros(), zeros(), zeros()
            b0, b1, b2, b3 = zeros(), zeros(), zeros(), zeros()
            for i in range(used):
                v = load(matrix, i * outer + c)
                m = start + w * inner + i
                a0 = multiply_add(v, repeat(x, m), a0)
                a1 = multiply_add(v, repeat(x, m + inner), a1)
                a2 = multiply_add(v, repeat(x, m + 2 * inner), a2)
                a3 = multiply_add(v, repeat(x, m + 3 * inner), a3)
                m += below
                b0 = multiply_add(v, repeat(x, m), b0)
                b1 = multiply_add(v, repeat(x, m + inner), b1)
                b2 = multiply_add(v, repeat(x, m + 2 * inner), b2)
                b3 = multiply_add(v, repeat(x, m + 3 * inner), b3)
            bring(ahead)
            m = place + w * outer + c
            _store_block(out, m, pitch, outer, a0, a1, a2, a3, b0, b1, b2, b3)


@numba.njit(cache=True)
def add_products(x, start, g, place, pixels, used, inner, outer, sums):
    """sums (inner, outer) += x (pixels, inner), transposed, times g (pixels, outer).

    They begin at `start` and `place`; only the first `used` channels of x are not zero.
    """
    for c in range(0, outer, WIDTH):
        for i in range(0, used, 8):
            m = i * outer + c
            a0, a1 = load(sums, m), load(sums, m + outer)
            a2, a3 = load(sums, m + 2 * outer), load(sums, m + 3 * outer)
            a4, a5 = load(sums, m + 4 * outer), load(sums, m + 5 * outer)
            a6, a7 = load(sums, m + 6 * outer), load(sums, m + 7 * outer)
            for p in range(pixels):
                v = load(g, place + p * outer + c)
                q = start + p * inner + i
                a0 = multiply_add(v, repeat(x, q), a0)
                a1 = multiply_add(v, repeat(x, q + 1), a1)
                a2 = multiply_add(v, repeat(x, q + 2), a2)
                a3 = multiply_add(v, repeat(x, q + 3), a3)
                a4 = multiply_add(v, repeat(x, q + 4), a4)
                a5 = multiply_add(v, repeat(x, q + 5), a5)
                a6 = multiply_add(v, repeat(x, q + 6), a6)
                a7 = multiply_add(v, repeat(x, q + 7), a7)
            store(sums, m, a0)
            store(sums, m + outer, a1)
            store(sums, m + 2 * outer, a2)
            store(sums, m + 3 * outer, a3)
            store(sums, m + 4 * outer, a4)
            store(sums, m + 5 * outer, a5)
            store(sums, m + 6 * outer, a6)
            store(sums, m + 7 * outer, a7)


@numba.njit(cache=True)
def convolve_and_add_taps(
    x, start, pitch, s, taps, offsets, width, columns, out, g, place, row, sums, ahead
):
    """`convolve_rows`, and sums (k * k, width) += what each tap reads times g, from one read of x.

    `g`: its rows are `row` apart, the first at `place`.
    """
    step = s * width
    for c in range(0, width, WIDTH):
        for w in range(0, columns, BLOCK):
            base, m = start + w * step + c, place + w * width + c
            g0, g1 = load(g, m), load(g, m + width)
            g2, g3 = load(g, m + 2 * width), load(g, m + 3 * width)
            m += row
            h0, h1 = load(g, m), load(g, m + width)
            h2, h3 = load(g, m + 2 * width), load(g, m + 3 * width)
            a0, a1, a2, a3 = zeros(), zeros(), zeros(), zeros()
            b0, b1, b2, b3 = zeros(), zeros(), zeros(), zeros()
            for t in range(len(offsets)):
                v = load(taps, t * width + c)
                q = base + offsets[t]
                p = q + s * pitch
                x0, x1 = load(x, q), load(x, q + step)
                x2, x3 = load(x, q + 2 * step), load(x, q + 3 * step)
                y0, y1 = load(x, p), load(x, p + step)
                y2, y3 = load(x, p + 2 * step), load(x, p + 3 * step)
                a0, a1 = multiply_add(v, x0, a0), multiply_add(v, x1, a1)
                a2, a3 = multiply_add(v, x2, a2), multiply_add(v, x3, a3)
                b0, b1 = multiply_add(v, y0, b0), multiply_add(v, y1, b1)
                b2, b3 = multiply_add(v, y2, b2), multiply_add(v, y3, b3)
                e, f = (
                    multiply_add(g0, x0, load(sums, t * width + c)),
                    multiply_add(h0, y0, zeros()),
                )
                e, f = multiply_add(g1, x1, e), multiply_add(h1, y1, f)
                e, f = multiply_add(g2, x2, e), multiply_add(h2, y2, f)
                e, f = multiply_add(g3, x3, e), multiply_add(h3, y3, f)
                store(sums, t * width + c, add(e, f))
            bring(ahead)
            _store_block(out, w * width + c, columns * width, width, a0, a1, a2, a3, b0, b1, b2, b3)


@numba.njit(cache=True)
def spread_rows(g, place, row, taps, offsets, width, columns, s, out, start, pitch):
    """The transpose of `convolve_rows`: each tap adds its share of g to what it has read."""
    for r in range(2):
        for c in range(0, width, WIDTH):
            for w in range(columns):
                v = load(g, place + r * row + w * width + c)
                base = start + r * s * pitch + w * s * width + c
                for t in range(len(offsets)):
                    q = base + offsets[t]
                    store(out, q, multiply_add(v, load(taps, t * width + c), load(out, q)))
