"""What `predict` returns: a class for each image file, and how sure it is."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edarts.runs.files import write_bytes


@dataclass(frozen=True)
class Prediction:
    """The class of the highest probability for one image; `file`: the path that was given.

    `classes`: those that the image may have, which hold the right one for nine of ten images like
    the training data. `unlike`: whether it is unlike them, as one in twenty of them is said to be.
    Both are None where training held no images out to learn this from.
    """

    file: str
    class_name: str
    probability: float
    classes: tuple[str, ...] | None = None
    unlike: bool | None = None

    @classmethod
    def of(
        cls,
        file: str,
        names: Sequence[str],
        probabilities: NDArray[Any],
        of_set: NDArray[np.bool_] | None = None,
        unlike: bool | None = None,
    ) -> "Prediction":
        """From (K,) probabilities of the classes `names`, and (K,) which are of the set."""
        best = int(probabilities.argmax())
        order = np.argsort(-probabilities, kind="stable")
        classes = None if of_set is None else tuple(names[k] for k in order if of_set[k])
        return cls(file, names[best], round(float(probabilities[best]), 6), classes, unlike)

    def summary(self) -> str:
        """The report as text for a terminal."""
        others = [name for name in self.classes or () if name != self.class_name]
        may = f"  or {', '.join(others)}" if others else ""
        strange = "  unlike the training data" if self.unlike else ""
        return f"{self.file}  {self.class_name}  {self.probability:.4f}{may}{strange}"

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-ready fields; `set` and `unlike` only where they are known."""
        known = {"set": self.classes and list(self.classes), "unlike": self.unlike}
        return {
            "file": self.file,
            "class": self.class_name,
            "probability": self.probability,
            **{name: value for name, value in known.items() if value is not None},
        }


class Predictions(tuple[Prediction, ...]):
    """The classes of image files, in their order."""

    __slots__ = ()

    def summary(self) -> str:
        """A line of text for each, for a terminal."""
        return "\n".join(prediction.summary() for prediction in self)

    def to_dict(self) -> list[dict[str, Any]]:
        """A JSON-ready object for each."""
        return [prediction.to_dict() for prediction in self]

    def write(self, path: Path) -> None:
        """Write them as CSV or, if the name ends so, as JSON. Raises EdartsError.

        In the CSV a set of classes is JSON in its cell, as a name may hold any character.
        """
        file = io.StringIO(newline="")
        if path.suffix == ".json":
            json.dump(self.to_dict(), file, indent=2)
        else:
            rows = self.to_dict()
            writer = csv.DictWriter(file, [*rows[0]], lineterminator="\n")
            writer.writeheader()
            writer.writerows({k: _cell(v) for k, v in row.items()} for row in rows)
        write_bytes(path, file.getvalue().encode(errors="backslashreplace"))


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | bool) else value
