"""A separable stage: norm, ReLU, depthwise convolution, 1 x 1 convolution, moments of the result.

It works on one image at a time: a padded, rectified copy whose channels are rounded up to whole
vectors, from which two rows of BLOCK-rounded width are convolved, mixed by the 1 x 1 convolution,
counted into the statistics and written. The rows that come next are brought into the cache
meanwhile. Rounded up: a source of C channels and its result of D have wide(C) and wide(D) in here.
"""

from typing import Any, NamedTuple

import numba
import numpy as np

from edarts.nn.kernels.loops.pieces import (
    AHEAD,
    BLOCK,
    CHUNKS,
    NO,
    ONE,
    TWO,
    YES,
    ZERO,
    aim_rows,
    assign,
    chunk_sums,
    fold,
    framed,
    read,
    room,
    round_up,
    scratch,
    tap_offsets,
    widened,
    write,
)
from edarts.nn.kernels.loops.rows import (
    add_products,
    convolve_and_add_taps,
    convolve_rows,
    multiply_rows,
    spread_rows,
)
from edarts.nn.kernels.loops.vectors import (
    WIDTH,
    add,
    array_at,
    helper,
    load,
    multiply_add,
    store,
    subtract,
    where_positive,
    zeros,
)


@numba.njit(cache=True)
def pack_taps(weight, mirrored):
    """(C, k, k) -> (k * k * wide(C),), tap by tap; `mirrored`: the last tap first."""
    channels, k = weight.shape[0], weight.shape[1]
    width = round_up(channels)
    out = scratch(k * k * width)
    for t in range(k * k):
        place = (k * k - 1 - t if mirrored else t) * width
        for c in range(channels):
            out[place + c] = weight[c, t // k, t % k]
    return out


@numba.njit(cache=True)
def pack_matrix(weight, transposed):
    """(D, C) -> (wide(C) * wide(D),), or with C and D exchanged if `transposed`."""
    rows, columns = weight.shape
    wide_rows, wide_columns = round_up(rows), round_up(columns)
    out = scratch(wide_rows * wide_columns)
    for i in range(rows):
        for j in range(columns):
            out[i * wide_columns + j if transposed else j * wide_rows + i] = weight[i, j]
    return out


@numba.njit(cache=True)
def padded_room(source, tall, pitch, pad):
    """Room for an image by `fill`, with zeros where that writes nothing."""
    _, height, width, share = source.shape
    inside = len(source.scale)
    if len(source.parts) > 1 and share % WIDTH > 0:
        return scratch(tall * pitch)
    return framed(tall, pitch, pad, height, pad * inside, width * inside)


@helper
def fill(source, n, begin, end, out, place, pitch):
    """Rows of image n of a source into a padded one, as max(scale * x + shift, 0)."""
    count, height, columns, share = source.shape
    size, width = count * height * columns * share, len(source.scale)
    whole = len(source.parts) == 1  # zeros come after its channels
    for i in range(len(source.parts)):
        part = array_at(source.parts[i], size)
        for c in range(0, share, WIDTH):
            first, left = i * share + c, share - c
            some = WIDTH if whole else left
            a, b = read(source.scale, first, left), read(source.shift, first, left)
            for h in range(begin, end):
                q, m = (n * height + h) * columns * share + c, place + h * pitch + first
                for w in range(columns):
                    v = multiply_add(a, read(part, q + w * share, left), b)
                    write(out, m + w * width, some, where_positive(v, v))


@numba.njit(cache=True)
def sides(height, width, k, s, d):
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


class Source(NamedTuple):
    """What a stage reads: `parts` side by side, by their addresses, `shape` (N, H, W, C / P) each.

    `scale`, `shift`, `mean` (wide(C),): of the norm before it; see `norm`.
    """

    parts: Any
    shape: Any
    scale: Any
    shift: Any
    mean: Any


class _Weights(NamedTuple):
    """A stage's weights, packed: see `pack_taps`, `pack_matrix`; `mirrored`: for the way back."""

    taps: Any
    mirrored: Any
    matrix: Any


class _Window(NamedTuple):
    """The depthwise convolution's kernel size, stride and dilation.

    `direct`: there is none, and the 1 x 1 convolution reads the source.
    """

    k: Any
    s: Any
    d: Any
    direct: Any


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


@helper
def _window(depthwise, s, d):
    """That of a kernel (C, k, k), or without numbers."""
    k = depthwise.shape[1]
    return _Window(max(k, ONE), s, d, k == 0)


@numba.njit(parallel=True, cache=True)
def separable(x, shape, before, depthwise, pointwise, s, d, y, moments):
    """y (N, H', W', D) = depthwise (C, k, k), then 1 x 1 convolution (D, C) of rectified x.

    Without a depthwise one, which has no numbers then, `s` is 1.
    That is max(scale * x + shift, 0) with scale and shift of the norm `before`, see `norm`. x
    (N, H, W, C) comes in P parts side by side: their addresses (P,) and the `shape` (N, H, W,
    C / P) of each. `moments` (2, D): mean and biased variance of y; merged from those of each image
    (Chan et al. 1979), so that nothing is lost where the mean is far from zero.
    """
    count, outer = shape[0], y.shape[3]
    taps, matrix = pack_taps(depthwise, NO), pack_matrix(pointwise, NO)
    a, b = widened(before[2]), widened(before[3])
    means, squares = np.empty((count, outer), np.float32), np.empty((count, outer), np.float32)
    for chunk in numba.prange(CHUNKS):
        first, last = chunk * count // CHUNKS, (chunk + 1) * count // CHUNKS
        if first < last:
            source = Source(x, shape, a, b, b)
            weights, window = _Weights(taps, taps, matrix), _window(depthwise, s, d)
            _separable(source, weights, window, first, last, y, means, squares)
    _merge(means, squares, y.shape[1] * y.shape[2], moments[0], moments[1])


@helper
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
    height, width, channels = source.shape[1], source.shape[2], len(source.parts) * source.shape[3]
    k, s, d, direct = window
    outer = y.shape[3]
    inside, outside = len(source.scale), round_up(outer)
    rows, columns, even, blocks, tall, broad = sides(height, width, k, s, d)
    pad, pitch = d * (k - 1) // 2, broad * inside
    inner, offsets = pad * pitch + pad * inside, tap_offsets(k, d, pitch, inside)
    padded = padded_room(source, tall, pitch, pad)
    u, v = room(2 * blocks * inside), room(2 * blocks * outside)
    moments = scratch(3 * outside)  # the image's first pixel; sums of differences to it, squared
    result = y.reshape(y.size)
    parts, results = len(source.parts), np.full(1, y.ctypes.data)
    calls = blocks // BLOCK * ((0 if direct else inside) + outside) // WIDTH
    ahead = np.zeros((parts + 1, 2), np.int64)
    for n in range(first, last):
        filled = 0
        assign(moments, np.float32(0))
        for h in range(0, even, 2):
            needed = min(height, (h + 1) * s + pad + 1)
            fill(source, n, filled, needed, padded, inner, pitch)
            filled = needed
            aim_rows(ahead, ZERO, source.parts, source.shape, n, filled + AHEAD, 2 * s, calls)
            aim_rows(ahead, parts, results, y.shape, n, h + AHEAD, TWO, calls)
            mix_rows(
                padded, h, pitch, weights.taps, weights.matrix, s, direct, offsets, blocks,
                channels, inside, outside, u, v, ZERO, blocks * outside, ahead,
            )  # fmt: skip
            for r in range(min(2, rows - h)):
                place = (n * rows + h + r) * columns * outer
                _finish(v, r * blocks * outside, columns, outside, outer, moments, h + r == 0,
                    result, place)  # fmt: skip
        total = np.float32(rows * columns)
        for c in range(outer):
            offset = moments[outside + c] / total
            means[n, c] = moments[c] + offset
            squares[n, c] = max(moments[2 * outside + c] - offset * offset * total, np.float32(0))


@helper
def mix_rows(
    padded, h, pitch, taps, matrix, s, direct, offsets, blocks, channels, inside, outside,
    u, out, place, row, ahead,
):  # fmt: skip
    """Rows h and h + 1 of a stage into out, `row` apart from `place` on; `u`: room for two rows."""
    start = h * s * pitch
    if direct:
        x, below = padded, pitch
    else:
        convolve_rows(padded, start, pitch, s, taps, offsets, inside, blocks, u, ahead)
        x, start, below = u, ZERO, blocks * inside
    multiply_rows(
        x, start, below, matrix, blocks, channels, inside, outside, out, place, row, ahead
    )


@helper
def _finish(v, place, columns, width, channels, moments, begin, out, to):
    """A row of v (columns, width) into the result, its channels alone, and into the moments.

    `moments` (3, width): a centre, sums of differences to it, of their squares. `begin`: the first
    pixel becomes the centre.
    """
    for c in range(0, width, WIDTH):
        if begin:
            store(moments, c, load(v, place + c))
        centre, left = load(moments, c), channels - c
        # Two sums of each take turns, so that none waits for itself.
        total, squares = load(moments, width + c), load(moments, 2 * width + c)
        total2, squares2 = zeros(), zeros()
        for w in range(columns):
            x = load(v, place + w * width + c)
            e = subtract(x, centre)
            total, total2 = total2, add(total, e)
            squares, squares2 = squares2, multiply_add(e, e, squares)
            write(out, to + w * channels + c, left, x)
        store(moments, width + c, add(total, total2))
        store(moments, 2 * width + c, add(squares, squares2))


@numba.njit(parallel=True, cache=True)
def separable_gradient(
    x, shape, before, depthwise, pointwise, s, d, y, grad, pqr, dx, fresh, dd, dp, products
):
    """The gradients of `separable`, where that of y is p * grad + q * y + r; `pqr` (3, D).

    `dx`: that of scale * x + shift, in parts as x is; added to what is there, unless `fresh` (P,).
    `products` (2, C): its sum, and that of it times (x - mean). `dd` (C, k, k) and `dp` (D, C): of
    the weights. Empty `dx`, `products` or `dp`: not wanted (nor is `dd`, then).
    """
    count, channels, outer = shape[0], before.shape[1], y.shape[3]
    k = depthwise.shape[1]
    inside, outside = round_up(channels), round_up(outer)
    taps, mirrored = pack_taps(depthwise, NO), pack_taps(depthwise, YES)
    matrix = pack_matrix(pointwise, YES)
    a, b, m = widened(before[2]), widened(before[3]), widened(before[0])
    pw, qw, rw = widened(pqr[0]), widened(pqr[1]), widened(pqr[2])
    sized = dp.size > 0
    tap_sums = chunk_sums(k * k * inside if sized else 1)
    matrix_sums = chunk_sums(inside * outside if sized else 1)
    sums = chunk_sums(2 * inside if products.size > 0 else 0)
    for chunk in numba.prange(CHUNKS):
        first, last = chunk * count // CHUNKS, (chunk + 1) * count // CHUNKS
        if first < last:
            _separable_gradient(
                Source(x, shape, a, b, m),
                _Weights(taps, mirrored, matrix),
                _window(depthwise, s, d),
                _Result(y, grad, pw, qw, rw),
                _Targets(dx, fresh, sized, tap_sums[chunk], matrix_sums[chunk], sums[chunk]),
                first,
                last,
            )
    if sized:
        _unpack(fold(tap_sums), fold(matrix_sums), dd, dp)
    total = fold(sums)
    for c in range(products.shape[1]):
        products[0, c], products[1, c] = total[c], total[inside + c]


@helper
def _unpack(taps, matrix, dd, dp):
    """The inverse of `pack_taps` and of `pack_matrix`, transposed."""
    channels, k, outer = dd.shape[0], dd.shape[1], dp.shape[0]
    inside, outside = round_up(channels), round_up(outer)
    for c in range(channels):
        for t in range(k * k):
            dd[c, t // k, t % k] = taps[t * inside + c]
        for i in range(outer):
            dp[i, c] = matrix[c * outside + i]


@numba.njit(cache=True)
def _separable_gradient(source, weights, window, result, targets, first, last):
    """`separable_gradient` of the images from `first` to `last`, added to the sums of `targets`."""
    height, width, channels = source.shape[1], source.shape[2], len(source.parts) * source.shape[3]
    k, s, d, direct = window
    sized, dx = targets.sized, targets.dx
    outer = result.y.shape[3]
    inside, outside = len(source.scale), round_up(outer)
    rows, columns, even, blocks, tall, broad = sides(height, width, k, s, d)
    pad, pitch = d * (k - 1) // 2, broad * inside
    inner = pad * pitch + pad * inside
    offsets = tap_offsets(k, d, pitch, inside)
    padded = padded_room(source, tall, pitch, pad)
    # du, the gradient between both convolutions; at stride 1 padded, to be convolved itself.
    margin = pad if s == 1 else 0
    du_pitch = (blocks + 2 * margin) * inside
    du_inner = margin * du_pitch + margin * inside
    du = framed(even + 2 * margin, du_pitch, margin, even, margin * inside, blocks * inside)
    du_offsets = tap_offsets(k, d, du_pitch, inside)
    both, u = scratch(2 * blocks * outside), room(2 * blocks * inside)
    spread = scratch(tall * pitch if s > 1 and dx.size > 0 else 0)
    y, grad = result.y, result.grad
    parts, results = len(source.parts), np.array([y.ctypes.data, grad.ctypes.data])
    convolutions = 0 if direct else (1 if sized else 0) + (1 if s == 1 and dx.size > 0 else 0)
    calls = blocks // BLOCK * inside // WIDTH * (1 + convolutions)
    ahead = np.zeros((parts + len(dx) + 2, 2), np.int64)
    y_numbers, grad_numbers = y.reshape(y.size), grad.reshape(grad.size)
    for n in range(first, last):
        filled, begun, done = 0, 0, 0  # rows of the source; of `spread`; of dx
        for h in range(0, even, 2):
            needed = min(height, (h + 1) * s + pad + 1)
            fill(source, n, filled, needed, padded, inner, pitch)
            filled = needed
            if h + 1 >= rows:
                assign(both[blocks * outside :], np.float32(0))
            for i in range(min(2, rows - h)):
                place = ((n * rows + h + i) * columns) * outer
                _add_norm(
                    grad_numbers, y_numbers, place, columns, outer, result.p, result.q, result.r,
                    both, i * blocks * outside,
                )  # fmt: skip
            at = du_inner + h * du_pitch
            aim_rows(ahead, ZERO, source.parts, source.shape, n, filled + AHEAD, 2 * s, calls)
            aim_rows(ahead, parts, dx, source.shape, n, h * s + AHEAD, 2 * s, calls)
            aim_rows(ahead, parts + len(dx), results, y.shape, n, h + AHEAD, TWO, calls)
            multiply_rows(
                both, ZERO, blocks * outside, weights.matrix, blocks, outer, outside, inside,
                du, at, du_pitch, ahead,
            )  # fmt: skip
            if sized and direct:
                for i in range(2):
                    add_products(
                        padded, (h + i) * pitch, both, i * blocks * outside, blocks, channels,
                        inside, outside, targets.matrix_sums,
                    )  # fmt: skip
            elif sized:
                convolve_and_add_taps(
                    padded, h * s * pitch, pitch, s, weights.taps, offsets, inside, blocks, u,
                    du, at, du_pitch, targets.tap_sums, ahead,
                )  # fmt: skip
                add_products(
                    u, ZERO, both, ZERO, 2 * blocks, channels, inside, outside,
                    targets.matrix_sums,
                )  # fmt: skip
            if dx.size == 0:
                continue
            # Rows of dx that no later row of du adds to are handed on while they are in the cache.
            ready = height if h + 2 >= even else (h + 2) * s - pad
            if s > 1:
                reached = min(tall, (h + 1) * s + d * (k - 1) + 1)
                assign(spread[begun * pitch : reached * pitch], np.float32(0))
                begun = reached
                spread_rows(
                    du, h * du_pitch, du_pitch, weights.taps, offsets, inside, blocks, s, spread,
                    h * s * pitch, pitch,
                )  # fmt: skip
            while done + 2 <= ready or done < ready == height:
                if s == 1 and not direct:
                    convolve_rows(
                        du, done * du_pitch, du_pitch, ONE, weights.mirrored, du_offsets, inside,
                        blocks, u, ahead,
                    )  # fmt: skip
                for i in range(min(2, height - done)):
                    row = inner + (done + i) * pitch
                    if direct:
                        out, at = du, (done + i) * du_pitch
                    else:
                        out, at = (u, i * blocks * inside) if s == 1 else (spread, row)
                    pixel = (n * height + done + i) * width
                    _hand_on(out, at, padded, row, source, pixel, targets)
                done += 2


@helper
def _add_norm(grad, y, start, columns, channels, p, q, r, out, place):
    """A row of p * grad + q * y + r, widened."""
    width = round_up(channels)
    for c in range(0, width, WIDTH):
        pc, qc, rc, left = load(p, c), load(q, c), load(r, c), channels - c
        for w in range(columns):
            m = start + w * channels + c
            v = multiply_add(qc, read(y, m, left), rc)
            v = multiply_add(pc, read(grad, m, left), v)
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
            mean, total, products = zeros(), zeros(), zeros()
            if len(sums) > 0:
                mean = read(source.mean, first, left)
                total, products = read(sums, first, left), read(sums, width + first, left)
            total2, products2 = zeros(), zeros()  # in turns, as in `_finish`
            for w in range(columns):
                m, q = w * width + first, (pixel + w) * share + c
                v = where_positive(read(rectified, place + m, left), read(h, at + m, left))
                if len(sums) > 0:
                    total, total2 = total2, add(total, v)
                    e = subtract(read(part, q, left), mean)
                    products, products2 = products2, multiply_add(v, e, products)
                write(out, q, left, v if fresh else add(read(out, q, left), v))
            if len(sums) > 0:
                write(sums, first, left, add(total, total2))
                write(sums, width + first, left, add(products, products2))


def examples():
    """What computes a part of the images, and arguments of the types that it is called with."""
    numbers, places = np.empty(0, np.float32), np.empty(0, np.int64)
    image, table = np.empty((1, 1, 1, 1), np.float32), np.empty((1, 1), np.float32)
    source = Source(places, (1, 1, 1, 1), numbers, numbers, numbers)
    weights, window = _Weights(numbers, numbers, numbers), _Window(1, 1, 1, True)
    result = _Result(image, image, numbers, numbers, numbers)
    targets = _Targets(places, np.empty(0, np.bool_), True, numbers, numbers, numbers)
    return (
        (_separable, (source, weights, window, 0, 1, image, table, table)),
        (_separable_gradient, (source, weights, window, result, targets, 0, 1)),
    )
