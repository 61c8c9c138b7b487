"""What `export` returns: the files, and how they do on the test images."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edarts.reporting.paired import Comparison
from edarts.reporting.reports import text
from edarts.reporting.stats import Estimate

NOISE = 1.05  # ratio of two times up to which they are the same


@dataclass(frozen=True)
class Measured:
    """An exported network at work, on this machine.

    `bytes`: of its files, without the script beside them. `milliseconds`: for one image, median.
    `difference`: the largest, of its probabilities to the model's, over `images` images.
    `accuracy`: on them; None if they are not test images.
    """

    bytes: int
    milliseconds: float
    difference: float
    images: int
    accuracy: Estimate | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        found = self.accuracy
        tested = {}
        if found is not None:
            tested = {"test_accuracy": found.value, "test_accuracy_ci95": [found.low, found.high]}
        numbers = ("bytes", "milliseconds", "difference", "images")
        return {name: getattr(self, name) for name in numbers} | tested


@dataclass(frozen=True)
class ExportReport:
    """The files that a trained run was written to.

    `measured`: None for a format that cannot be run here. `exact`: of a format that rounds the
    network, the same without rounding. `change`: accuracy of the rounded one minus that of the
    exact one, on the same test images; None unless both were tested. `note`: why there were no test
    images, if so.
    """

    format: str
    files: tuple[Path, ...]
    run: Path
    measured: Measured | None = None
    exact: Measured | None = None
    change: Estimate | None = None
    note: str = ""

    def summary(self) -> str:
        """The report as text for a terminal."""
        lines = {" " * n or "files": str(file) for n, file in enumerate(self.files)}
        if self.measured is not None:
            lines |= self._measured(self.measured)
        return text(lines | ({"note": self.note} if self.note else {}))

    def _measured(self, measured: Measured) -> dict[str, str]:
        if self.exact is None:
            return _lines(measured)
        lines = {"float32": _line(self.exact), "int8": _line(measured)}
        if self.change is not None:
            lines["accuracy"] = Comparison(Path("int8"), Path("float32"), self.change).summary()
        return lines | {"verdict": self.verdict()}

    def verdict(self) -> str:
        """What rounding has gained and lost, in a sentence; nothing where nothing was rounded."""
        if self.exact is None or self.measured is None:
            return ""
        lost, gained = (list(self._sides(sign)) for sign in (1, -1))
        if not lost:
            return f"int8 gains: it is {' and '.join(gained)}" if gained else "int8 gains nothing"
        told = f"int8 loses: it is {' and '.join(lost)}"
        return f"{told}; it is {' and '.join(gained)}" if gained else f"{told}, and gains nothing"

    def _sides(self, sign: int) -> Iterator[str]:
        """In what int8 is worse (`sign` 1) or better (-1)."""
        assert self.exact is not None and self.measured is not None
        change = self.change
        told_apart = change is not None and change.p is not None and change.p < 0.05
        if change is not None and told_apart and change.value * sign < 0:
            word = "less" if sign > 0 else "more"
            yield f"{word} accurate by {100 * abs(change.value):.2f} points"
        words = ("larger", "slower") if sign > 0 else ("smaller", "faster")
        ratios = (
            self.measured.bytes / self.exact.bytes,
            self.measured.milliseconds / self.exact.milliseconds,
        )
        for word, ratio in zip(words, ratios, strict=True):
            if ratio**sign > NOISE:
                yield f"{ratio**sign:.2g} times {word}"

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-ready fields."""
        measured = {} if self.measured is None else self.measured.to_dict()
        exact = {} if self.exact is None else {"exact": self.exact.to_dict()}
        change = {} if self.change is None else {"change": self.change.to_dict()}
        verdict = {"verdict": self.verdict()} if self.exact is not None else {}
        return {
            "format": self.format,
            "files": [str(file) for file in self.files],
            "run": str(self.run),
            **measured,
            **exact,
            **change,
            **verdict,
            **({"note": self.note} if self.note else {}),
        }


def _lines(measured: Measured) -> dict[str, str]:
    found = measured.accuracy
    lines = {
        "bytes": f"{measured.bytes:,}",
        "time": f"{measured.milliseconds:.3g} ms for one image, on this machine",
        "difference": f"{measured.difference:.1e} at most, of a probability to the model's, over"
        f" {measured.images} {'random' if found is None else 'test'} images",
    }
    return lines | ({} if found is None else {"test accuracy": _share(found)})


def _line(measured: Measured) -> str:
    tested = "" if measured.accuracy is None else f"{_share(measured.accuracy)}, "
    return f"{tested}{measured.bytes:,} bytes, {measured.milliseconds:.3g} ms for one image"


def _share(found: Estimate) -> str:
    return (
        f"{found.value:.2%}, 95 % interval {found.low:.2%} to {found.high:.2%} ({found.n} images)"
    )
