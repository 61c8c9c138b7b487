"""Splits: seeded, with the same share of every class."""

import numpy as np
from numpy.typing import NDArray

from edarts.runs.seeds import permutation


def stratified_split(
    labels: NDArray[np.int64], fraction: float, seed: int, stream: str = "test"
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(rest, part): indices with `fraction` of every class, at least one image each, in `part`.

    Disjoint, sorted, together everything; the same for the same labels and seed. `stream` names
    the seed's use, so that two splits of the same labels differ.
    """
    part = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        count = min(max(1, round(fraction * len(members))), len(members))
        order = permutation(len(members), seed, stream, int(label)).numpy()
        part.append(members[order[:count]])
    chosen = np.sort(np.concatenate(part))
    return np.setdiff1d(np.arange(len(labels)), chosen), chosen
