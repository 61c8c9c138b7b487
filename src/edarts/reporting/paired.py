"""Two trained networks on the same test images, compared image by image."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edarts.errors import EdartsError
from edarts.reporting.stats import Estimate, paired_proportion
from edarts.runs.files import check_unpacked, read_kept
from edarts.runs.folder import read_settings, reading

PREDICTIONS = "predictions.npz"  # of a run that was evaluated
SPLIT = ("fingerprint", "split_seed", "test_fraction", "test_limit")  # say which images are tested

Answers = NDArray[np.bool_]


@dataclass(frozen=True)
class Comparison:
    """Of two runs: accuracy of the first minus that of the second, with the p value of the exact
    test of McNemar; or why they cannot be compared.
    """

    first: Path
    second: Path
    difference: Estimate | None
    reason: str = ""

    def summary(self) -> str:
        """A sentence."""
        names = f"{self.first} minus {self.second}"
        if self.difference is None:
            return f"{names}: {self.reason}"
        d = self.difference
        assert d.low is not None and d.high is not None and d.p is not None
        told = "" if d.p < 0.05 else ": they cannot be told apart"
        return (
            f"{names}: {100 * d.value:+.2f} points ({100 * d.low:+.2f} to {100 * d.high:+.2f}) on"
            f" the same {d.n} test images, p = {d.p:.2g} (McNemar, exact){told}"
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        difference = None if self.difference is None else self.difference.to_dict()
        known = {"difference": difference, "reason": self.reason}
        return {"first": str(self.first), "second": str(self.second), **known}


def compare(runs: Sequence[Path]) -> list[Comparison]:
    """Every pair of those runs that were evaluated; of fewer than two there is none.

    Raises EdartsError for a run whose settings cannot be read.
    """
    tested = [run for run in runs if (run / PREDICTIONS).exists()]
    return [_compare(*pair) for pair in combinations(tested, 2)]


def _compare(first: Path, second: Path) -> Comparison:
    known = [read_settings(run) for run in (first, second)]
    for name in SPLIT:
        one, other = (settings.get(name) for settings in known)
        if one != other and None not in (one, other):
            return Comparison(first, second, None, f"other test images ({name} differs)")
    with reading(first):
        answers = right_answers(first, second)
    if answers is None:
        return Comparison(first, second, None, "other test images, or damaged predictions")
    return Comparison(first, second, paired_proportion(*answers))


def right_answers(first: Path, second: Path) -> tuple[Answers, Answers] | None:
    """(N,) each: whether each run's network answered each test image right.

    None unless both runs kept their predictions, and for the same labels in the same order.
    """
    kept = [_predictions(run) for run in (first, second)]
    if kept[0] is None or kept[1] is None or not np.array_equal(kept[0][1], kept[1][1]):
        return None
    (mine, labels), (other, _) = kept[0], kept[1]
    return mine.argmax(axis=1) == labels, other.argmax(axis=1) == labels


def _predictions(run: Path) -> tuple[NDArray[np.float32], NDArray[np.int64]] | None:
    """`probabilities` (N, classes) and `labels` (N,) of a run's predictions.npz, if it is there."""
    try:
        content = io.BytesIO(read_kept(run / PREDICTIONS))
        check_unpacked(content, run / PREDICTIONS)
        with np.load(content, allow_pickle=False) as kept:
            return kept["probabilities"], kept["labels"]
    except EdartsError:
        raise
    except Exception:  # absent, cut off, or of another version: zip and zlib raise their own
        return None
