"""What the loops share: threads, scratch memory, sums of parts, whole vectors, looking ahead."""

import numba
import numpy as np

from edarts.nn.kernels.loops.vectors import (
    WIDTH,
    add,
    helper,
    load,
    load_some,
    prefetch,
    store,
    store_some,
)

CHUNKS = 16
MOST_THREADS = numba.get_num_threads()
TILE = 256  # numbers: a pass over many arrays works on whole rows of about so many at once
BLOCK = 4  # columns; of two rows, they are the eight sums that a loop keeps in registers
LINE = 16  # numbers of a cache line
AHEAD = 4  # rows: how far before they are needed
FAST = {"contract", "nsz", "arcp"}
# Arguments that are no literals: for each literal numba compiles a function once more.
ZERO, ONE, TWO = np.int64(0), np.int64(1), np.int64(2)
YES, NO = np.bool_(True), np.bool_(False)


def use_threads(count: int) -> None:
    """Run the loops on this many threads, or as many as numba has."""
    numba.set_num_threads(min(count, MOST_THREADS))


def without_openmp():
    """Whether the threads of loops that have run wait for each other by numba's own slow means."""
    return numba.threading_layer() == "workqueue"


@numba.njit(cache=True)
def round_up(channels):
    """Channels rounded up to whole vectors."""
    return (channels + WIDTH - 1) // WIDTH * WIDTH


@helper
def assign(out, value):
    """Every number of `out` becomes `value`."""
    for m in range(len(out)):
        out[m] = value


@numba.njit(cache=True)
def room(size):
    """Any numbers, which begin at a cache line, so that no vector crosses one."""
    out = np.empty(size + LINE, np.float32)
    skip = (-(out.ctypes.data // 4)) % LINE
    return out[skip : skip + size]


@numba.njit(cache=True)
def scratch(size):
    """`room` of zeros."""
    out = room(size)
    assign(out, np.float32(0))
    return out


@numba.njit(cache=True)
def framed(tall, pitch, top, rows, left, columns):
    """`room` (tall * pitch,) with zeros around a window of `rows` rows and `columns` numbers."""
    out, bottom, right = room(tall * pitch), top + rows, left + columns
    assign(out[: top * pitch], np.float32(0))
    assign(out[bottom * pitch :], np.float32(0))
    for h in range(top, bottom):
        assign(out[h * pitch : h * pitch + left], np.float32(0))
        assign(out[h * pitch + right : (h + 1) * pitch], np.float32(0))
    return out


@numba.njit(cache=True)
def widened(values):
    """(C,) -> (wide(C),), zeros after."""
    out = scratch(round_up(len(values)))
    for c in range(len(values)):
        out[c] = values[c]
    return out


@numba.njit(cache=True)
def chunk_sums(size):
    """Zeros (CHUNKS, size): a sum for each part."""
    return np.zeros((CHUNKS, size), np.float32)


@numba.njit(cache=True)
def read(source, place, count):
    """A vector of the first `count` numbers there, or of all if it has no more."""
    if count >= WIDTH:
        return load(source, place)
    return load_some(source, place, count)


@numba.njit(cache=True)
def write(out, place, count, value):
    """The inverse of `read`."""
    if count >= WIDTH:
        store(out, place, value)
    else:
        store_some(out, place, count, value)


@helper
def widen(source, start, pixels, channels, out, place, width):
    """Copy pixels of C channels to pixels of `width`."""
    for c in range(0, channels, WIDTH):
        left = channels - c
        for p in range(pixels):
            v = read(source, start + p * channels + c, left)
            write(out, place + p * width + c, left, v)


@helper
def narrow(source, start, pixels, channels, out, place, fresh, width):
    """Copy pixels of `width` channels to pixels of C; add them there, unless `fresh`."""
    for c in range(0, channels, WIDTH):
        left = channels - c
        for p in range(pixels):
            v, m = read(source, start + p * width + c, left), place + p * channels + c
            write(out, m, left, v if fresh else add(read(out, m, left), v))


@numba.njit(cache=True)
def fold(parts):
    """(CHUNKS, n) partial sums -> their sum (n,), in the first part."""
    total = parts[0]
    for chunk in range(1, len(parts)):
        part = parts[chunk]
        for m in range(len(total)):
            total[m] += part[m]
    return total


@numba.njit(cache=True)
def tap_offsets(k, d, pitch, pixel):
    """Where each tap of a k x k kernel of dilation d reads, relative to the first."""
    out = np.empty(k * k, np.int64)
    for t in range(k * k):
        out[t] = (t // k) * d * pitch + (t % k) * d * pixel
    return out


@helper
def aim(ahead, i, address, first, count, calls):
    """Let `bring` fetch `count` numbers, from number `first` on of an array, in so many calls."""
    ahead[i, 0], ahead[i, 1] = address + 4 * first, (count // LINE + calls) // calls


@helper
def aim_rows(ahead, i, addresses, shape, n, h, rows, calls):
    """`aim`, from stream i on, at rows of image n, in each part; there may be no such rows."""
    _, height, width, share = shape
    row = width * share
    for part in range(len(addresses)):
        aim(ahead, i + part, addresses[part], (n * height + h) * row, rows * row, calls)


@helper
def bring(ahead):
    """Begin to bring a few lines of each stream nearer, while something else is computed.

    `ahead` (S, 2): the address that comes next and the lines to bring each time. A few at a time:
    a processor has room for some twenty lines on their way, and waits when there are more.
    """
    for i in range(len(ahead)):
        place, lines = ahead[i, 0], ahead[i, 1]
        for m in range(lines):
            prefetch(place + 4 * LINE * m)
        ahead[i, 0] = place + 4 * LINE * lines
