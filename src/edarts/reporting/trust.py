"""How far to trust a classifier: what its probabilities on labelled images say beside accuracy.

By scikit-learn where it has the measure. Intervals are Wilson's for shares of images, else those of
a bootstrap over images (percentiles; Efron 1979) with a fixed seed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edarts.reporting.stats import LEVEL, RESAMPLES, Estimate, share, wilson

BINS = 15  # of confidence, for the calibration error (Guo et al., ICML 2017)
TOP, TOP_FROM = 5, 10  # the right class among so many, from so many classes on
UNBALANCED = 3  # times as many images as the smallest class that the largest one has
CHUNK = 10_000_000  # numbers of the weights of resamples that are in memory at once

Floats = NDArray[np.float64]


def unbalanced(counts: Sequence[int]) -> bool:
    """Whether the largest class has over `UNBALANCED` times the images of the smallest that has
    any.
    """
    return max(counts) > UNBALANCED * min(count for count in counts if count)


@dataclass(frozen=True)
class OfClass:
    """One class: its images, and precision, recall and F1; None where nothing was said or there."""

    name: str
    images: int
    precision: Estimate | None
    recall: Estimate | None
    f1: Estimate | None


@dataclass(frozen=True)
class Overlap:
    """Test images that are training images too: the same, or nearly.

    `first`: what ten of them are called, and the training image of each.
    """

    identical: int
    near: int
    first: tuple[tuple[str, str], ...]

    def sentences(self) -> list[str]:
        """How many there are, and the first ones by name; nothing where there are none."""
        every = self.identical + self.near
        if not every:
            return []
        names = ", ".join(f"{test} as {train}" for test, train in self.first)
        named = f": {names}" if names else ""
        images = "image is a training image" if every == 1 else "images are training images"
        return [
            f"{every} test {images} too ({self.identical} identical, {self.near} nearly), so the"
            f" accuracy may be too good{named}; --drop-duplicates leaves them out of training."
        ]

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Overlap":
        """The inverse of `asdict`, from JSON."""
        first = tuple((test, train) for test, train in fields["first"])
        return cls(fields["identical"], fields["near"], first)


@dataclass(frozen=True)
class Bin:
    """The answers of about the same confidence: its mean, and the share of right ones."""

    confidence: float
    accuracy: Estimate


@dataclass(frozen=True)
class Learned:
    """What a calibration on images held out, `images` of them, comes to on those tested.

    `temperature`: by which logits are divided. `before`: the expected calibration error without.
    `coverage`: share of the images whose set of classes holds the right one. `set_size`: mean
    number of classes in a set. `unlike`: share of the images called unlike the training data.
    """

    images: int
    temperature: float
    before: Estimate
    coverage: Estimate
    set_size: float
    unlike: Estimate

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Learned":
        """The inverse of `asdict`, from JSON."""
        estimates = {k: _estimate(fields[k]) for k in ("before", "coverage", "unlike")}
        return cls(**{**fields, **estimates})


@dataclass(frozen=True)
class Trust:
    """Measures of N images and K classes.

    `confusion`: (K, K), true class by row, answer by column. `balanced_accuracy`: mean recall of
    the classes that have images. `majority`: share of the largest class, whose name is
    `majority_class`: what always answering it would give. `top5`: share of images whose class is
    among the five likeliest; None below ten classes. `calibration_error`: expected, in 15 bins of
    equal width. `brier`: mean squared distance of the probabilities to the truth, 0..2. `bins`: of
    the reliability diagram. `learned`: None where no images were held out.
    """

    confusion: tuple[tuple[int, ...], ...]
    classes: tuple[OfClass, ...]
    balanced_accuracy: Estimate
    majority: Estimate
    majority_class: str
    top5: Estimate | None
    calibration_error: Estimate
    brier: Estimate
    bins: tuple[Bin, ...] = ()
    learned: Learned | None = None

    @property
    def unbalanced(self) -> bool:
        """Whether the largest class has over three times the images of the smallest one."""
        return unbalanced([one.images for one in self.classes])

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: the fields by name."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Trust":
        """The inverse of `to_dict`, from JSON."""
        measured = {k: _estimate(fields[k]) for k in ("balanced_accuracy", "calibration_error")}
        return cls(
            tuple(map(tuple, fields["confusion"])),
            tuple(
                OfClass(
                    one["name"],
                    one["images"],
                    _maybe(one["precision"]),
                    _maybe(one["recall"]),
                    _maybe(one["f1"]),
                )
                for one in fields["classes"]
            ),
            measured["balanced_accuracy"],
            _estimate(fields["majority"]),
            fields["majority_class"],
            _maybe(fields["top5"]),
            measured["calibration_error"],
            _estimate(fields["brier"]),
            tuple(
                Bin(one["confidence"], _estimate(one["accuracy"])) for one in fields.get("bins", ())
            ),
            Learned.from_dict(known) if (known := fields.get("learned")) else None,
        )


def _estimate(fields: Mapping[str, Any] | float) -> Estimate:
    if isinstance(fields, Mapping):
        return Estimate(**fields)
    return Estimate(fields, None, None, 0)  # an older run kept some of them without an interval


def _maybe(fields: Mapping[str, Any] | float | None) -> Estimate | None:
    return None if fields is None else _estimate(fields)


def trust(probabilities: NDArray[Any], labels: NDArray[Any], classes: Sequence[str]) -> Trust:
    """Of (N, K) probabilities and the (N,) right classes. Raises ValueError for no images."""
    from sklearn import metrics

    p, y = np.asarray(probabilities, dtype=np.float64), np.asarray(labels, dtype=np.int64)
    if not len(y):
        raise ValueError("no images")
    every, said = range(len(classes)), p.argmax(axis=1)
    confusion = metrics.confusion_matrix(y, said, labels=list(every))
    precision, recall, _, _ = metrics.precision_recall_fscore_support(
        y, said, labels=list(every), zero_division=0.0
    )
    f1 = _f1_scores(y, said, len(classes))
    right, answered, images = confusion.diagonal(), confusion.sum(axis=0), confusion.sum(axis=1)
    of_classes = tuple(
        OfClass(
            name,
            int(images[k]),
            _share(precision[k], right[k], answered[k]),
            _share(recall[k], right[k], images[k]),
            f1[k] if images[k] or answered[k] else None,
        )
        for k, name in enumerate(classes)
    )
    largest = int(images.argmax())
    distances = ((p - np.eye(len(classes))[y]) ** 2).sum(axis=1, keepdims=True)
    top = (
        int(metrics.top_k_accuracy_score(y, p, k=TOP, labels=list(every), normalize=False))
        if (len(classes) >= TOP_FROM)
        else None
    )
    return Trust(
        tuple(tuple(map(int, row)) for row in confusion),
        of_classes,
        _bootstrap(_recalls(y, said, images), _mean_of_shares, len(y))[0],
        share(int(images[largest]), len(y)),
        classes[largest],
        None if top is None else share(top, len(y)),
        calibration_error(p, y),
        _bootstrap(distances, _same, len(y))[0],
        _reliability(p, y),
    )


def calibration_error(probabilities: NDArray[Any], labels: NDArray[Any]) -> Estimate:
    """Expected, in `BINS` bins of equal width, of (N, K) probabilities and (N,) right classes."""
    gaps = _gaps(np.asarray(probabilities, dtype=np.float64), np.asarray(labels))
    return _bootstrap(gaps, _sum_of_gaps, len(labels))[0]


def learned(
    images: int,
    temperature: float,
    raw: NDArray[Any],
    sets: NDArray[np.bool_],
    unlike: NDArray[np.bool_],
    labels: NDArray[Any],
) -> Learned:
    """Of the (N, K) probabilities at a temperature of 1, sets of classes, and flags (N,)."""
    y = np.asarray(labels, dtype=np.int64)
    covered, strange, of = int(sets[np.arange(len(y)), y].sum()), int(unlike.sum()), len(y)
    return Learned(
        images,
        temperature,
        calibration_error(raw, y),
        share(covered, of),
        float(sets.sum(axis=1).mean()),
        share(strange, of),
    )


def _reliability(p: Floats, y: NDArray[np.int64]) -> tuple[Bin, ...]:
    """The bins that hold answers, by rising confidence."""
    confidence, right = p.max(axis=1), p.argmax(axis=1) == y
    at = _bin_of(confidence)
    found = []
    for number in np.unique(at):
        mine = at == number
        accuracy = share(int(right[mine].sum()), int(mine.sum()))
        found.append(Bin(float(confidence[mine].mean()), accuracy))
    return tuple(found)


def _share(value: float, right: int, of: int) -> Estimate | None:
    return Estimate(float(value), *wilson(int(right), int(of)), int(of)) if of else None


# -- measures that are functions of weighted means over images ------------------------------------


def _recalls(y: NDArray[np.int64], said: NDArray[np.int64], images: Floats) -> Floats:
    """(N, 2 k) of the k classes that have images: right and of this class; of this class."""
    member = np.eye(len(images))[y][:, images > 0]
    return np.hstack([member * (said == y)[:, None], member])


def _f1_scores(y: NDArray[np.int64], said: NDArray[np.int64], classes: int) -> list[Estimate]:
    """Of each class; of many classes and images some at a time, from the same resamples."""
    found: list[Estimate] = []
    for names in np.array_split(np.arange(classes), -(-2 * classes * len(y) // CHUNK)):
        true, answer = y[:, None] == names, said[:, None] == names
        halves = np.hstack([true & answer, true.astype(np.float64) + answer])
        found += _bootstrap(halves, _f1, len(y))
    return found


def _f1(means: Floats) -> Floats:
    """(R, 2 K) -> (R, K): 2 right / (of the class + taken for it); 0 where there is neither."""
    right, every = np.split(means, 2, axis=1)
    found: Floats = np.divide(2 * right, every, out=np.zeros_like(right), where=every > 0)
    return found


def _mean_of_shares(means: Floats) -> Floats:
    """(R, 2 k) -> (R, 1): the mean of right / all over those of k classes that a resample has."""
    right, every = np.split(means, 2, axis=1)
    shares = np.divide(right, every, out=np.full_like(right, np.nan), where=every > 0)
    found: Floats = np.nanmean(shares, axis=1, keepdims=True)
    return found


def _gaps(p: Floats, y: NDArray[np.int64]) -> Floats:
    """(N, BINS): confidence less rightness of each image, in the bin of its confidence."""
    confidence = p.max(axis=1)
    right = p.argmax(axis=1) == y
    found: Floats = np.eye(BINS)[_bin_of(confidence)] * (confidence - right)[:, None]
    return found


def _bin_of(confidence: Floats) -> NDArray[np.int64]:
    found: NDArray[np.int64] = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    return found


def _sum_of_gaps(means: Floats) -> Floats:
    found: Floats = np.abs(means).sum(axis=1, keepdims=True)
    return found


def _same(means: Floats) -> Floats:
    return means


def _bootstrap(values: Floats, measure: Callable[[Floats], Floats], images: int) -> list[Estimate]:
    """Measures, (R, M) -> (R, n), of the means of (N, M) values, with the percentiles of resamples
    of the images.
    """
    rng = np.random.default_rng(0)
    rows = max(1, min(RESAMPLES, CHUNK // images))
    found: list[Floats] = []
    for start in range(0, RESAMPLES, rows):
        count = min(rows, RESAMPLES - start)
        weights = rng.multinomial(images, np.full(images, 1 / images), size=count)
        found.append(measure(weights @ values / images))
    low, high = np.quantile(np.concatenate(found), [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    value = measure(values.mean(axis=0, keepdims=True))[0]
    return [
        Estimate(float(v), float(a), float(b), images)
        for v, a, b in zip(value, low, high, strict=True)
    ]
