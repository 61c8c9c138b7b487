"""A network on one image: every step of it in one call, without Python between.

A step is a row of a program: what it does, the addresses of what it reads and writes, and sizes.
Norms are part of it: those before a convolution as its scale and shift, those after it in its
matrix and bias.
"""

import numba
import numpy as np

from edarts.nn.kernels.loops.pieces import BLOCK, ONE, ZERO, read, round_up, widen, write
from edarts.nn.kernels.loops.rows import convolve_pixels
from edarts.nn.kernels.loops.stages import Source, fill, mix_rows, sides
from edarts.nn.kernels.loops.vectors import (
    WIDTH,
    add,
    array_at,
    divide,
    helper,
    load,
    maximum,
    multiply,
    multiply_add,
    repeat,
    store,
    subtract,
    where_positive,
    zeros,
)

SEPARABLE, DENSE, ADD, MAX_POOL, AVERAGE_POOL, PICK, JOIN, MEAN = range(8)
NOTHING, RELU, GELU = range(3)  # after a dense convolution
# `kind`: of the step. `fresh`: whether it replaces what was there; else it adds to it. `parts` that
# it reads, of `height`, `width` and `channels` each; `rows` and `columns` of its result, of `outer`
# channels. `k`, `s`, `d`, `pad`: window, stride, dilation, rows around; a separable step without a
# window has no depthwise convolution; of PICK, `d` is the first row and column. `after`: the
# activation. The others are addresses; `padded`, `u` and `v`: of room to work in.
FIELDS = (
    *("kind", "fresh", "parts", "height", "width", "channels", "rows", "columns", "outer"),
    *("k", "s", "d", "pad", "after"),
    *("out", "scale", "shift", "taps", "matrix", "bias", "padded", "u", "v"),
)
STEP = np.dtype([(name, np.int64) for name in FIELDS])
WIDEST = 32  # side of the largest window of a pool
MOST = WIDEST * WIDEST  # its pixels
SHARES = np.array([0.0, *(1 / n for n in range(1, MOST + 1))], np.float32)

# The normal distribution's Phi(x) - 1/2 = x P(x^2) / Q(x^2), to 4e-9 up to |x| = 5.3, from where on
# it is 1/2 in float32: a fit by least squares with weights that even out the error. From the last.
P = np.array(
    [2.40502527973746e-08, 6.37907604966562e-06, 1.6033561864577488e-04, 4.628000190161513e-03,
     3.2935883436491654e-02, 3.989422540780315e-01], np.float32,
)  # fmt: skip
Q = np.array(
    [1.2371680478077825e-06, 7.135272131747968e-05, 1.8365777749577063e-03, 2.813888275711833e-02,
     2.492242455425009e-01, 1.0], np.float32,
)  # fmt: skip
BOUNDS = np.array([-5.3, 0.5], np.float32)


@numba.njit(cache=True)
def run(program, sources, offsets):
    """Do the steps (S,) of type STEP.

    `sources` (S, P): the addresses of what each reads; `offsets` (S, T): where its taps read.
    """
    for i in range(len(program)):
        step = program[i]
        parts = sources[i, : step.parts]
        if step.kind == SEPARABLE:
            _separable(step, parts, offsets[i, : step.k * step.k], sources[:0])
        elif step.kind == DENSE:
            _dense(step, parts[0], offsets[i, : step.k * step.k])
        elif step.kind == ADD:
            _add(step, parts[0])
        elif step.kind == PICK:
            _pick(step, parts[0])
        elif step.kind == JOIN:
            _join(step, parts)
        elif step.kind == MEAN:
            _mean(step, parts[0])
        else:
            _pool(step, parts[0])


@helper
def _separable(step, parts, offsets, nothing):
    """out (+)= depthwise, then 1 x 1 convolution of max(scale * x + shift, 0), and a bias.

    `nothing` to bring nearer: an image lies in the cache.
    """
    height, width, outer = step.height, step.width, step.outer
    channels = step.parts * step.channels
    k, s, d, direct = max(step.k, ONE), step.s, step.d, step.k == 0
    inside, outside = round_up(channels), round_up(outer)
    rows, columns, even, blocks, tall, broad = sides(height, width, k, s, d)
    pad, pitch = d * (k - 1) // 2, broad * inside
    inner = pad * pitch + pad * inside
    scale, shift = array_at(step.scale, inside), array_at(step.shift, inside)
    source = Source(parts, (ONE, height, width, step.channels), scale, shift, shift)
    taps = array_at(step.taps, k * k * inside)
    matrix, bias = (
        array_at(step.matrix, inside * outside),
        array_at(step.bias, outside if step.bias > 0 else 0),
    )
    out = array_at(step.out, rows * columns * outer)
    padded = array_at(step.padded, tall * pitch)  # zeros, but for what `fill` writes each time
    u, v = array_at(step.u, 2 * blocks * inside), array_at(step.v, 2 * blocks * outside)
    # Rows that need no more than to be written are written where they belong.
    whole = outer == outside and columns == blocks and rows == even
    straight = whole and step.fresh != 0 and step.bias == 0
    target, pitches = (out, columns * outer) if straight else (v, blocks * outside)
    filled = 0
    for h in range(0, even, 2):
        needed = min(height, (h + 1) * s + pad + 1)
        fill(source, ZERO, filled, needed, padded, inner, pitch)
        filled = needed
        mix_rows(
            padded, h, pitch, taps, matrix, s, direct, offsets, blocks, channels, inside, outside,
            u, target, h * columns * outer if straight else 0, pitches, nothing,
        )  # fmt: skip
        for r in range(0 if straight else min(2, rows - h)):
            place = (h + r) * columns * outer
            _emit(v, r * blocks * outside, columns, outer, outside, bias, out, place, step.fresh)


@helper
def _emit(v, start, columns, channels, width, bias, out, place, fresh):
    """A row of v (columns, width) and a bias, if there is one, into the result: its channels."""
    for c in range(0, channels, WIDTH):
        b, left = load(bias, c) if len(bias) > 0 else zeros(), channels - c
        for w in range(columns):
            x, m = add(load(v, start + w * width + c), b), place + w * channels + c
            write(out, m, left, x if fresh else add(read(out, m, left), x))


@helper
def _dense(step, address, offsets):
    """out = a convolution of all channels and its bias, and the activation after it.

    Room for a row and for pixels is rounded up as `dense_sizes` says.
    """
    channels, outer, s, pad = step.channels, step.outer, step.s, step.pad
    outside, blocks, tall, pitch = dense_sizes(
        step.height, step.width, channels, step.rows, step.columns, outer, step.k, s, pad
    )
    row = step.width * channels
    x, padded = array_at(address, step.height * row), array_at(step.padded, tall * pitch)
    for h in range(step.height):
        widen(x, h * row, ONE, row, padded, (h + pad) * pitch + pad * channels, row)
    matrix, bias = (
        array_at(step.matrix, step.k * step.k * channels * outside),
        array_at(step.bias, outside),
    )
    v = array_at(step.v, blocks * outside)
    out, nothing = array_at(step.out, step.rows * step.columns * outer), bias[:0]
    for h in range(step.rows):
        convolve_pixels(
            padded, h * s * pitch, s * channels, offsets, channels, matrix, bias, outside, blocks,
            v, ZERO,
        )  # fmt: skip
        if step.after == RELU:
            for m in range(0, len(v), WIDTH):
                store(v, m, where_positive(load(v, m), load(v, m)))
        elif step.after == GELU:
            for m in range(0, len(v), WIDTH):
                store(v, m, _gelu(load(v, m)))
        _emit(v, ZERO, step.columns, outer, outside, nothing, out, h * step.columns * outer, ONE)


@numba.njit(cache=True)
def dense_sizes(height, width, channels, rows, columns, outer, k, s, pad):
    """Of `_dense`: channels of its matrix, columns of its row, rows and pitch of its source."""
    outside = max(round_up(outer), 3 * WIDTH)
    blocks = (columns + BLOCK - 1) // BLOCK * BLOCK
    tall = max((rows - 1) * s + k, height + pad)
    broad = max((blocks - 1) * s + k, width + pad)
    return outside, blocks, tall, broad * channels


@helper
def _gelu(x):
    """x * Phi(x), to 6e-7; below the least bound it stays what it is there."""
    least, half = repeat(BOUNDS, 0), repeat(BOUNDS, 1)
    x = maximum(x, least)
    y = subtract(zeros(), maximum(subtract(zeros(), x), least))
    square, p, q = multiply(y, y), repeat(P, 0), repeat(Q, 0)
    for i in range(1, len(P)):
        p, q = multiply_add(p, square, repeat(P, i)), multiply_add(q, square, repeat(Q, i))
    return multiply(x, multiply_add(y, divide(p, q), half))


@helper
def _add(step, address):
    """out (+)= scale * x + shift."""
    channels, pixels = step.channels, step.height * step.width
    x, out = array_at(address, pixels * channels), array_at(step.out, pixels * channels)
    scale, shift = (
        array_at(step.scale, round_up(channels)),
        array_at(step.shift, round_up(channels)),
    )
    for c in range(0, channels, WIDTH):
        a, b, left = load(scale, c), load(shift, c), channels - c
        for m in range(c, pixels * channels, channels):
            y = multiply_add(a, read(x, m, left), b)
            write(out, m, left, y if step.fresh else add(read(out, m, left), y))


@helper
def _pool(step, address):
    """The largest, or the mean, of each k x k window, of what of it lies within the image."""
    height, width, channels, k, s = step.height, step.width, step.channels, step.k, step.s
    x = array_at(address, height * width * channels)
    out = array_at(step.out, step.rows * step.columns * channels)
    for h in range(step.rows):
        top, bottom = max(h * s - step.pad, 0), min(h * s - step.pad + k, height)
        for w in range(step.columns):
            left, right = max(w * s - step.pad, 0), min(w * s - step.pad + k, width)
            share = repeat(SHARES, (bottom - top) * (right - left))
            for c in range(0, channels, WIDTH):
                some, m = channels - c, (h * step.columns + w) * channels + c
                first = (top * width + left) * channels + c
                if step.kind == MAX_POOL:
                    most = read(x, first, some)
                    for i in range(bottom - top):
                        for j in range(right - left):
                            q = first + (i * width + j) * channels
                            most = maximum(most, read(x, q, some))
                    write(out, m, some, most)
                else:
                    total = zeros()
                    for i in range(bottom - top):
                        for j in range(right - left):
                            q = first + (i * width + j) * channels
                            total = add(total, read(x, q, some))
                    write(out, m, some, multiply(total, share))


@helper
def _mean(step, address):
    """out (C,) = the mean of all pixels, after the activation, if there is one."""
    pixels, channels = step.height * step.width, step.channels
    x, out = array_at(address, pixels * channels), array_at(step.out, channels)
    for c in range(0, channels, WIDTH):
        left, total = channels - c, zeros()
        for m in range(c, pixels * channels, channels):
            v = read(x, m, left)
            total = add(total, where_positive(v, v) if step.after == RELU else v)
        write(out, c, left, total)
    for c in range(channels):
        out[c] /= pixels


@helper
def _pick(step, address):
    """Every second row and column, from the d-th on; zeros past the end."""
    height, width, channels, d = step.height, step.width, step.channels, step.d
    x = array_at(address, height * width * channels)
    out = array_at(step.out, step.rows * step.columns * channels)
    for h in range(step.rows):
        for w in range(step.columns):
            m, i, j = (h * step.columns + w) * channels, 2 * h + d, 2 * w + d
            inside = i < height and j < width
            for c in range(0, channels, WIDTH):
                left = channels - c
                v = read(x, (i * width + j) * channels + c, left) if inside else zeros()
                write(out, m + c, left, v)


@helper
def _join(step, parts):
    """Parts of as many channels, side by side."""
    pixels, channels = step.height * step.width, step.channels
    out = array_at(step.out, pixels * channels * len(parts))
    for i in range(len(parts)):
        x = array_at(parts[i], pixels * channels)
        for p in range(pixels):
            for c in range(0, channels, WIDTH):
                v = read(x, p * channels + c, channels - c)
                write(out, (p * len(parts) + i) * channels + c, channels - c, v)
