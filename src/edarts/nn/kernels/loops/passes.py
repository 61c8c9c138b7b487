"""Passes over whole tensors: batch norm, pooling, weighted sums and their gradients."""

import numba
import numpy as np

from edarts.nn.kernels.loops.pieces import (
    CHUNKS,
    FAST,
    ONE,
    TILE,
    YES,
    ZERO,
    assign,
    chunk_sums,
    fold,
    narrow,
    round_up,
    scratch,
    tap_offsets,
    widen,
)
from edarts.nn.kernels.loops.vectors import (
    WIDTH,
    add,
    array_at,
    helper,
    load,
    maximum,
    store,
    subtract,
    where_equal,
)


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
    wide, pad = round_up(channels), k // 2
    pitch = max((columns - 1) * s + k, width + pad) * wide
    tall = max((rows - 1) * s + k, height + pad)
    padded = scratch(tall * pitch)
    assign(padded, np.float32(-np.inf))
    spread = scratch(0 if forward else tall * pitch)
    row, most = scratch(columns * wide), scratch(columns * wide)
    inner, offsets = pad * pitch + pad * wide, tap_offsets(k, ONE, pitch, wide)
    source, result, grad = x.reshape(x.size), out.reshape(out.size), outer.reshape(outer.size)
    for n in range(first, last):
        assign(spread, np.float32(0))
        for h in range(height):
            start = (n * height + h) * width * channels
            widen(source, start, width, channels, padded, inner + h * pitch, wide)
        for h in range(rows):
            place = (n * rows + h) * columns * channels
            if not forward:
                widen(grad, place, columns, channels, row, ZERO, wide)
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
                narrow(most, ZERO, columns, channels, result, place, YES, wide)
        if not forward:
            for h in range(height):
                start = (n * height + h) * width * channels
                narrow(spread, inner + h * pitch, width, channels, result, start, fresh, wide)


@helper
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


@numba.njit(parallel=True, cache=True)
def halves(x, even, odd, forward, fresh):
    """x (N, H, W, C) -> its even rows and columns and its odd ones, (N, H / 2, W / 2, C).

    Or, if not `forward`, the gradient of x from those of its halves; added, unless `fresh`.
    """
    count, height, width, channels = even.shape
    for n in numba.prange(count):
        if not forward and fresh:
            assign(x[n].reshape(x[n].size), np.float32(0))
        for h in range(height):
            for w in range(width):
                for c in range(channels):
                    if forward:
                        even[n, h, w, c] = x[n, 2 * h, 2 * w, c]
                        odd[n, h, w, c] = x[n, 2 * h + 1, 2 * w + 1, c]
                    else:
                        x[n, 2 * h, 2 * w, c] += even[n, h, w, c]
                        x[n, 2 * h + 1, 2 * w + 1, c] += odd[n, h, w, c]


@numba.njit(cache=True)
def _tiled(values):
    """(C,) -> (copies * C,): the numbers of one row, repeated over a tile."""
    channels = len(values)
    out = scratch(max(1, TILE // channels) * channels)
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
    total = fold(parts)
    assign(out, np.float32(0))
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
    firsts, seconds = chunk_sums(tile), chunk_sums(tile)
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
    centres, sums, products = _tiled_rows(means), chunk_sums(tile), chunk_sums(count * tile)
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
