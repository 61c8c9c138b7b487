"""3 x 3 and 5 x 5 windows of stride 1, whose taps lie side by side or one pixel apart.

They take most of the time of separable convolutions. A pixel is loaded once for all taps of a row
that read it, and where taps lie side by side for both rows of the result; sums and taps stay in
registers.
"""

from edarts.nn.kernels.loops.pieces import BLOCK, bring
from edarts.nn.kernels.loops.vectors import (
    WIDTH,
    helper,
    load,
    multiply_add,
    store,
    zeros,
)

MANY = WIDTH == 16  # whether there are 32 registers of a whole vector, as AVX-512 has them


@helper
def is_window(offsets, s, width):
    """Whether taps at `offsets`, of stride s on pixels of `width`, are such a window, of use here.

    With few registers the general loop is as fast.
    """
    if not MANY or s != 1:
        return False
    return len(offsets) in (9, 25) and (offsets[1] == width or offsets[1] == 2 * width)


@helper
def convolve_window(x, start, pitch, taps, offsets, width, columns, out, ahead):
    """`convolve_rows` of a window."""
    near = offsets[1] == width
    # Rows from the first tap to the last. A constant would let the compiler unroll the loops over
    # rows, and a 5 x 5 window that is unrolled takes two fifths longer.
    below = offsets[-1] // pitch
    if len(offsets) == 9:
        if near:
            _convolve_3(x, start, pitch, below, taps, width, columns, out, ahead)
        else:
            _convolve_3_apart(x, start, pitch, below, taps, width, columns, out, ahead)
    elif near:
        _convolve_5(x, start, pitch, below, taps, width, columns, out, ahead)
    else:
        _convolve_5_apart(x, start, pitch, below, taps, width, columns, out, ahead)


@helper
def store_block(out, m, pitch, width, a, b):
    """The sums of a block: four pixels of `width` from m on, and four of the row `pitch` below."""
    store(out, m, a[0])
    store(out, m + width, a[1])
    store(out, m + 2 * width, a[2])
    store(out, m + 3 * width, a[3])
    m += pitch
    store(out, m, b[0])
    store(out, m + width, b[1])
    store(out, m + 2 * width, b[2])
    store(out, m + 3 * width, b[3])


@helper
def _load3(x, m, step):
    return load(x, m), load(x, m + step), load(x, m + 2 * step)


@helper
def _load4(x, m, step):
    return load(x, m), load(x, m + step), load(x, m + 2 * step), load(x, m + 3 * step)


@helper
def _load5(x, m, step):
    return _load3(x, m, step) + (load(x, m + 3 * step), load(x, m + 4 * step))  # noqa: RUF005


@helper
def _load6(x, m, step):
    return _load3(x, m, step) + _load3(x, m + 3 * step, step)


@helper
def load8(x, m, step):
    """Eight vectors, `step` apart."""
    return _load4(x, m, step) + _load4(x, m + 4 * step, step)


@helper
def _load12(x, m, step):
    return load8(x, m, step) + _load4(x, m + 8 * step, step)


@helper
def _none():
    """Four sums of nothing yet."""
    return zeros(), zeros(), zeros(), zeros()


@helper
def _add_tap(sums, v, x0, x1, x2, x3):
    """Four sums, each plus v times its pixel."""
    return (
        multiply_add(v, x0, sums[0]),
        multiply_add(v, x1, sums[1]),
        multiply_add(v, x2, sums[2]),
        multiply_add(v, x3, sums[3]),
    )


@helper
def _add_row_3(sums, x, v):
    """Four sums of neighbours, each plus three taps v times three of the pixels x (6,)."""
    sums = _add_tap(sums, v[0], x[0], x[1], x[2], x[3])
    sums = _add_tap(sums, v[1], x[1], x[2], x[3], x[4])
    return _add_tap(sums, v[2], x[2], x[3], x[4], x[5])


@helper
def _add_row_5(sums, x, v):
    """Four sums of neighbours, each plus five taps v times five of the pixels x (8,)."""
    sums = _add_tap(sums, v[0], x[0], x[1], x[2], x[3])
    sums = _add_tap(sums, v[1], x[1], x[2], x[3], x[4])
    sums = _add_tap(sums, v[2], x[2], x[3], x[4], x[5])
    sums = _add_tap(sums, v[3], x[3], x[4], x[5], x[6])
    return _add_tap(sums, v[4], x[4], x[5], x[6], x[7])


@helper
def _add_row_3_apart(sums, x, v):
    """`_add_row_3` of taps that are one pixel apart: x (8,)."""
    sums = _add_tap(sums, v[0], x[0], x[1], x[2], x[3])
    sums = _add_tap(sums, v[1], x[2], x[3], x[4], x[5])
    return _add_tap(sums, v[2], x[4], x[5], x[6], x[7])


@helper
def _add_row_5_apart(sums, x, v):
    """`_add_row_5` of taps that are one pixel apart: x (12,)."""
    sums = _add_tap(sums, v[0], x[0], x[1], x[2], x[3])
    sums = _add_tap(sums, v[1], x[2], x[3], x[4], x[5])
    sums = _add_tap(sums, v[2], x[4], x[5], x[6], x[7])
    sums = _add_tap(sums, v[3], x[6], x[7], x[8], x[9])
    return _add_tap(sums, v[4], x[8], x[9], x[10], x[11])


@helper
def _convolve_3(x, start, pitch, below, taps, width, columns, out, ahead):
    """A 3 x 3 window, taps side by side."""
    for c in range(0, width, WIDTH):
        for w in range(0, columns, BLOCK):
            m, b = start + w * width + c, _none()
            v = _load3(taps, c, width)
            a = _add_row_3(b, _load6(x, m, width), v)
            for i in range(1, below + 1):
                row = _load6(x, m + i * pitch, width)
                b = _add_row_3(b, row, v)
                v = _load3(taps, c + 3 * i * width, width)
                a = _add_row_3(a, row, v)
            b = _add_row_3(b, _load6(x, m + (below + 1) * pitch, width), v)
            bring(ahead)
            store_block(out, w * width + c, columns * width, width, a, b)


@helper
def _convolve_3_apart(x, start, pitch, below, taps, width, columns, out, ahead):
    """A 3 x 3 window, taps one pixel apart."""
    for c in range(0, width, WIDTH):
        for w in range(0, columns, BLOCK):
            m, a, b = start + w * width + c, _none(), _none()
            for i in range(below // 2 + 1):
                v = _load3(taps, c + 3 * i * width, width)
                a = _add_row_3_apart(a, load8(x, m + 2 * i * pitch, width), v)
                b = _add_row_3_apart(b, load8(x, m + (2 * i + 1) * pitch, width), v)
            bring(ahead)
            store_block(out, w * width + c, columns * width, width, a, b)


@helper
def _convolve_5(x, start, pitch, below, taps, width, columns, out, ahead):
    """A 5 x 5 window, taps side by side."""
    for c in range(0, width, WIDTH):
        for w in range(0, columns, BLOCK):
            m, b = start + w * width + c, _none()
            v = _load5(taps, c, width)
            a = _add_row_5(b, load8(x, m, width), v)
            for i in range(1, below + 1):
                row = load8(x, m + i * pitch, width)
                b = _add_row_5(b, row, v)
                v = _load5(taps, c + 5 * i * width, width)
                a = _add_row_5(a, row, v)
            b = _add_row_5(b, load8(x, m + (below + 1) * pitch, width), v)
            bring(ahead)
            store_block(out, w * width + c, columns * width, width, a, b)


@helper
def _convolve_5_apart(x, start, pitch, below, taps, width, columns, out, ahead):
    """A 5 x 5 window, taps one pixel apart."""
    for c in range(0, width, WIDTH):
        for w in range(0, columns, BLOCK):
            m, a, b = start + w * width + c, _none(), _none()
            for i in range(below // 2 + 1):
                v = _load5(taps, c + 5 * i * width, width)
                a = _add_row_5_apart(a, _load12(x, m + 2 * i * pitch, width), v)
                b = _add_row_5_apart(b, _load12(x, m + (2 * i + 1) * pitch, width), v)
            bring(ahead)
            store_block(out, w * width + c, columns * width, width, a, b)
