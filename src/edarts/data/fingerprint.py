"""Data are known by their content: which images there are, how large, and with which labels."""

import hashlib
import io
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edarts.data.catalogue import Catalogue, Items, Labels
from edarts.errors import EdartsError
from edarts.runs.files import check_unpacked, read_kept

DIGITS = 16  # of the hash that are kept: 64 bits
LISTED = ("places", "marks", "classes")


@dataclass(frozen=True)
class Listing:
    """Every image of a data set: its place, a mark of its content, its class.

    `places`: below the root of the data, `test:` before those of the test split. `marks`: the bytes
    of a file's length, or a checksum where the content is at hand. All three are (N,).
    """

    places: tuple[str, ...]
    marks: tuple[int, ...]
    classes: tuple[str, ...]

    @property
    def fingerprint(self) -> str:
        """The same for the same images and labels, wherever the data lie."""
        digest = hashlib.sha256()
        for line in sorted(zip(self.places, self.marks, self.classes, strict=True)):
            digest.update(repr(line).encode())
        return f"sha256:{digest.hexdigest()[:DIGITS]}"

    def changes(self, now: "Listing") -> str:
        """What differs in `now`: `12 images added, 3 relabelled`; empty if nothing does."""
        old, new = (
            {place: (mark, name) for place, mark, name in zip(*vars(one).values(), strict=True)}
            for one in (self, now)
        )
        both = old.keys() & new.keys()
        counts = {
            "added": len(new.keys() - both),
            "removed": len(old.keys() - both),
            "relabelled": sum(old[place][1] != new[place][1] for place in both),
            "changed": sum(old[place][0] != new[place][0] for place in both),
        }
        told = [f"{count} {what}" for what, count in counts.items() if count]
        if not told:
            return ""
        first, *others = told
        number, what = first.split()
        return ", ".join([f"{number} image{'' if number == '1' else 's'} {what}", *others])

    def to_bytes(self) -> bytes:
        """As a compressed file of numpy's."""
        file = io.BytesIO()
        names = np.asarray(self.places, dtype=np.str_), np.asarray(self.classes, dtype=np.str_)
        np.savez_compressed(
            file, places=names[0], classes=names[1], marks=np.asarray(self.marks, dtype=np.int64)
        )
        return file.getvalue()

    @classmethod
    def read(cls, path: Path) -> "Listing | None":
        """The inverse of `to_bytes`, from a file of a run; None if there is none that can be read.

        Raises EdartsError if it is not what was written there.
        """
        try:
            content = io.BytesIO(read_kept(path))
            check_unpacked(content, path)
            with np.load(content, allow_pickle=False) as arrays:
                found = {name: arrays[name].tolist() for name in LISTED}
        except EdartsError:
            raise
        except Exception:  # what is not known cannot be compared, which is no reason to stop
            return None
        return cls(*(tuple(found[name]) for name in LISTED))


def listing(catalogue: Catalogue) -> Listing:
    """Every image of a data set that is open, none of them decoded."""
    found = _part(catalogue.items, catalogue.labels, catalogue.classes, "")
    if catalogue.test is None:
        return found
    test = _part(*catalogue.test, catalogue.classes, "test:")
    return Listing(
        found.places + test.places, found.marks + test.marks, found.classes + test.classes
    )


def _part(items: Items, labels: Labels, classes: tuple[str, ...], prefix: str) -> Listing:
    places, marks = _described(items)
    names = tuple(classes[label] for label in labels.tolist())
    return Listing(tuple(f"{prefix}{place}" for place in places), tuple(marks), names)


def _described(items: Any) -> tuple[Sequence[str], list[int]]:
    """Place and mark of each item."""
    if isinstance(items, np.ndarray):
        return [f"image {n}" for n in range(len(items))], [_crc(image) for image in items]
    if hasattr(items, "described"):
        places, marks = items.described()
        return places, marks
    paths = [item for item in items if isinstance(item, Path)]
    if len(paths) != len(items):
        return [item.name for item in items], [zlib.crc32(item.data) for item in items]
    root = os.path.commonpath([path.parent for path in paths]) if paths else ""
    return [os.path.relpath(path, root) for path in paths], [_size(path) for path in paths]


def _crc(image: NDArray[Any]) -> int:
    return zlib.crc32(np.ascontiguousarray(image).data)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # a link that leads nowhere
        return -1
