"""What an export format is: it writes a trained network to files that others can run."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

from edarts.config import NoOptions
from edarts.training.models import TrainedModel


class Export(ABC):
    """A format. `Options`: what can be chosen of it. `suffix`: of the file that it writes."""

    Options: ClassVar[type] = NoOptions
    suffix: ClassVar[str]

    def __init__(self, options: Any = None) -> None:
        self.options = self.Options() if options is None else options

    @abstractmethod
    def write(self, model: TrainedModel, out: Path) -> list[Path]:
        """Write `model` to `out`; returns the files. Raises EdartsError."""
