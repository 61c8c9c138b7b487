"""The compiled loops. Importing this file imports numba; compiled on first use, cached on disk.

All arrays are float32 and contiguous; an image tensor (N, C, H, W) comes in channels-last memory as
(N, H, W, C). Work is cut into parts that do not depend on the number of threads, with partial sums
of their own, so that no result depends on it either. Sums are never reordered by the compiler: it
optimises a loop once where it was compiled and twice where it was read from the cache, and a
resumed run would differ from its first half.

A separable stage works on one image at a time, which stays in the cache: a padded, rectified copy
whose channels are rounded up to whole vectors, from which two rows of BLOCK-rounded width are
convolved, mixed by the 1 x 1 convolution, counted into the statistics and written. Rounded up:
`wide` channels; a source of C channels and its result of D have wide(C) and wide(D) in here.
"""

from typing import Any, NamedTuple

import numba
import numpy as np

from edarts.nn.kernels.vectors import (
    WIDTH,
    add,
    array_at,
    load,
    load_some,
    maximum,
    multiply_add,
    prefetch,
    repeat,
    store,
    store_some,
    subtract,
    where_equal,
    where_positive,
    zeros,
)

CHUNKS = 16
MOST_THREADS = numba.get_num_threads()
TILE = 256  # numbers: a pass over many arrays works on whole rows of about so many at once
BLOCK = 4  # columns; of two rows, they are the eight sums that a loop keeps in registers
LINE = 16  # numbers of a cache line
FAST = {"contract", "nsz", "arcp"}
# Arguments that are no literals: for each literal numba compiles a function once more.
ZERO, ONE, YES, NO = np.int64(0), np.int64(1), np.bool_(True), np.bool_(False)


def use_threads(count: int) -> None:
    """Run the loops on this many threads, or as many as numba has."""
    numba.set_num_threads(min(count, MOST_THREADS))


# -- pieces ---------------------------------------------------------------------------------------


@numba.njit(cache=True)
def _wide(channels):
    """Channels rounded up to whole vectors."""
    return (channels + WIDTH - 1) // WIDTH * WIDTH


@numba.njit(cache=True)
def _scratch(size):
    """Zeros that begin at a cache line, so that no vector crosses one."""
    out = np.zeros(size + 16, np.float32)
    skip = (-(out.ctypes.data // 4)) % 16
    return out[skip : skip + size]


@numba.njit(cache=True)
def _widened(values):
    """(C,) -> (wide(C),), zeros after."""
    out = _scratch(_wide(len(values)))
    for c in range(len(values)):
        out[c] = values[c]
    return out


@numba.njit(cache=True)
def _parts(size):
    """Zeros (CHUNKS, size): a sum for each part."""
    return np.zeros((CHUNKS, size), np.float32)


@numba.njit(cache=True)
def _set(out, value):
    """Every number of `out` becomes `value`."""
    for m in range(len(out)):
        out[m] = value


@numba.njit(cache=True)
def _taps(weight, mirrored):
    """(C, k, k) -> (k * k * wide(C),), tap by tap; `mirrored`: the last tap first."""
    channels, k = weight.shape[0], weight.shape[1]
    width = _wide(channels)
    out = _scratch(k * k * width)
    for t in range(k * k):
        place = (k * k - 1 - t if mirrored else t) * width
        for c in range(channels):
            out[place + c] = weight[c, t // k, t % k]
    return out


@numba.njit(cache=True)
def _offsets(k, d, pitch, pixel):
    """Where each tap of a k x k kernel of dilation d reads, relative to the first."""
    out = np.empty(k * k, np.int64)
    for t in range(k * k):
        out[t] = (t // k) * d * pitch + (t % k) * d * pixel
    return out


@numba.njit(cache=True)
def _matrix(weight, transposed):
    """(D, C) -> (wide(C) * wide(D),), or with C and D exchanged if `transposed`."""
    rows, columns = weight.shape
    wide_rows, wide_columns = _wide(rows), _wide(columns)
    out = _scratch(wide_rows * wide_columns)
    for i in range(rows):
        for j in range(columns):
            out[i * wide_columns + j if transposed else j * wide_rows + i] = weight[i, j]
    return out


@numba.njit(cache=True)
def _read(source, place, count):
    """A vector of the first `count` numbers there, or of all if it has no more."""
    if count >= WIDTH:
        return load(source, place)
    return load_some(source, place, count)


@numba.njit(cache=True)
def _write(out, place, count, value):
    """The inverse of `_read`."""
    if count >= WIDTH:
        store(out, place, value)
    else:
        store_some(out, place, count, value)


@numba.njit(cache=True)
def _widen(source, start, pixels, channels, out, place, width):
    """Copy pixels of C channels to pixels of `width`."""
    for c in range(0, channels, WIDTH):
        left = channels - c
        for p in range(pixels):
            v = _read(source, start + p * channels + c, left)
            _write(out, place + p * width + c, left, v)


@numba.njit(cache=True)
def _narrow(source, start, pixels, channels, out, place, fresh, width):
    """Copy pixels of `width` channels to pixels of C; add them there, unless `fresh`."""
    for c in range(0, channels, WIDTH):
        left = channels - c
        for p in range(pixels):
            v, m = _read(source, start + p * width + c, left), place + p * channels + c
            _write(out, m, left, v if fresh else add(_read(out, m, left), v))


@numba.njit(cache=True)
def _ahead(array, start, count):
    """Bring these numbers of the next image nearer, while this one is worked on."""
    for m in range(start, start + count, LINE):
        prefetch(array, m)


@numba.njit(cache=True)
def _fill(source, n, out, place, pitch):
    """Image n of a source into a padded one, as max(scale * x + shift, 0)."""
    count, height, columns, share = source.shape
    size, width = count * height * columns * share, len(source.scale)
    for i in range(len(source.parts)):
        part = array_at(source.parts[i], size)
        for c in range(0, share, WIDTH):
            first, left = i * share + c, share - c
            a, b = _read(source.scale, first, left), _read(source.shift, first, left)
            for h in range(height):
                q, m = (n * height + h) * columns * share + c, place + h * pitch + first
                for w in range(columns):
                    v = multiply_add(a, _read(part, q + w * share, left), b)
                    _write(out, m + w * width, left, where_positive(v, v))


@numba.njit(cache=True)
def _convolve_rows(x, start, pitch, s, taps, offsets, width, columns, out):
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
            m = w * width + c
            store(out, m, a0)
            store(out, m + width, a1)
            store(out, m + 2 * width, a2)
            store(out, m + 3 * width, a3)
            m += columns * width
            store(out, m, b0)
            store(out, m + width, b1)
            store(out, m + 2 * width, b2)
            store(out, m + 3 * width, b3)


@numba.njit(cache=True)
def _multiply_rows(x, matrix, columns, inner, outer, out, place, pitch):
    """Two rows of out, `pitch` apart = x (2, columns, inner) times matrix (inner, outer)."""
    below = columns * inner
    for c in range(0, outer, WIDTH):
        for w in range(0, columns, BLOCK):
            a0, a1, a2, a3 = zeros(), zeros(), zeros(), zeros()
            b0, b1, b2, b3 = zeros(), zeros(), zeros(), zeros()
            for i in range(inner):
                v = load(matrix, i * outer + c)
                m = w * inner + i
                a0 = multiply_add(v, repeat(x, m), a0)
                a1 = multiply_add(v, repeat(x, m + inner), a1)
                a2 = multiply_add(v, repeat(x, m + 2 * inner), a2)
                a3 = multiply_add(v, repeat(x, m + 3 * inner), a3)
                m += below
                b0 = multiply_add(v, repeat(x, m), b0)
                b1 = multiply_add(v, repeat(x, m + inner), b1)
                b2 = multiply_add(v, repeat(x, m + 2 * inner), b2)
                b3 = multiply_add(v, repeat(x, m + 3 * inner), b3)
            m = place + w * outer + c
            store(out, m, a0)
            store(out, m + outer, a1)
            store(out, m + 2 * outer, a2)
            store(out, m + 3 * outer, a3)
            m += pitch
            store(out, m, b0)
            store(out, m + outer, b1)
            store(out, m + 2 * outer, b2)
            store(out, m + 3 * outer, b3)


@numba.njit(cache=True)
def _add_products(x, g, pixels, inner, outer, sums):
    """sums (inner, outer) += x (pixels, inner), transposed, times g (pixels, outer)."""
    for c in range(0, outer, WIDTH):
        for i in range(0, inner, 8):
            m = i * outer + c
            a0, a1 = load(sums, m), load(sums, m + outer)
            a2, a3 = load(sums, m + 2 * outer), load(sums, m + 3 * outer)
            a4, a5 = load(sums, m + 4 * outer), load(sums, m + 5 * outer)
            a6, a7 = load(sums, m + 6 * outer), load(sums, m + 7 * outer)
            for p in range(pixels):
                v = load(g, p * outer + c)
                q = p * inner + i
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
def _add_taps(x, start, pitch, s, g, place, row, offsets, width, columns, sums):
    """sums (k * k, width) += what each tap reads times g, over two rows.

    `g`: its rows are `row` apart, the first at `place`.
    """
    step = s * width
    for c in range(0, width, WIDTH):
        for w in range(0, columns, BLOCK):
            base, m = start + w * step + c, place + w * width + c
            g0, g1, g2, g3 = (
                load(g, m),
                load(g, m + width),
                load(g, m + 2 * width),
                load(g, m + 3 * width),
            )
            m += row
            h0, h1, h2, h3 = (
                load(g, m),
                load(g, m + width),
                load(g, m + 2 * width),
                load(g, m + 3 * width),
            )
            for t in range(len(offsets)):
                q = base + offsets[t]
                p = q + s * pitch
                a = multiply_add(g0, load(x, q), load(sums, t * width + c))
                b = multiply_add(h0, load(x, p), zeros())
                a = multiply_add(g1, load(x, q + step), a)
                b = multiply_add(h1, load(x, p + step), b)
                a = multiply_add(g2, load(x, q + 2 * step), a)
                b = multiply_add(h2, load(x, p + 2 * step), b)
                a = multiply_add(g3, load(x, q + 3 * step), a)
                b = multiply_add(h3, load(x, p + 3 * step), b)
                store(sums, t * width + c, add(a, b))


@numba.njit(cache=True)
def _spread(g, place, row, taps, offsets, width, columns, s, out, start, pitch):
    """The transpose of `_convolve_rows`: each tap adds its share of g to what it has read."""
    for r in range(2):
        for c in range(0, width, WIDTH):
            for w in range(columns):
                v = load(g, place + r * row + w * width + c)
                base = start + r * s * pitch + w * s * width + c
                for t in range(len(offsets)):
                    q = base + offsets[t]
                    store(out, q, multiply_add(v, load(taps, t * width + c), load(out, q)))


@numba.njit(cache=True)
def _fold(parts):
    """(CHUNKS, n) partial sums -> their sum (n,), in the first part."""
    total = parts[0]
    for chunk in range(1, len(parts)):
        part = parts[chunk]
        for m in range(len(total)):
            total[m] += part[m]
    return total


@numba.njit(cache=True)
def _sides(height, width, k, s, d):
    """Result rows, columns; both rounded up to blocks; rows, columns of the padded source."""
    pad = d * (k - 1) // 2
    rows, columns = (height + s - 1) // s, (width + s - 1) // s
    even, blocks = (rows + 1) // 2 * 2, (columns + BLOCK - 1) // BLOCK * BLOCK
    return (
        rows,
        columns,
        even,
        blocks,
        max((even - 1) * s + d * (k - 1) + 1, height + pad),
        max((blocks - 1) * s + d * (k - 1) + 1, width + pad),
    )


# -- batch norm -----------------------------------------------------------------------------------


@numba.njit(cache=True)
def norm(moments, rows, eps, share, running_mean, running_var, weight, bias, out):
    """out (4, C): mean, s = 1 / standard deviation, scale and shift of the norm of `rows` rows.

    It computes scale * y + shift. `moments` (2, C): mean and biased variance, towards which the
    running ones move by `share`; they, `weight` and `bias` are empty where there are none.
    """
    for c in range(out.shape[1]):
        mean, var = moments[0, c], moments[1, c]
        if len(running_mean) > 0:
            running_mean[c] += share * (mean - running_mean[c])
            running_var[c] += share * (var * rows / (rows - 1) - running_var[c])
        s = np.float32(1 / np.sqrt(var + eps))
        scale = s * weight[c] if len(weight) > 0 else s
        out[0, c], out[1, c], out[2, c] = mean, s, scale
        out[3, c] = (bias[c] if len(bias) > 0 else np.float32(0)) - scale * mean


@numba.njit(cache=True)
def norm_grad_factors(norm, sum_grad, sum_grad_y, rows, factor, pqr):
    """pqr (3, C): the gradient of y is p * grad + q * y + r, if that of factor * norm is grad.

    `sum_grad` (C,): sum of grad over the rows; `sum_grad_y` (C,): that of grad * (y - mean), which
    becomes that of grad * n, n being the normed y.
    """
    for c in range(len(sum_grad)):
        mean, s, scale = norm[0, c], norm[1, c], norm[2, c]
        sum_grad_y[c] *= s
        q = -factor * scale * s * sum_grad_y[c] / rows
        pqr[0, c], pqr[1, c] = factor * scale, q
        pqr[2, c] = -factor * scale * sum_grad[c] / rows - q * mean


# -- a separable stage ----------------------------------------------------------------------------


class _Source(NamedTuple):
    """What a stage reads: `parts` side by side, by their addresses, `shape` (N, H, W, C / P) each.

    `scale`, `shift`, `mean` (wide(C),): of the norm before it; see `norm`.
    """

    parts: Any
    shape: Any
    scale: Any
    shift: Any
    mean: Any


class _Weights(NamedTuple):
    """A stage's weights, packed: see `_taps` and `_matrix`; `mirrored` taps for the way back."""

    taps: Any
    mirrored: Any
    matrix: Any


class _Window(NamedTuple):
    """The depthwise convolution's kernel size, stride and dilation."""

    k: Any
    s: Any
    d: Any


class _Result(NamedTuple):
    """What a stage made, y (N, H', W', D), and its gradient p * grad + q * y + r."""

    y: Any
    grad: Any
    p: Any
    q: Any
    r: Any


class _Targets(NamedTuple):
    """Where gradients go; see `separable_gradient`. `sized`: whether those of the weights do.

    `tap_sums`, `matrix_sums`, `sums`: of this chunk of images.
    """

    dx: Any
    fresh: Any
    sized: Any
    tap_sums: Any
    matrix_sums: Any
    sums: Any


@numba.njit(parallel=True, cache=True)
def separable(x, shape, before, depthwise, pointwise, s, d, y, moments):
    """y (N, H', W', D) = depthwise (C, k, k), then 1 x 1 convolution (D, C) of rectified x.

    That is max(scale * x + shift, 0) with scale and shift of the norm `before`, see `norm`. x
    (N, H, W, C) comes in P parts side by side: their addresses (P,) and the `shape` (N, H, W,
    C / P) of each. `moments` (2, D): mean and biased variance of y; merged from those of each image
    (Chan et al. 1979), so that nothing is lost where the mean is far from zero.
    """
    count, outer = shape[0], y.shape[3]
    taps, matrix = _taps(depthwise, NO), _matrix(pointwise, NO)
    a, b = _widened(before[2]), _widened(before[3])
    means, squares = np.empty((count, outer), np.float32), np.empty((count, outer), np.float32)
    for chunk in numba.prange(CHUNKS):
        first, last = chunk * count // CHUNKS, (chunk + 1) * count // CHUNKS
        if first < last:
            source = _Source(x, shape, a, b, b)
            weights, window = _Weights(taps, taps, matrix), _Window(depthwise.shape[1], s, d)
            _separable(source, weights, window, first, last, y, means, squares)
    _merge(means, squares, y.shape[1] * y.shape[2], moments[0], moments[1])


@numba.njit(cache=True)
def _merge(means, squares, rows, mean, var):
    """The moments of all images from those of each, `squares` not yet divided by its rows."""
    count = len(means)
    for c in range(len(mean)):
        centre = np.float64(0)
        for n in range(count):
            centre += means[n, c]
        centre /= count
        spread = np.float64(0)
        for n in range(count):
            spread += squares[n, c] + rows * (means[n, c] - centre) ** 2
        mean[c], var[c] = centre, spread / (count * rows)


@numba.njit(cache=True)
def _separable(source, weights, window, first, last, y, means, squares):
    """`separable` of the images from `first` to `last`, and their moments."""
    height, width = source.shape[1], source.shape[2]
    k, s, d = window
    outer = y.shape[3]
    inside, outside = len(source.scale), _wide(outer)
    rows, columns, even, blocks, tall, broad = _sides(height, width, k, s, d)
    pad, pitch = d * (k - 1) // 2, broad * inside
    offsets = _offsets(k, d, pitch, inside)
    padded, u = _scratch(tall * pitch), _scratch(2 * blocks * inside)
    v = _scratch(2 * blocks * outside)
    moments = _scratch(3 * outside)  # the image's first pixel; sums of differences to it, squared
    result = y.reshape(y.size)
    for n in range(first, last):
        inner = pad * pitch + pad * inside
        _fill(source, n, padded, inner, pitch)
        _set(moments, np.float32(0))
        for h in range(0, even, 2):
            _convolve_rows(
                padded, h * s * pitch, pitch, s, weights.taps, offsets, inside, blocks, u
            )
            _multiply_rows(u, weights.matrix, blocks, inside, outside, v, ZERO, blocks * outside)
            for r in range(min(2, rows - h)):
                place = (n * rows + h + r) * columns * outer
                _finish(v, r * blocks * outside, columns, outside, outer, moments, h + r == 0,
                    result, place)  # fmt: skip
            if n + 1 < last:
                _rows_ahead(source.parts, source.shape, n + 1, h * s, 2 * s)
                _ahead(
                    result,
                    ((n + 1) * rows + h) * columns * outer,
                    min(2, rows - h) * columns * outer,
                )
        total = np.float32(rows * columns)
        for c in range(outer):
            offset = moments[outside + c] / total
            means[n, c] = moments[c] + offset
            squares[n, c] = max(moments[2 * outside + c] - offset * offset * total, np.float32(0))


@numba.njit(cache=True)
def _rows_ahead(addresses, shape, n, h, rows):
    """`_ahead` of some rows of image n, as far as there are so many, in each part."""
    count, height, width, share = shape
    row, some = width * share, min(rows, height - h)
    for i in range(len(addresses)):
        _ahead(array_at(addresses[i], count * height * row), (n * height + h) * row, some * row)


@numba.njit(cache=True)
def _finish(v, place, columns, width, channels, moments, begin, out, to):
    """A row of v (columns, width) into the result, its channels alone, and into the moments.

    `moments` (3, width): a centre, sums of differences to it, of their squares. `begin`: the first
    pixel becomes the centre.
    """
    for c in range(0, width, WIDTH):
        if begin:
            store(moments, c, load(v, place + c))
        centre, left = load(moments, c), channels - c
        total, squares = load(moments, width + c), load(moments, 2 * width + c)
        for w in range(columns):
            x = load(v, place + w * width + c)
            e = subtract(x, centre)
            total = add(total, e)
            squares = multiply_add(e, e, squares)
            _write(out, to + w * channels + c, left, x)
        store(moments, width + c, total)
        store(moments, 2 * width + c, squares)


@numba.njit(parallel=True, cache=True)
def separable_gradient(
    x, shape, before, depthwise, pointwise, s, d, y, grad, pqr, dx, fresh, dd, dp, products
):
    """The gradients of `separable`, where that of y is p * grad + q * y + r; `pqr` (3, D).

    `dx`: that of scale * x + shift, in parts as x is; added to what is there, unless `fresh` (P,).
    `products` (2, C): its sum, and that of it times (x - mean). `dd` (C, k, k) and `dp` (D, C): of
    the weights. Empty `dx`, `products` or `dd`: not wanted (nor is `dp`, then).
    """
    count, channels, outer = shape[0], before.shape[1], y.shape[3]
    k = depthwise.shape[1]
    inside, outside = _wide(channels), _wide(outer)
    taps, mirrored = _taps(depthwise, NO), _taps(depthwise, YES)
    matrix = _matrix(pointwise, YES)
    a, b, m = _widened(before[2]), _widened(before[3]), _widened(before[0])
    pw, qw, rw = _widened(pqr[0]), _widened(pqr[1]), _widened(pqr[2])
    sized = dd.size > 0
    tap_sums = _parts(k * k * inside if sized else 1)
    matrix_sums = _parts(inside * outside if sized else 1)
    sums = _parts(2 * inside if products.size > 0 else 0)
    for chunk in numba.prange(CHUNKS):
        first, last = chunk * count // CHUNKS, (chunk + 1) * count // CHUNKS
        if first < last:
            _separable_gradient(
                _Source(x, shape, a, b, m),
                _Weights(taps, mirrored, matrix),
                _Window(k, s, d),
                _Result(y, grad, pw, qw, rw),
                _Targets(dx, fresh, sized, tap_sums[chunk], matrix_sums[chunk], sums[chunk]),
                first,
                last,
            )
    if sized:
        _unpack(_fold(tap_sums), _fold(matrix_sums), dd, dp)
    total = _fold(sums)
    for c in range(products.shape[1]):
        products[0, c], products[1, c] = total[c], total[inside + c]


@numba.njit(cache=True)
def _unpack(taps, matrix, dd, dp):
    """The inverse of `_taps` and of `_matrix`, transposed."""
    channels, k, outer = dd.shape[0], dd.shape[1], dp.shape[0]
    inside, outside = _wide(channels), _wide(outer)
    for c in range(channels):
        for t in range(k * k):
            dd[c, t // k, t % k] = taps[t * inside + c]
        for i in range(outer):
            dp[i, c] = matrix[c * outside + i]


@numba.njit(cache=True)
def _separable_gradient(source, weights, window, result, targets, first, last):
    """`separable_gradient` of the images from `first` to `last`, added to the sums of `targets`."""
    height, width = source.shape[1], source.shape[2]
    k, s, d = window
    sized, dx = targets.sized, targets.dx
    outer = result.y.shape[3]
    inside, outside = len(source.scale), _wide(outer)
    rows, columns, even, blocks, tall, broad = _sides(height, width, k, s, d)
    pad, pitch = d * (k - 1) // 2, broad * inside
    inner = pad * pitch + pad * inside
    offsets = _offsets(k, d, pitch, inside)
    padded = _scratch(tall * pitch)
    # du, the gradient between both convolutions; at stride 1 padded, to be convolved itself.
    margin = pad if s == 1 else 0
    du_pitch = (blocks + 2 * margin) * inside
    du, du_inner = _scratch((even + 2 * margin) * du_pitch), margin * du_pitch + margin * inside
    du_offsets = _offsets(k, d, du_pitch, inside)
    both, u = _scratch(2 * blocks * outside), _scratch(2 * blocks * inside)
    spread = _scratch(tall * pitch if s > 1 and dx.size > 0 else 0)
    y, grad = result.y.reshape(result.y.size), result.grad.reshape(result.grad.size)
    for n in range(first, last):
        start = n * height * width
        _fill(source, n, padded, inner, pitch)
        for h in range(0, even, 2):
            if h + 1 >= rows:
                _set(both[blocks * outside :], np.float32(0))
            for i in range(min(2, rows - h)):
                place = ((n * rows + h + i) * columns) * outer
                _add_norm(
                    grad, y, place, columns, outer, result.p, result.q, result.r,
                    both, i * blocks * outside,
                )  # fmt: skip
            if sized:
                _convolve_rows(
                    padded, h * s * pitch, pitch, s, weights.taps, offsets, inside, blocks, u
                )
                _add_products(u, both, 2 * blocks, inside, outside, targets.matrix_sums)
            at = du_inner + h * du_pitch
            _multiply_rows(both, weights.matrix, blocks, outside, inside, du, at, du_pitch)
            if sized:
                _add_taps(
                    padded, h * s * pitch, pitch, s, du, at, du_pitch, offsets, inside, blocks,
                    targets.tap_sums,
                )  # fmt: skip
            if n + 1 < last:
                _rows_ahead(source.parts, source.shape, n + 1, h * s, 2 * s)
                _rows_ahead(dx, source.shape, n + 1, h * s, 2 * s)
                place = ((n + 1) * rows + h) * columns * outer
                some = min(2, rows - h) * columns * outer
                _ahead(y, place, some)
                _ahead(grad, place, some)
        if dx.size == 0:
            continue
        if s > 1:
            _set(spread, np.float32(0))
            for h in range(0, even, 2):
                _spread(
                    du, h * du_pitch, du_pitch, weights.taps, offsets, inside, blocks, s, spread,
                    h * s * pitch, pitch,
                )  # fmt: skip
        for h in range(0, height, 2):
            if s == 1:
                _convolve_rows(
                    du, h * du_pitch, du_pitch, ONE, weights.mirrored, du_offsets, inside, blocks, u
                )
            for i in range(min(2, height - h)):
                row = inner + (h + i) * pitch
                out, at = (u, i * blocks * inside) if s == 1 else (spread, row)
                _hand_on(out, at, padded, row, source, start + (h + i) * width, targets)


@numba.njit(cache=True)
def _add_norm(grad, y, start, columns, channels, p, q, r, out, place):
    """A row of p * grad + q * y + r, widened."""
    width = _wide(channels)
    for c in range(0, width, WIDTH):
        pc, qc, rc, left = load(p, c), load(q, c), load(r, c), channels - c
        for w in range(columns):
            m = start + w * channels + c
            v = multiply_add(qc, _read(y, m, left), rc)
            v = multiply_add(pc, _read(grad, m, left), v)
            store(out, place + w * width + c, v)


@numba.njit(cache=True)
def _hand_on(h, at, rectified, place, source, pixel, targets):
    """A row of the gradient h, where `rectified` is not zero, to its parts; adds to `sums`.

    `sums` (2, wide(C)): of the gradient, and of it times x - mean; empty: not wanted.
    """
    count, height, columns, share = source.shape
    size, width, sums = count * height * columns * share, len(source.scale), targets.sums
    for i in range(len(targets.dx)):
        part, out = array_at(source.parts[i], size), array_at(targets.dx[i], size)
        fresh = targets.fresh[i]
        for c in range(0, share, WIDTH):
            first, left = i * share + c, share - c
            mean, sum_grad, sum_grad_x = zeros(), zeros(), zeros()
            if len(sums) > 0:
                mean = _read(source.mean, first, left)
                sum_grad, sum_grad_x = (
                    _read(sums, first, left),
                    _read(sums, width + first, left),
                )
            for w in range(columns):
                m, q = w * width + first, (pixel + w) * share + c
                v = where_positive(_read(rectified, place + m, left), _read(h, at + m, left))
                if len(sums) > 0:
                    sum_grad = add(sum_grad, v)
                    x = _read(part, q, left)
                    sum_grad_x = multiply_add(v, subtract(x, mean), sum_grad_x)
                _write(out, q, left, v if fresh else add(_read(out, q, left), v))
            if len(sums) > 0:
                _write(sums, first, left, sum_grad)
                _write(sums, width + first, left, sum_grad_x)


# -- max pooling ----------------------------------------------------------------------------------


@numba.njit(parallel=True, cache=True)
def max_pool(x, k, s, outer, out, forward, fresh):
    """The largest of each k x k window of x (N, H, W, C), stride s: out (N, H', W', C).

    Or, if not `forward`, its gradient: out (N, H, W, C), from `outer` (N, H', W', C), that of the
    result; added to what is there, unless `fresh`. Of equal numbers in a window, the first gets it.
    """
    count = x.shape[0]
    for chunk in numba.prange(CHUNKS):
        first, last = chunk * count // CHUNKS, (chunk + 1) * count // CHUNKS
        if first < last:
            _max_pool(x, first, last, k, s, outer, out, forward, fresh)


@numba.njit(cache=True)
def _max_pool(x, first, last, k, s, outer, out, forward, fresh):
    _, height, width, channels = x.shape
    rows, columns = (height + s - 1) // s, (width + s - 1) // s
    wide, pad = _wide(channels), k // 2
    pitch = max((columns - 1) * s + k, width + pad) * wide
    tall = max((rows - 1) * s + k, height + pad)
    padded = _scratch(tall * pitch)
    _set(padded, np.float32(-np.inf))
    spread = _scratch(0 if forward else tall * pitch)
    row, most = _scratch(columns * wide), _scratch(columns * wide)
    inner, offsets = pad * pitch + pad * wide, _offsets(k, ONE, pitch, wide)
    source, result, grad = x.reshape(x.size), out.reshape(out.size), outer.reshape(outer.size)
    for n in range(first, last):
        _set(spread, np.float32(0))
        for h in range(height):
            start = (n * height + h) * width * channels
            _widen(source, start, width, channels, padded, inner + h * pitch, wide)
        for h in range(rows):
            place = (n * rows + h) * columns * channels
            if not forward:
                _widen(grad, place, columns, channels, row, ZERO, wide)
            for c in range(0, wide, WIDTH):
                start = h * s * pitch + c
                for w in range(columns):
                    base = start + w * s * wide
                    v = load(padded, base)
                    for t in range(1, len(offsets)):
                        v = maximum(load(padded, base + offsets[t]), v)
                    store(most, w * wide + c, v)
                if not forward:
                    _share(padded, start, most, row, c, s, wide, columns, offsets, spread)
            if forward:
                _narrow(most, ZERO, columns, channels, result, place, YES, wide)
        if not forward:
            for h in range(height):
                start = (n * height + h) * width * channels
                _narrow(spread, inner + h * pitch, width, channels, result, start, fresh, wide)


@numba.njit(cache=True)
def _share(padded, start, most, row, c, s, width, columns, offsets, spread):
    """Add a row's gradients to where its maxima came from; `row` is used up.

    Tap by tap, so that no sum waits for its neighbour's.
    """
    for t in range(len(offsets)):
        for w in range(columns):
            q, m = start + w * s * width + offsets[t], w * width + c
            left = load(row, m)
            share = where_equal(load(padded, q), load(most, m), left)
            store(spread, q, add(load(spread, q), share))
            store(row, m, subtract(left, share))


# -- even and odd pixels --------------------------------------------------------------------------


@numba.njit(parallel=True, cache=True)
def halves(x, even, odd, forward, fresh):
    """x (N, H, W, C) -> its even rows and columns and its odd ones, (N, H / 2, W / 2, C).

    Or, if not `forward`, the gradient of x from those of its halves; added, unless `fresh`.
    """
    count, height, width, channels = even.shape
    for n in numba.prange(count):
        if not forward and fresh:
            _set(x[n].reshape(x[n].size), np.float32(0))
        for h in range(height):
            for w in range(width):
                for c in range(channels):
                    if forward:
                        even[n, h, w, c] = x[n, 2 * h, 2 * w, c]
                        odd[n, h, w, c] = x[n, 2 * h + 1, 2 * w + 1, c]
                    else:
                        x[n, 2 * h, 2 * w, c] += even[n, h, w, c]
                        x[n, 2 * h + 1, 2 * w + 1, c] += odd[n, h, w, c]


# -- passes over whole tensors --------------------------------------------------------------------


@numba.njit(cache=True)
def _tiled(values):
    """(C,) -> (copies * C,): the numbers of one row, repeated over a tile."""
    channels = len(values)
    out = _scratch(max(1, TILE // channels) * channels)
    for m in range(len(out)):
        out[m] = values[m % channels]
    return out


@numba.njit(cache=True)
def _tiled_rows(values):
    """`_tiled` of each of (T, C)."""
    out = np.empty((len(values), len(_tiled(values[0]))), np.float32)
    for i in range(len(values)):
        row = _tiled(values[i])
        for m in range(len(row)):
            out[i, m] = row[m]
    return out


@numba.njit(cache=True)
def _fold_rows(parts, out):
    """(CHUNKS, copies * C) partial sums -> out (C,); `parts` is used up."""
    channels = len(out)
    total = _fold(parts)
    _set(out, np.float32(0))
    for q in range(len(total) // channels):
        part = total[q * channels : (q + 1) * channels]
        for c in range(channels):
            out[c] += part[c]


@numba.njit(parallel=True, cache=True, fastmath=FAST)
def moments(y, out):
    """y (R * C,) -> out (2, C): its mean and biased variance.

    Sums are of differences to the first row: no cancellation where the mean is far from zero.
    """
    mean, var = out[0], out[1]
    channels, total = len(mean), len(y)
    shift = _tiled(y[:channels])
    tile = len(shift)
    tiles = (total + tile - 1) // tile
    firsts, seconds = _parts(tile), _parts(tile)
    for chunk in numba.prange(CHUNKS):
        first, second = firsts[chunk], seconds[chunk]
        for t in range(chunk * tiles // CHUNKS, (chunk + 1) * tiles // CHUNKS):
            part = y[t * tile : min((t + 1) * tile, total)]
            for m in range(len(part)):
                d = part[m] - shift[m]
                first[m] += d
                second[m] += d * d
    _fold_rows(firsts, mean)
    _fold_rows(seconds, var)
    rows = total // channels
    for c in range(channels):
        offset = mean[c] / rows
        mean[c] = y[c] + offset
        var[c] = max(var[c] / rows - offset * offset, np.float32(0))


@numba.njit(parallel=True, cache=True, fastmath=FAST)
def weighted_sum(addresses, norms, out):
    """out (R * C,) = sum over T arrays of scale * array + shift; `norms` (T, 4, C): see `norm`.

    `addresses` (T,): of arrays of out's size; all are read in one pass.
    """
    total, count = len(out), len(addresses)
    shift = norms[0, 3].copy()
    for i in range(1, count):
        for c in range(len(shift)):
            shift[c] += norms[i, 3, c]
    bias, factors = _tiled(shift), _tiled_rows(norms[:, 2].copy())
    tile = len(bias)
    tiles = (total + tile - 1) // tile
    for chunk in numba.prange(CHUNKS):
        for t in range(chunk * tiles // CHUNKS, (chunk + 1) * tiles // CHUNKS):
            o = out[t * tile : min((t + 1) * tile, total)]
            for m in range(len(o)):
                o[m] = bias[m]
            for i in range(count):
                a, part = factors[i], array_at(addresses[i], total)[t * tile :]
                for m in range(len(o)):
                    o[m] += a[m] * part[m]


@numba.njit(parallel=True, cache=True, fastmath=FAST)
def product_sums(grad, addresses, means, sum_grad, sum_grad_y):
    """Sums over the rows of grad (R * C,): sum_grad (C,) of it, sum_grad_y (T, C) of its products.

    Those are grad * (array - mean); `addresses` (T,): of arrays of grad's size; `means` (T, C).
    """
    total, count, channels = len(grad), len(addresses), len(sum_grad)
    tile = max(1, TILE // channels) * channels
    tiles = (total + tile - 1) // tile
    centres, sums, products = _tiled_rows(means), _parts(tile), _parts(count * tile)
    for chunk in numba.prange(CHUNKS):
        first = sums[chunk]
        for t in range(chunk * tiles // CHUNKS, (chunk + 1) * tiles // CHUNKS):
            part_grad = grad[t * tile : min((t + 1) * tile, total)]
            for m in range(len(part_grad)):
                first[m] += part_grad[m]
            for i in range(count):
                part, centre = array_at(addresses[i], total)[t * tile :], centres[i]
                second = products[chunk, i * tile : (i + 1) * tile]
                for m in range(len(part_grad)):
                    second[m] += part_grad[m] * (part[m] - centre[m])
    _fold_rows(sums, sum_grad)
    for i in range(count):
        _fold_rows(products[:, i * tile : (i + 1) * tile].copy(), sum_grad_y[i])


@numba.njit(parallel=True, cache=True, fastmath=FAST)
def norm_gradient(grad, y, pqr, out, fresh):
    """out = p * grad + q * y + r, added to what is there unless `fresh`; (R * C,), pqr (3, C)."""
    total = len(grad)
    ps, qs, rs = _tiled(pqr[0]), _tiled(pqr[1]), _tiled(pqr[2])
    tile = len(ps)
    tiles = (total + tile - 1) // tile
    for chunk in numba.prange(CHUNKS):
        for t in range(chunk * tiles // CHUNKS, (chunk + 1) * tiles // CHUNKS):
            part_grad, part = grad[t * tile : min((t + 1) * tile, total)], y[t * tile :]
            o = out[t * tile :]
            if fresh:
                for m in range(len(part_grad)):
                    o[m] = ps[m] * part_grad[m] + qs[m] * part[m] + rs[m]
            else:
                for m in range(len(part_grad)):
                    o[m] += ps[m] * part_grad[m] + qs[m] * part[m] + rs[m]
