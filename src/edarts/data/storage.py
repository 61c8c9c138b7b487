"""Where decoded images lie: in memory, or where they are many in a file that is mapped into it."""

import math
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from edarts.data.catalogue import Pixels
from edarts.errors import EdartsError
from edarts.runs.files import user_cache

IN_MEMORY = 2**29  # bytes of a split, decoded, that are held in memory; more lie in a file


def gather(images: Iterable[Pixels], most: int, shape: tuple[int, int, int]) -> Pixels:
    """(N, H, W, C) of images (H, W, C) of the given (C, H, W), `most` at most, taken one by one.

    More than `IN_MEMORY` bytes are written to a file of the user's cache and mapped: the system
    reads what is used, and drops it again where memory is short. The file has no name, so nobody
    finds it half-written, and it goes with the array, or with the process however that ends. Raises
    EdartsError where the disk cannot hold it.
    """
    channels, height, width = shape
    size = most * math.prod(shape)
    if size > IN_MEMORY:
        return _mapped(images, size, (height, width, channels))
    found, count = np.empty((most, height, width, channels), dtype=np.uint8), 0
    for image in images:
        found[count] = image
        count += 1
    return found[:count]


def _mapped(images: Iterable[Pixels], size: int, shape: tuple[int, int, int]) -> Pixels:
    """See `gather`. `size`: the bytes that there may be. `shape`: (H, W, C)."""
    folder, count = user_cache(), 0
    with _room(folder, size):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if (free := shutil.disk_usage(folder).free) < size:
            raise OSError(f"{free / 2**30:.3g} GiB are free")
        with tempfile.TemporaryFile(dir=folder) as file:
            for image in images:
                file.write(np.ascontiguousarray(image).data)
                count += 1
            file.flush()
            return np.asarray(np.memmap(file, np.uint8, "r+", shape=(count, *shape)))


@contextmanager
def _room(folder: Path, size: int) -> Iterator[None]:
    """Turns what the system says of the folder inside the block into an EdartsError."""
    try:
        yield
    except OSError as error:
        raise EdartsError(
            f"{folder}: the decoded images need {size / 2**30:.3g} GiB of disk:"
            f" {error.strerror or error}; free some, name a folder elsewhere by XDG_CACHE_HOME, or"
            " give --limit or --image-size"
        ) from None
