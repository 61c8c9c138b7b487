"""What the page of an evaluation says beside the accuracy: classes, confusions, calibration."""

from collections.abc import Iterator

from edarts.reporting.model import Column, Plot, Series, Table
from edarts.reporting.stats import Estimate
from edarts.reporting.trust import Trust

LARGEST = 20  # classes whose confusions are shown as a whole
PAIRS = 10  # that are most confused


def sentences(trust: Trust) -> Iterator[str]:
    """What a reader of the accuracy has to know."""
    if trust.unbalanced:
        balanced = trust.balanced_accuracy
        yield (
            f"The classes are of unequal size: the mean over the classes is {balanced.value:.2%}"
            f" ({balanced.low:.2%} to {balanced.high:.2%}), and who always says"
            f" '{trust.majority_class}' is {trust.majority.value:.2%} right."
        )
    error = trust.calibration_error
    yield (
        f"Confidence and accuracy differ by {100 * error.value:.1f} points on average"
        f" ({100 * (error.low or 0):.1f} to {100 * (error.high or 0):.1f})."
    )
    if trust.learned is not None:
        coverage, unlike = trust.learned.coverage, trust.learned.unlike
        yield (
            f"Sets of {trust.learned.set_size:.2f} classes on average hold the right one for"
            f" {coverage.value:.1%} of the images ({coverage.low:.1%} to {coverage.high:.1%}; meant"
            f" are 90 %); {unlike.value:.1%} are flagged as unlike the training data (meant are"
            " 5 %)."
        )


def plots(trust: Trust) -> list[Plot]:
    """The reliability diagram: how often answers of a confidence are right."""
    if not trust.bins:
        return []
    x = [100 * one.confidence for one in trust.bins]
    shares = [one.accuracy for one in trust.bins]
    texts = [f"{share.n} images, {share.value:.1%} right" for share in shares]
    percent = [
        Estimate(100 * s.value, 100 * (s.low or 0.0), 100 * (s.high or 0.0), s.n) for s in shares
    ]
    series = [
        Series("answers", x, percent, texts),
        Series("as sure as right", [0, 100], [0.0, 100.0], line=True),
    ]
    title = "How often answers of a confidence are right"
    return [Plot("reliability", title, "confidence, %", "right answers, %", series)]


def tables(trust: Trust) -> list[Table]:
    """Measures by class, the most confused pairs, and of few classes all confusions."""
    columns = (
        Column("class"),
        Column("images"),
        Column("recall", "share"),
        Column("precision", "share"),
        Column("F1", "share"),
    )
    rows = [(one.name, one.images, one.recall, one.precision, one.f1) for one in trust.classes]
    found = [Table("Test images by class", columns, rows), *_pairs(trust)]
    names = [one.name for one in trust.classes]
    if len(names) <= LARGEST:
        counts = [(name, *row) for name, row in zip(names, trust.confusion, strict=True)]
        head = [Column("true class"), *map(Column, names)]
        found.append(Table("Answers by true class", head, counts, "A column for each answer."))
    return found


def _pairs(trust: Trust) -> list[Table]:
    names = [one.name for one in trust.classes]
    wrong = [
        (names[true], names[said], count, count / trust.classes[true].images)
        for true, row in enumerate(trust.confusion)
        for said, count in enumerate(row)
        if count and true != said
    ]
    wrong.sort(key=lambda pair: -pair[2])
    columns = (
        Column("true class"),
        Column("answer"),
        Column("images"),
        Column("of the true class", "share"),
    )
    return [Table("What is most often confused", columns, wrong[:PAIRS])] if wrong else []
