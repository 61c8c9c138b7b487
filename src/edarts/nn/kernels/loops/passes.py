"""Passes over whole tensors: batch norm, pooling, weighted sums and their gradients."""

import numba
import numpy as np

from edarts.nn.kernels.loops.pieces import (
    CHUNKS,
    FAST,
    TILE,
    ZERO,
    assign,
    chunk_sums,
    fold,
    narrow,
    read,
    round_up,
    scratch,
    widen,
    write,
)
from edarts.nn.kernels.loops.vectors import (
    WIDTH,
    add,
    array_at,
    divide,
    helper,
    load,
    maximum,
    repeat,
    store,
    subtract,
    where_equal,
    where_positive,
    zeros,
)


@numba.njit(cache=True)
def norm(moments, rows, eps, momentum, counter, running_mean, running_var, weight, bias, out):
    """out (4, C): mean, s = 1 / standard deviation, scale and shift of the norm of `rows` rows.

    It computes scale * y + shift. `moments` (2, C): mean and biased variance, towards which the
    running ones move by `momentum`, or as the mean of all steps if that is negative; `counter` (1,)
    counts them. They, `weight` and `bias` are empty where there are none.
    """
    share = momentum
    if len(counter) > 0:
        counter[0] += 1
        if momentum < 0:
            share = 1 / counter[0]
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
def weigh(norm, factors, place, out):
    """out[place] (4, C): the norm, see there, times factors[place]."""
    for c in range(norm.shape[1]):
        out[place, 0, c], out[place, 1, c] = norm[0, c], norm[1, c]
        out[place, 2, c] = norm[2, c] * factors[place]
        out[place, 3, c] = norm[3, c] * factors[place]


@numba.njit(cache=True)
def norm_grad_factors(norm, sum_grad, sum_grad_y, rows, factors, place, pqr, grads):
    """pqr (3, C): the gradient of y is p * grad + q * y + r, if that of factor * norm is grad.

    `factors` (T,), of which this norm's is at `place`. `sum_grad` (C,): sum of grad over the rows;
    `sum_grad_y` (C,): that of grad * (y - mean), which becomes that of grad * n, n being the normed
    y. `grads` (2, C): the gradients of weight and bias; without columns: not wanted. A norm without
    columns changes nothing.
    """
    factor = np.float64(factors[place])
    for c in range(pqr.shape[1]):
        if norm.shape[1] == 0:
            pqr[0, c], pqr[1, c], pqr[2, c] = factor, np.float32(0), np.float32(0)
            continue
        mean, s, scale = norm[0, c], norm[1, c], norm[2, c]
        sum_grad_y[c] *= s
        q = -factor * scale * s * sum_grad_y[c] / rows
        pqr[0, c], pqr[1, c] = factor * scale, q
        pqr[2, c] = -factor * scale * sum_grad[c] / rows - q * mean
        if grads.shape[1] > 0:
            grads[0, c], grads[1, c] = factor * sum_grad_y[c], factor * sum_grad[c]


@numba.njit(cache=True)
def factor_gradient(weight, bias, sum_grad, sum_grad_n, place, out):
    """out[place] (T,): the gradient of a norm's factor, from the sums over the rows of grad and of
    grad * n; `weight` and `bias` are empty where there are none.
    """
    total = np.float64(0)
    for c in range(len(sum_grad)):
        if len(weight) > 0:
            total += weight[c] * sum_grad_n[c] + bias[c] * sum_grad[c]
        else:
            total += sum_grad_n[c]
    out[place] = total


@numba.njit(cache=True)
def diagonal(first, second, both, forward):
    """both (D + D', C + C'): first (D, C) and second (D', C') in its corners, or, if not `forward`,
    those from there.
    """
    rows, columns = first.shape
    for i in range(rows):
        for j in range(columns):
            if forward:
                both[i, j] = first[i, j]
            else:
                first[i, j] = both[i, j]
    for i in range(second.shape[0]):
        for j in range(second.shape[1]):
            if forward:
                both[rows + i, columns + j] = second[i, j]
            else:
                second[i, j] = both[rows + i, columns + j]


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
    wide, pad, read_rows = round_up(channels), k // 2, (rows - 1) * s + k
    pitch, line = max((columns - 1) * s + k, width + pad) * wide, columns * wide
    tall = max(read_rows, height + pad)
    padded = scratch(tall * pitch)
    assign(padded, np.float32(-np.inf))
    spread = scratch(0 if forward else tall * pitch)
    most = scratch(read_rows * line)  # of the k columns that a row of a window has
    share = scratch(0 if forward else read_rows * line)  # of the gradient, that falls on it
    inner = pad * pitch + pad * wide
    registers = k == 3 and s == 1  # hold the sums of a row, which is written once
    source, result, grad = x.reshape(x.size), out.reshape(out.size), outer.reshape(outer.size)
    for n in range(first, last):
        if not registers:
            assign(spread, np.float32(0))
        assign(share, np.float32(0))
        for h in range(height):
            start = (n * height + h) * width * channels
            widen(source, start, width, channels, padded, inner + h * pitch, wide)
        for h in range(read_rows):
            for c in range(0, wide, WIDTH):
                for w in range(columns):
                    v = _largest(padded, h * pitch + w * s * wide + c, k, wide)
                    store(most, h * line + w * wide + c, v)
        for h in range(rows):
            place = (n * rows + h) * columns * channels
            for c in range(0, wide, WIDTH):
                start, left = h * s * line + c, channels - c
                for w in range(columns):
                    v = _largest(most, start + w * wide, k, line)
                    m = place + w * channels + c
                    if forward:
                        write(result, m, left, v)
                    else:
                        _share(most, start + w * wide, v, read(grad, m, left), k, line, share)
        if forward:
            continue
        # Of equal numbers the first row's was taken; of those in a row, the first is.
        for h in range(read_rows):
            for c in range(0, wide, WIDTH):
                if registers:
                    _share_row(
                        padded, h * pitch + c, most, share, h * line + c, columns, wide, spread
                    )
                    continue
                for w in range(columns):
                    m, q = h * line + w * wide + c, h * pitch + w * s * wide + c
                    _share(padded, q, load(most, m), load(share, m), k, wide, spread)
        for h in range(height):
            start = (n * height + h) * width * channels
            narrow(spread, inner + h * pitch, width, channels, result, start, fresh, wide)


@numba.njit(parallel=True, cache=True)
def pixel_means(x, rectified, outer, out, forward, fresh):
    """The mean of all pixels of x (N, H, W, C), after a ReLU if `rectified`: out (N, C).

    Or, if not `forward`, its gradient: out (N, H, W, C), from `outer` (N, C), that of the result;
    added to what is there, unless `fresh`.
    """
    count = x.shape[0]
    numbers, result, grad = x.reshape(x.size), out.reshape(out.size), outer.reshape(outer.size)
    for chunk in numba.prange(CHUNKS):
        first, last = chunk * count // CHUNKS, (chunk + 1) * count // CHUNKS
        if first < last:
            _pixel_means(numbers, x.shape, first, last, rectified, grad, result, forward, fresh)


@numba.njit(cache=True)
def _pixel_means(x, shape, first, last, rectified, grad, out, forward, fresh):
    _, height, width, channels = shape
    size = height * width * channels
    pixels = scratch(1)
    pixels[0] = height * width
    some = repeat(pixels, ZERO)
    for n in range(first, last):
        for c in range(0, channels, WIDTH):
            left, m = channels - c, n * channels + c
            if forward:
                total = zeros()
                for q in range(n * size + c, (n + 1) * size, channels):
                    v = read(x, q, left)
                    total = add(total, where_positive(v, v) if rectified else v)
                write(out, m, left, divide(total, some))
            else:
                share = divide(read(grad, m, left), some)
                for q in range(n * size + c, (n + 1) * size, channels):
                    v = where_positive(read(x, q, left), share) if rectified else share
                    write(out, q, left, v if fresh else add(read(out, q, left), v))


def examples():
    """What pools a part of the images, and arguments of the types that it is called with."""
    x = np.empty((1, 1, 1, 1), np.float32)
    arguments = x, 0, 1, 1, 1, x, x, True, True
    numbers = np.empty(1, np.float32)
    means = numbers, x.shape, 0, 1, True, numbers, numbers, True, True
    return (_max_pool, arguments), (_average_pool, arguments), (_pixel_means, means)


@helper
def _largest(x, start, count, step):
    """The largest of `count` vectors, `step` numbers apart."""
    if count == 3:  # the usual window, without a loop
        return maximum(load(x, start + 2 * step), maximum(load(x, start + step), load(x, start)))
    v = load(x, start)
    for i in range(1, count):
        v = maximum(load(x, start + i * step), v)
    return v


@helper
def _share(x, start, most, grad, count, step, spread):
    """Add `grad` where the first of `count` vectors, `step` numbers apart, is the largest."""
    if count == 3:
        grad = _share_pixel(x, start, most, grad, spread)
        grad = _share_pixel(x, start + step, most, grad, spread)
        _share_pixel(x, start + 2 * step, most, grad, spread)
    else:
        for i in range(count):
            grad = _share_pixel(x, start + i * step, most, grad, spread)


@helper
def _share_row(x, start, most, grad, place, columns, step, spread):
    """`_share` of all windows of three, one `step` apart, whose sums stay in registers."""
    first, second = load(x, start), load(x, start + step)
    total, next_total = zeros(), zeros()
    for w in range(columns):
        m, g = load(most, place + w * step), load(grad, place + w * step)
        third = load(x, start + (w + 2) * step)
        a = where_equal(first, m, g)
        g = subtract(g, a)
        b = where_equal(second, m, g)
        store(spread, start + w * step, add(total, a))
        total, next_total = add(next_total, b), where_equal(third, m, subtract(g, b))
        first, second = second, third
    store(spread, start + columns * step, total)
    store(spread, start + (columns + 1) * step, next_total)


@helper
def _share_pixel(x, q, most, grad, spread):
    """What is left of the gradient after one of them."""
    share = where_equal(load(x, q), most, grad)
    store(spread, q, add(load(spread, q), share))
    return subtract(grad, share)


@numba.njit(parallel=True, cache=True)
def average_pool(x, k, s, outer, out, forward, fresh):
    """The mean of what each k x k window has of x (N, H, W, C), stride s: out (N, H', W', C).

    Or, if not `forward`, its gradient: out (N, H, W, C), from `outer` (N, H', W', C), that of the
    result; added to what is there, unless `fresh`. Then only the shape of x counts. k: odd.
    """
    count = x.shape[0]
    for chunk in numba.prange(CHUNKS):
        first, last = chunk * count // CHUNKS, (chunk + 1) * count // CHUNKS
        if first < last:
            _average_pool(x, first, last, k, s, outer, out, forward, fresh)


@numba.njit(cache=True)
def _average_pool(x, first, last, k, s, outer, out, forward, fresh):
    _, height, width, channels = x.shape
    rows, columns = (height + s - 1) // s, (width + s - 1) // s
    wide, pad, read_columns = round_up(channels), k // 2, (columns - 1) * s + k
    pitch = max(read_columns, width + pad) * wide
    padded = scratch(max((rows - 1) * s + k, height + pad) * pitch)
    row = scratch(read_columns * wide)  # the sum of k rows, or what is added to them
    pixels = scratch(1)  # of a window, that lie in the image
    inner = pad * pitch + pad * wide
    source, result, grad = x.reshape(x.size), out.reshape(out.size), outer.reshape(outer.size)
    for n in range(first, last):
        if not forward:
            assign(padded, np.float32(0))
        for h in range(height if forward else 0):
            start = (n * height + h) * width * channels
            widen(source, start, width, channels, padded, inner + h * pitch, wide)
        for h in range(rows):
            place, top = (n * rows + h) * columns * channels, h * s * pitch
            tall = min(h * s - pad + k, height) - max(h * s - pad, 0)
            for c in range(0, wide, WIDTH):
                for w in range(read_columns):
                    total = zeros()
                    for i in range(k if forward else 0):
                        total = add(total, load(padded, top + i * pitch + w * wide + c))
                    store(row, w * wide + c, total)
                for w in range(columns):
                    broad = min(w * s - pad + k, width) - max(w * s - pad, 0)
                    pixels[0] = tall * broad
                    some = repeat(pixels, ZERO)
                    m, left = place + w * channels + c, channels - c
                    if forward:
                        total = zeros()
                        for j in range(k):
                            total = add(total, load(row, (w * s + j) * wide + c))
                        write(result, m, left, divide(total, some))
                    else:
                        share = divide(read(grad, m, left), some)
                        for j in range(k):
                            q = (w * s + j) * wide + c
                            store(row, q, add(load(row, q), share))
                for i in range(0 if forward else k):
                    for w in range(read_columns):
                        q = top + i * pitch + w * wide + c
                        store(padded, q, add(load(padded, q), load(row, w * wide + c)))
        for h in range(0 if forward else height):
            start = (n * height + h) * width * channels
            narrow(padded, inner + h * pitch, width, channels, result, start, fresh, wide)


@numba.njit(parallel=True, cache=True)
def halves(x, even, odd, forward, fresh):
    """x (N, H, W, C) -> its even rows and columns and its odd ones, (N, H', W', C).

    H' = ceil(H / 2); zeros stand where x has none. Or, if not `forward`, the gradient of x from
    those of its halves; added, unless `fresh`.
    """
    count, height, width, channels = even.shape
    down, right = x.shape[1], x.shape[2] * channels
    whole, here, there = x.reshape(-1), even.reshape(-1), odd.reshape(-1)
    for n in numba.prange(count):
        image, half = n * down * right, n * height * width * channels
        if forward and (height > down // 2 or width > x.shape[2] // 2):
            assign(there[half : half + height * width * channels], np.float32(0))
        if fresh and not forward:
            assign(whole[image : image + down * right], np.float32(0))
        for h in range(height):
            q, m = image + 2 * h * right, half + h * width * channels
            _every_other(whole, q, here, m, width, channels, forward, fresh)
            if 2 * h + 1 < down:
                columns = x.shape[2] // 2
                _every_other(
                    whole, q + right + channels, there, m, columns, channels, forward, fresh
                )


@helper
def _every_other(x, start, half, place, columns, channels, forward, fresh):
    """Every other pixel of a row of x into a row of `columns`, or the gradient of that there."""
    for w in range(columns):
        q, m = start + 2 * w * channels, place + w * channels
        for c in range(0, channels, WIDTH):
            left = channels - c
            if forward:
                write(half, m + c, left, read(x, q + c, left))
            elif fresh:
                write(x, q + c, left, read(half, m + c, left))
            else:
                total = add(read(x, q + c, left), read(half, m + c, left))
                write(x, q + c, left, total)


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
def weighted_sum(addresses, norms, out, fresh):
    """out (R * C,) = sum over T arrays of scale * array + shift; `norms` (T, 4, C): see `norm`.

    Added to what is there, unless `fresh`. `addresses` (T,): of arrays of out's size; all are read
    in one pass.
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
                o[m] = bias[m] if fresh else o[m] + bias[m]
            for i in range(count):
                a, part = factors[i], array_at(addresses[i], total)[t * tile :]
                for m in range(len(o)):
                    o[m] += a[m] * part[m]


@numba.njit(parallel=True, cache=True, fastmath=FAST)
def product_sums(grad, addresses, norms, sum_grad, sum_grad_y):
    """Sums over the rows of grad (R * C,): sum_grad (C,) of it, sum_grad_y (T, C) of its products.

    Those are grad * (array - mean); `addresses` (T,): of arrays of grad's size; `norms` (T, 4, C):
    see `norm`.
    """
    total, count, channels = len(grad), len(addresses), len(sum_grad)
    tile = max(1, TILE // channels) * channels
    tiles = (total + tile - 1) // tile
    centres = _tiled_rows(norms[:, 0].copy())
    sums, products = chunk_sums(tile), chunk_sums(count * tile)
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
