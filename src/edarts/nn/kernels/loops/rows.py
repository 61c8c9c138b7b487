"""Convolutions of two rows at a time, with sums that stay in registers, and their gradients.

A processor that does two multiply-adds in a cycle loads no more than two vectors meanwhile. So
where there are registers enough, what is loaded is used several times: by two vectors of a matrix
product, or by all taps of a window (see `windows`).
"""

from edarts.nn.kernels.loops.pieces import BLOCK, bring
from edarts.nn.kernels.loops.vectors import (
    WIDTH,
    add,
    helper,
    load,
    multiply_add,
    repeat,
    store,
    zeros,
)
from edarts.nn.kernels.loops.windows import (
    MANY,
    convolve_window,
    is_window,
    load8,
    store_block,
)


@helper
def convolve_rows(x, start, pitch, s, taps, offsets, width, columns, out, ahead):
    """Two rows of a depthwise convolution of stride s: out (2, columns, width).

    `start`: where the first tap of the first row reads. Eight sums at once hide the time that each
    multiply-add takes.
    """
    if is_window(offsets, s, width):
        convolve_window(x, start, pitch, taps, offsets, width, columns, out, ahead)
        return
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
            store_block(
                out, w * width + c, columns * width, width, (a0, a1, a2, a3), (b0, b1, b2, b3)
            )


@helper
def _add_factor(sums, v, x, m):
    """Two vectors of sums, plus v times x[m]."""
    p = repeat(x, m)
    return multiply_add(v[0], p, sums[0]), multiply_add(v[1], p, sums[1])


@helper
def _load_pair(x, m):
    return load(x, m), load(x, m + WIDTH)


@helper
def _store_pair(out, m, pair):
    store(out, m, pair[0])
    store(out, m + WIDTH, pair[1])


@helper
def _multiply_rows_2(
    x, start, below, matrix, columns, used, inner, outer, end, out, place, pitch, ahead
):
    """`multiply_rows` of the first `end` channels of the result, two vectors at once."""
    none = (zeros(), zeros())
    for c in range(0, end, 2 * WIDTH):
        for w in range(0, columns, BLOCK):
            a0, a1, a2, a3 = none, none, none, none
            b0, b1, b2, b3 = none, none, none, none
            for i in range(used):
                v, m = _load_pair(matrix, i * outer + c), start + w * inner + i
                a0 = _add_factor(a0, v, x, m)
                a1 = _add_factor(a1, v, x, m + inner)
                a2 = _add_factor(a2, v, x, m + 2 * inner)
                a3 = _add_factor(a3, v, x, m + 3 * inner)
                m += below
                b0 = _add_factor(b0, v, x, m)
                b1 = _add_factor(b1, v, x, m + inner)
                b2 = _add_factor(b2, v, x, m + 2 * inner)
                b3 = _add_factor(b3, v, x, m + 3 * inner)
            bring(ahead)
            bring(ahead)
            m = place + w * outer + c
            _store_pair(out, m, a0)
            _store_pair(out, m + outer, a1)
            _store_pair(out, m + 2 * outer, a2)
            _store_pair(out, m + 3 * outer, a3)
            m += pitch
            _store_pair(out, m, b0)
            _store_pair(out, m + outer, b1)
            _store_pair(out, m + 2 * outer, b2)
            _store_pair(out, m + 3 * outer, b3)


@helper
def _add_factors(sums, x, m, v):
    """Two sums, which take turns, plus the vectors v (8,) times x from m on."""
    a, b = sums
    a, b = multiply_add(v[0], repeat(x, m), a), multiply_add(v[1], repeat(x, m + 1), b)
    a, b = multiply_add(v[2], repeat(x, m + 2), a), multiply_add(v[3], repeat(x, m + 3), b)
    a, b = multiply_add(v[4], repeat(x, m + 4), a), multiply_add(v[5], repeat(x, m + 5), b)
    return multiply_add(v[6], repeat(x, m + 6), a), multiply_add(v[7], repeat(x, m + 7), b)


@helper
def _multiply_vectors(x, start, below, matrix, columns, outer, out, place, pitch, ahead):
    """`multiply_rows` where x has one vector of channels: the matrix stays in registers."""
    for c in range(0, outer, WIDTH):
        v, u = load8(matrix, c, outer), load8(matrix, 8 * outer + c, outer)
        for w in range(0, columns, BLOCK):
            for r in range(2):
                for j in range(w, w + BLOCK):
                    m = start + r * below + j * WIDTH
                    sums = _add_factors((zeros(), zeros()), x, m, v)
                    sums = _add_factors(sums, x, m + 8, u)
                    store(out, place + r * pitch + j * outer + c, add(sums[0], sums[1]))
            bring(ahead)


@helper
def multiply_rows(x, start, below, matrix, columns, used, inner, outer, out, place, pitch, ahead):
    """Two rows of out, `pitch` apart = those of x, `below` apart, times matrix (inner, outer).

    x has `inner` channels, of which the first `used` are not zero.
    """
    if MANY and inner == WIDTH:
        _multiply_vectors(x, start, below, matrix, columns, outer, out, place, pitch, ahead)
        return
    first = 0
    if MANY:
        first = outer // (2 * WIDTH) * 2 * WIDTH
        _multiply_rows_2(
            x, start, below, matrix, columns, used, inner, outer, first, out, place, pitch, ahead
        )
    for c in range(first, outer, WIDTH):
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
            store_block(out, m, pitch, outer, (a0, a1, a2, a3), (b0, b1, b2, b3))


@helper
def _add_pixel(sums, v, x, m):
    """sums + v * x[m], of three vectors."""
    p = repeat(x, m)
    return (
        multiply_add(v[0], p, sums[0]),
        multiply_add(v[1], p, sums[1]),
        multiply_add(v[2], p, sums[2]),
    )


@helper
def _store_pixel(out, m, sums):
    """Three vectors, from m on."""
    store(out, m, sums[0])
    store(out, m + WIDTH, sums[1])
    store(out, m + 2 * WIDTH, sums[2])


@helper
def convolve_pixels(x, start, step, offsets, channels, matrix, bias, outer, columns, out, place):
    """A row of a convolution of all channels and a bias: out (columns, outer), from `place` on.

    `matrix` (taps * channels, outer); `start`: where the first tap of the first column reads,
    `step` from one column to the next. `outer` has three vectors at least: twelve sums, of four
    columns, hide the time that each multiply-add takes, and read little.
    """
    for first in range(0, outer, 3 * WIDTH):
        c = min(first, outer - 3 * WIDTH)
        b = (load(bias, c), load(bias, c + WIDTH), load(bias, c + 2 * WIDTH))
        for w in range(0, columns, BLOCK):
            s0, s1, s2, s3 = b, b, b, b
            n = c
            for t in range(len(offsets)):
                m = start + w * step + offsets[t]
                for i in range(m, m + channels):
                    v = (load(matrix, n), load(matrix, n + WIDTH), load(matrix, n + 2 * WIDTH))
                    s0 = _add_pixel(s0, v, x, i)
                    s1 = _add_pixel(s1, v, x, i + step)
                    s2 = _add_pixel(s2, v, x, i + 2 * step)
                    s3 = _add_pixel(s3, v, x, i + 3 * step)
                    n += outer
            m = place + w * outer + c
            _store_pixel(out, m, s0)
            _store_pixel(out, m + outer, s1)
            _store_pixel(out, m + 2 * outer, s2)
            _store_pixel(out, m + 3 * outer, s3)


@helper
def _add_products_2(x, start, g, place, pixels, used, inner, outer, end, sums):
    """`add_products` of the first `end` channels of g, two vectors at once."""
    for c in range(0, end, 2 * WIDTH):
        for i in range(0, used, 8):
            m = i * outer + c
            a0, a1 = _load_pair(sums, m), _load_pair(sums, m + outer)
            a2, a3 = _load_pair(sums, m + 2 * outer), _load_pair(sums, m + 3 * outer)
            a4, a5 = _load_pair(sums, m + 4 * outer), _load_pair(sums, m + 5 * outer)
            a6, a7 = _load_pair(sums, m + 6 * outer), _load_pair(sums, m + 7 * outer)
            for p in range(pixels):
                v, q = _load_pair(g, place + p * outer + c), start + p * inner + i
                a0 = _add_factor(a0, v, x, q)
                a1 = _add_factor(a1, v, x, q + 1)
                a2 = _add_factor(a2, v, x, q + 2)
                a3 = _add_factor(a3, v, x, q + 3)
                a4 = _add_factor(a4, v, x, q + 4)
                a5 = _add_factor(a5, v, x, q + 5)
                a6 = _add_factor(a6, v, x, q + 6)
                a7 = _add_factor(a7, v, x, q + 7)
            _store_pair(sums, m, a0)
            _store_pair(sums, m + outer, a1)
            _store_pair(sums, m + 2 * outer, a2)
            _store_pair(sums, m + 3 * outer, a3)
            _store_pair(sums, m + 4 * outer, a4)
            _store_pair(sums, m + 5 * outer, a5)
            _store_pair(sums, m + 6 * outer, a6)
            _store_pair(sums, m + 7 * outer, a7)


@helper
def add_products(x, start, g, place, pixels, used, inner, outer, sums):
    """sums (inner, outer) += x (pixels, inner), transposed, times g (pixels, outer).

    They begin at `start` and `place`; only the first `used` channels of x are not zero.
    """
    first = 0
    if MANY:
        first = outer // (2 * WIDTH) * 2 * WIDTH
        _add_products_2(x, start, g, place, pixels, used, inner, outer, first, sums)
    for c in range(first, outer, WIDTH):
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


@helper
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
            store_block(
                out, w * width + c, columns * width, width, (a0, a1, a2, a3), (b0, b1, b2, b3)
            )


@helper
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
