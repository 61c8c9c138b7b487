"""The compiled loops. Importing this file imports numba; compiled on first use, cached on disk.

All arrays are float32 and contiguous. An image tensor (N, C, H, W) in channels-last memory comes
as its R = N * H * W rows of C numbers, (R * C,); what there is one of per channel is (C,). Work is
cut into a fixed number of chunks with partial sums of their own, so that no result depends on the
number of threads. Loops run over slices: numba vectorises none whose index might be negative.
Sums are never reordered by the compiler: it optimises a loop once where it was compiled and twice
where it was read from the cache, and a resumed run would differ from its first half.
"""

import numba
import numpy as np

CHUNKS = 16
MOST_THREADS = numba.get_num_threads()
TILE = 1024  # numbers: a pass works on whole rows of about so many at once
FAST = {"contract", "nsz", "arcp"}


def use_threads(count: int) -> None:
    """Run the loops on this many threads, or as many as numba has."""
    numba.set_num_threads(min(count, MOST_THREADS))


@numba.njit(cache=True)
def _tiled(values):  # type: ignore[no-untyped-def]
    """(C,) -> (copies * C,): the numbers of one row, repeated over a tile."""
    channels = len(values)
    out = np.empty(max(1, TILE // channels) * channels, np.float32)
    for m in range(len(out)):
        out[m] = values[m % channels]
    return out


@numba.njit(cache=True, fastmath=FAST)
def _fold(parts, out):  # type: ignore[no-untyped-def]
    """(CHUNKS, copies * C) partial sums -> out (C,); `parts` is used up."""
    channels = len(out)
    total = parts[0]
    for chunk in range(1, len(parts)):
        part = parts[chunk]
        for m in range(len(total)):
            total[m] += part[m]
    out[:] = 0
    for q in range(len(total) // channels):
        part = total[q * channels : (q + 1) * channels]
        for c in range(channels):
            out[c] += part[c]


@numba.njit(parallel=True, cache=True, fastmath=FAST)
def moments(y, mean, var):  # type: ignore[no-untyped-def]
    """y -> its mean and biased variance (C,).

    Sums are of differences to the first row: no cancellation where the mean is far from zero.
    """
    channels, total = len(mean), len(y)
    shift = _tiled(y[:channels])
    tile = len(shift)
    tiles = (total + tile - 1) // tile
    sums = np.zeros((2, CHUNKS, tile), np.float32)
    for chunk in numba.prange(CHUNKS):
        first, second = sums[0, chunk], sums[1, chunk]
        for t in range(chunk * tiles // CHUNKS, (chunk + 1) * tiles // CHUNKS):
            part = y[t * tile : min((t + 1) * tile, total)]
            for m in range(len(part)):
                d = part[m] - shift[m]
                first[m] += d
                second[m] += d * d
    _fold(sums[0], mean)
    _fold(sums[1], var)
    rows = total // channels
    for c in range(channels):
        one = mean[c] / rows
        mean[c] = y[c] + one
        var[c] = max(var[c] / rows - one * one, np.float32(0))


@numba.njit(parallel=True, cache=True, fastmath=FAST)
def scale_add(y, scale, shift, out, fresh):  # type: ignore[no-untyped-def]
    """out += scale * y + shift; `fresh`: out is written, not added to."""
    total = len(y)
    a, b = _tiled(scale), _tiled(shift)
    tile = len(a)
    tiles = (total + tile - 1) // tile
    for chunk in numba.prange(CHUNKS):
        for t in range(chunk * tiles // CHUNKS, (chunk + 1) * tiles // CHUNKS):
            part, o = y[t * tile : min((t + 1) * tile, total)], out[t * tile :]
            if fresh:
                for m in range(len(part)):
                    o[m] = a[m] * part[m] + b[m]
            else:
                for m in range(len(part)):
                    o[m] += a[m] * part[m] + b[m]


@numba.njit(parallel=True, cache=True, fastmath=FAST)
def product_sums(g, y, mean, zero, one):  # type: ignore[no-untyped-def]
    """zero (C,) = sum of g, one (C,) = sum of g * (y - mean), over the rows."""
    total = len(g)
    centre = _tiled(mean)
    tile = len(centre)
    tiles = (total + tile - 1) // tile
    sums = np.zeros((2, CHUNKS, tile), np.float32)
    for chunk in numba.prange(CHUNKS):
        first, second = sums[0, chunk], sums[1, chunk]
        for t in range(chunk * tiles // CHUNKS, (chunk + 1) * tiles // CHUNKS):
            slope, part = g[t * tile : min((t + 1) * tile, total)], y[t * tile :]
            for m in range(len(slope)):
                first[m] += slope[m]
                second[m] += slope[m] * (part[m] - centre[m])
    _fold(sums[0], zero)
    _fold(sums[1], one)


@numba.njit(parallel=True, cache=True, fastmath=FAST)
def norm_gradient(g, y, p, q, r, out):  # type: ignore[no-untyped-def]
    """out = p * g + q * y + r."""
    total = len(g)
    ps, qs, rs = _tiled(p), _tiled(q), _tiled(r)
    tile = len(ps)
    tiles = (total + tile - 1) // tile
    for chunk in numba.prange(CHUNKS):
        for t in range(chunk * tiles // CHUNKS, (chunk + 1) * tiles // CHUNKS):
            slope, part = g[t * tile : min((t + 1) * tile, total)], y[t * tile :]
            o = out[t * tile :]
            for m in range(len(slope)):
                o[m] = ps[m] * slope[m] + qs[m] * part[m] + rs[m]


@numba.njit(parallel=True, cache=True, fastmath=FAST)
def scale_relu(y, scale, shift, out):  # type: ignore[no-untyped-def]
    """out = max(scale * y + shift, 0)."""
    total = len(y)
    a, b = _tiled(scale), _tiled(shift)
    tile = len(a)
    tiles = (total + tile - 1) // tile
    for chunk in numba.prange(CHUNKS):
        for t in range(chunk * tiles // CHUNKS, (chunk + 1) * tiles // CHUNKS):
            part, o = y[t * tile : min((t + 1) * tile, total)], out[t * tile :]
            for m in range(len(part)):
                o[m] = max(a[m] * part[m] + b[m], np.float32(0))


@numba.njit(parallel=True, cache=True, fastmath=FAST)
def scale_relu_sums(y, scale, shift, mean, g, zero, one):  # type: ignore[no-untyped-def]
    """`product_sums` of g where scale * y + shift > 0, and of 0 elsewhere."""
    total = len(y)
    a, b, centre = _tiled(scale), _tiled(shift), _tiled(mean)
    tile = len(a)
    tiles = (total + tile - 1) // tile
    sums = np.zeros((2, CHUNKS, tile), np.float32)
    for chunk in numba.prange(CHUNKS):
        first, second = sums[0, chunk], sums[1, chunk]
        for t in range(chunk * tiles // CHUNKS, (chunk + 1) * tiles // CHUNKS):
            part, slope = y[t * tile : min((t + 1) * tile, total)], g[t * tile :]
            for m in range(len(part)):
                v = slope[m] if a[m] * part[m] + b[m] > 0 else np.float32(0)
                first[m] += v
                second[m] += v * (part[m] - centre[m])
    _fold(sums[0], zero)
    _fold(sums[1], one)


@numba.njit(parallel=True, cache=True, fastmath=FAST)
def scale_relu_gradient(y, scale, shift, g, p, q, r):  # type: ignore[no-untyped-def]
    """g becomes p * g where scale * y + shift > 0 (else 0), plus q * y + r."""
    total = len(y)
    a, b = _tiled(scale), _tiled(shift)
    tile = len(a)
    tiles = (total + tile - 1) // tile
    ps, qs, rs = _tiled(p), _tiled(q), _tiled(r)
    for chunk in numba.prange(CHUNKS):
        for t in range(chunk * tiles // CHUNKS, (chunk + 1) * tiles // CHUNKS):
            part, slope = y[t * tile : min((t + 1) * tile, total)], g[t * tile :]
            for m in range(len(part)):
                v = slope[m] if a[m] * part[m] + b[m] > 0 else np.float32(0)
                slope[m] = ps[m] * v + qs[m] * part[m] + rs[m]


@numba.njit(parallel=True, cache=True, fastmath=FAST)
def depthwise_weight_gradient(x, g, weight, s, d):  # type: ignore[no-untyped-def]
    """x (N, H, W, C), g (N, OH, OW, C) -> the gradient of weight (C, k, k), written into it.

    Every padded row is split into its s phases, so that the innermost loop runs over adjacent
    numbers whatever the stride; four rows are added at once, to save traffic.
    """
    count, height, width, channels = x.shape
    rows, columns = g.shape[1], g.shape[2]
    k = weight.shape[1]
    pad = d * (k - 1) // 2
    length = columns * channels
    sums = np.zeros((k * k, CHUNKS, length), np.float32)
    phase_length = (columns + (d * (k - 1)) // s + 1) * channels
    for q in numba.prange(CHUNKS):
        padded = np.zeros((height + 2 * pad + s, s, phase_length), np.float32)
        for n in range(q * count // CHUNKS, (q + 1) * count // CHUNKS):
            for h in range(height):
                if s == 1:
                    line = x[n, h].reshape(width * channels)
                    inner = padded[h + pad, 0, pad * channels : (pad + width) * channels]
                    for m in range(len(line)):
                        inner[m] = line[m]
                    continue
                for w in range(width):
                    phase = (w + pad) % s
                    place = ((w + pad) // s) * channels
                    if place + channels <= phase_length:
                        for c in range(channels):
                            padded[h + pad, phase, place + c] = x[n, h, w, c]
            out = g[n].reshape(rows * length)
            for h in range(0, rows - 3, 4):
                g0 = out[h * length : (h + 1) * length]
                g1 = out[(h + 1) * length : (h + 2) * length]
                g2 = out[(h + 2) * length : (h + 3) * length]
                g3 = out[(h + 3) * length : (h + 4) * length]
                for i in range(k):
                    row = h * s + i * d
                    for j in range(k):
                        phase = (j * d) % s
                        start = ((j * d) // s) * channels
                        t = sums[i * k + j, q]
                        x0 = padded[row, phase, start : start + length]
                        x1 = padded[row + s, phase, start : start + length]
                        x2 = padded[row + 2 * s, phase, start : start + length]
                        x3 = padded[row + 3 * s, phase, start : start + length]
                        for m in range(length):
                            t[m] += g0[m] * x0[m] + g1[m] * x1[m] + g2[m] * x2[m] + g3[m] * x3[m]
            for h in range(rows - rows % 4, rows):
                g0 = out[h * length : (h + 1) * length]
                for i in range(k):
                    for j in range(k):
                        start = ((j * d) // s) * channels
                        t = sums[i * k + j, q]
                        x0 = padded[h * s + i * d, (j * d) % s, start : start + length]
                        for m in range(length):
                            t[m] += g0[m] * x0[m]
    found = np.empty(channels, np.float32)
    for t in range(k * k):
        _fold(sums[t], found)
        weight[:, t // k, t % k] = found


@numba.njit(parallel=True, cache=True, fastmath=FAST)
def depthwise_input_gradient(g, weight, out, s, d):  # type: ignore[no-untyped-def]
    """g (N, OH, OW, C), weight (C, k, k) -> the gradient of the input, out (N, H, W, C).

    Each row is summed in its s phases, so that the innermost loop runs over adjacent numbers.
    """
    count, height, width, channels = out.shape
    rows, columns = g.shape[1], g.shape[2]
    k = weight.shape[1]
    pad = d * (k - 1) // 2
    length = columns * channels
    taps = np.empty((k * k, length), np.float32)
    for i in range(k * k):
        for m in range(length):
            taps[i, m] = weight[m % channels, i // k, i % k]
    # Column w = s (o + shift) + phase of the input meets column o of the result.
    side = (d * (k - 1)) // s + 1
    for q in numba.prange(CHUNKS):
        padded = np.empty((s, (columns + 2 * side) * channels), np.float32)
        for n in range(q * count // CHUNKS, (q + 1) * count // CHUNKS):
            for h in range(height):
                padded[:] = 0
                for i in range(k):
                    o = h + pad - i * d
                    if o % s or o < 0 or o // s >= rows:
                        continue
                    slope = g[n, o // s].reshape(length)
                    for j in range(k):
                        phase = (j * d - pad) % s
                        start = ((j * d - pad - phase) // s + side) * channels
                        tap, t = taps[i * k + j], padded[phase, start : start + length]
                        for m in range(length):
                            t[m] += tap[m] * slope[m]
                for w in range(width):
                    start = (w // s + side) * channels
                    part, pixel = padded[w % s, start : start + channels], out[n, h, w]
                    for c in range(channels):
                        pixel[c] = part[c]
