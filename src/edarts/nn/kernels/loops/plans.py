"""The cells of a network on one image: every step of them in one call, without Python between.

A step is a row of a program: what it does, the addresses of what it reads and writes, and sizes.
Norms are part of it: those before a convolution as its scale and shift, those after it in its
matrix and bias.
"""

import numba
import numpy as np

from edarts.nn.kernels.loops.pieces import ONE, ZERO, read, room, round_up, tap_offsets, write
from edarts.nn.kernels.loops.stages import Source, fill, mix_rows, sides
from edarts.nn.kernels.loops.vectors import (
    WIDTH,
    add,
    array_at,
    load,
    maximum,
    multiply_add,
    repeat,
    zeros,
)

CONVOLVE, ADD, MAX_POOL, AVERAGE_POOL, PICK, JOIN = range(6)
# `kind`: of the step. `fresh`: whether it replaces what was there; else it adds to it. `parts` that
# it reads, of `height`, `width` and `channels` each. `k`, `s`, `d`: window, stride, dilation; no
# window: no depthwise convolution; of PICK, `d` is the first row and column. `outer`: channels of
# the result. The others are addresses.
FIELDS = (
    *("kind", "fresh", "parts", "height", "width", "channels", "k", "s", "d", "outer"),
    *("out", "scale", "shift", "taps", "matrix", "bias", "padded"),
)
STEP = np.dtype([(name, np.int64) for name in FIELDS])
SHARES = np.array([0.0, *(1 / n for n in range(1, 10))], np.float32)  # of a 3 x 3 window


@numba.njit(cache=True)
def run(program, sources):
    """Do the steps (S,) of type STEP; `sources` (S, P): the addresses of what each reads."""
    for i in range(len(program)):
        step = program[i]
        parts = sources[i, : step.parts]
        if step.kind == CONVOLVE:
            _convolve(step, parts)
        elif step.kind == ADD:
            _add(step, parts[0])
        elif step.kind == PICK:
            _pick(step, parts[0])
        elif step.kind == JOIN:
            _join(step, parts)
        else:
            _pool(step, parts[0])


@numba.njit(cache=True)
def _convolve(step, parts):
    """out (+)= depthwise, then 1 x 1 convolution of max(scale * x + shift, 0), and a bias."""
    height, width, outer = step.height, step.width, step.outer
    channels = step.parts * step.channels
    k, s, d, direct = max(step.k, ONE), step.s, step.d, step.k == 0
    inside, outside = round_up(channels), round_up(outer)
    rows, columns, even, blocks, tall, broad = sides(height, width, k, s, d)
    pad, pitch = d * (k - 1) // 2, broad * inside
    inner, offsets = pad * pitch + pad * inside, tap_offsets(k, d, pitch, inside)
    scale, shift = array_at(step.scale, inside), array_at(step.shift, inside)
    source = Source(parts, (ONE, height, width, step.channels), scale, shift, shift)
    taps = array_at(step.taps, k * k * inside)
    matrix, bias = (
        array_at(step.matrix, inside * outside),
        array_at(step.bias, outside if step.bias > 0 else 0),
    )
    out = array_at(step.out, rows * columns * outer)
    padded = array_at(step.padded, tall * pitch)  # zeros, but for what `fill` writes each time
    u, v = room(2 * blocks * inside), room(2 * blocks * outside)
    nothing = np.zeros((0, 2), np.int64)  # to bring nearer: an image lies in the cache
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
            _emit(v, r * blocks * outside, columns, outer, bias, out, place, step.fresh)


@numba.njit(cache=True)
def _emit(v, start, columns, channels, bias, out, place, fresh):
    """A row of v and a bias, if there is one, its channels alone, into the result."""
    width = round_up(channels)
    for c in range(0, channels, WIDTH):
        b, left = load(bias, c) if len(bias) > 0 else zeros(), channels - c
        for w in range(columns):
            x, m = add(load(v, start + w * width + c), b), place + w * channels + c
            write(out, m, left, x if fresh else add(read(out, m, left), x))


@numba.njit(cache=True)
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


@numba.njit(cache=True)
def _pool(step, address):
    """The largest, or the mean, of each k x k window, of what of it lies within the image."""
    height, width, channels, k, s = step.height, step.width, step.channels, step.k, step.s
    rows, columns = (height + s - 1) // s, (width + s - 1) // s
    x = array_at(address, height * width * channels)
    out = array_at(step.out, rows * columns * channels)
    for h in range(rows):
        top, bottom = max(h * s - k // 2, 0), min(h * s - k // 2 + k, height)
        for w in range(columns):
            left, right = max(w * s - k // 2, 0), min(w * s - k // 2 + k, width)
            for c in range(0, channels, WIDTH):
                some = channels - c
                first = read(x, (top * width + left) * channels + c, some)
                most, total = first, zeros()
                for i in range(top, bottom):
                    for j in range(left, right):
                        v = read(x, (i * width + j) * channels + c, some)
                        most, total = maximum(most, v), add(total, v)
                if step.kind == AVERAGE_POOL:
                    share = repeat(SHARES, (bottom - top) * (right - left))
                    most = multiply_add(total, share, zeros())
                write(out, (h * columns + w) * channels + c, some, most)


@numba.njit(cache=True)
def _pick(step, address):
    """Every second row and column, from the d-th on; zeros past the end."""
    height, width, channels, d = step.height, step.width, step.channels, step.d
    rows, columns = (height + 1) // 2, (width + 1) // 2
    x = array_at(address, height * width * channels)
    out = array_at(step.out, rows * columns * channels)
    for h in range(rows):
        for w in range(columns):
            m, i, j = (h * columns + w) * channels, 2 * h + d, 2 * w + d
            inside = i < height and j < width
            for c in range(0, channels, WIDTH):
                left = channels - c
                v = read(x, (i * width + j) * channels + c, left) if inside else zeros()
                write(out, m + c, left, v)


@numba.njit(cache=True)
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
