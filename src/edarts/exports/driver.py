"""An export from beginning to end: written aside, run on the test images, kept if it agrees."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edarts.config import DataConfig
from edarts.config.reading import check_no_link
from edarts.data import Data, Opened
from edarts.data.opened import open_to_evaluate
from edarts.errors import EdartsError, UsageError
from edarts.exports.base import Answer, Export, Facts, check_place, unwritable
from edarts.registry import name_of
from edarts.reporting.exported import ExportReport, Measured
from edarts.reporting.stats import Estimate, paired_proportion
from edarts.reporting.work import check_content
from edarts.runs.files import disk_errors
from edarts.runs.folder import Run, read_settings, reading
from edarts.runs.seeds import permutation
from edarts.training import evaluation
from edarts.training.models import TrainedModel
from edarts.training.test_split import Exam

LARGEST_DIFFERENCE = 1e-4  # of a probability, above which an export is not kept
CALIBRATION_IMAGES = 256  # of the training split, for a format that calibrates
RANDOM_IMAGES = 64  # to compare on where the data are not at hand
BATCH = 256  # images that an export is given at a time
ROUNDS, SECONDS = 50, 1.0  # with one image, at most, of whose times the median is taken


def export(
    kind: type[Export],
    options: Any,
    model: TrainedModel,
    run: Path,
    data: Data | None,
    out: Path | None,
) -> ExportReport:
    """Write `model` in the format `kind`, to `out` or into the run's folder.

    `data`: the run's, where their name alone does not open them. Without data the export is
    compared with the model on random images, and not tested. Raises EdartsError; then nothing is
    kept.
    """
    opened, note = _own_data(run, model, data)
    trial = _Trial.of(model, opened)
    known = _kept_accuracy(run) if trial.exam is None else trial.exam.accuracy(trial.truth)
    made = kind(options, Facts(known, None if opened is None else _to_calibrate(opened, model)))
    target = run / made.file if out is None else out
    exact = made.exact()
    with _beside(target) as folder:
        reference = None
        if exact is not None:
            with disk_errors(target):
                (folder / "exact").mkdir()
            reference = trial.of_format(exact, model, folder / "exact" / target.name)
        result = trial.of_format(made, model, folder / target.name)
        _check(reference or result, target)
        files = [_moved(file, folder, target) for file in result.files]
    right, other = result.right, None if reference is None else reference.right
    return ExportReport(
        name_of("exports", kind),
        tuple(files),
        run,
        result.measured,
        None if reference is None else reference.measured,
        None if right is None or other is None else paired_proportion(right, other),
        note,
    )


# -- the comparison --------------------------------------------------------------------------------


class _Result(NamedTuple):
    """What was written, how it does, and (N,) which of its answers to test images are right."""

    files: list[Path]
    measured: Measured | None
    right: NDArray[np.bool_] | None


@dataclass(frozen=True)
class _Trial:
    """What exports are compared on: images (N, H, W, C), the model's probabilities (N, K) of them,
    and the exam that they are of, if they are test images.
    """

    images: Tensor
    truth: NDArray[np.float32]
    exam: Exam | None

    @classmethod
    def of(cls, model: TrainedModel, opened: Opened | None) -> "_Trial":
        """On the test images of the data, or on random ones."""
        exam = None if opened is None else Exam.of(model, opened)
        channels, height, width = model.image
        shape = RANDOM_IMAGES, height, width, channels
        draw = torch.Generator().manual_seed(0)
        images = torch.randint(256, shape, generator=draw).byte() if exam is None else exam.images
        cpu = torch.device("cpu")
        predict = evaluation.predict
        found = predict(model.network, images, model.transform, cpu, model.calibration).checked()
        return cls(images, found.probabilities.numpy(), exam)

    def of_format(self, made: Export, model: TrainedModel, out: Path) -> _Result:
        """Write the model to `out`, and let what was written answer."""
        files = made.write(model, out)
        answer = made.open(out)
        if answer is None:
            return _Result(files, None, None)
        images = np.ascontiguousarray(self.images.numpy())
        starts = range(0, len(images), BATCH)
        said = np.concatenate([answer(images[start : start + BATCH]) for start in starts])
        measured = Measured(
            sum(file.stat().st_size for file in files if file.suffix != ".py" or out.is_dir()),
            _milliseconds(answer, images[:1]),
            float(np.abs(said - self.truth).max()),
            len(images),
            None if self.exam is None else self.exam.accuracy(said),
        )
        return _Result(files, measured, None if self.exam is None else self.exam.right(said))


def _milliseconds(answer: Answer, image: NDArray[np.uint8]) -> float:
    """The median time for one image, after one that warms up."""
    answer(image)
    times, end = list[float](), time.perf_counter() + SECONDS
    while not times or (len(times) < ROUNDS and time.perf_counter() < end):
        start = time.perf_counter()
        answer(image)
        times.append(1000 * (time.perf_counter() - start))
    return median(times)


def _check(result: _Result, target: Path) -> None:
    """Raises EdartsError unless the export says what the model says."""
    found = result.measured
    if found is not None and not found.difference <= LARGEST_DIFFERENCE:  # NaN is none either
        raise EdartsError(
            f"{target}: not kept, for its probabilities differ from the model's by up to"
            f" {found.difference:.1e} (at most {LARGEST_DIFFERENCE:g} is allowed)"
        )


# -- data and files --------------------------------------------------------------------------------


def _own_data(run: Path, model: TrainedModel, data: Data | None) -> tuple[Opened | None, str]:
    """The data of the run, or why they are not at hand."""
    try:
        own = DataConfig.from_settings(read_settings(run))
        with reading(run):
            opened = open_to_evaluate(own if data is None else data, own)
            check_content(run, opened)
        if not model.is_of(opened):
            raise UsageError("export tests a network on the data that it was trained on, no others")
        return opened, ""
    except EdartsError as error:
        if data is not None:
            raise
        return None, (
            f"not tested, but compared with the model on {RANDOM_IMAGES} random images: {error}"
        )


def _to_calibrate(opened: Opened, model: TrainedModel) -> Tensor:
    """Some training images, drawn at random."""
    data = opened.split("train", model.image, model.white)
    return data.at(permutation(len(data), 0, "export")[:CALIBRATION_IMAGES])


def _kept_accuracy(run: Path) -> Estimate | None:
    """The model's on test images, as `find` has kept it; None if it has not."""
    known = Run(run).read_json("evaluation.json")
    if known is None:
        return None
    low, high = known["test_accuracy_ci95"]
    return Estimate(known["test_accuracy"], low, high, known["test_images"])


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """A new folder beside `target`, of which errors do not speak; afterwards it is gone.

    One that a killed export has left has the same name, and goes first.
    """
    check_place(target)
    folder = target.with_name(f".{target.name}.new")
    check_no_link(folder)
    try:
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir()
    except OSError as error:
        raise unwritable(target, error) from None
    try:
        yield folder
    except EdartsError as error:
        told = str(error)
        for aside in (folder / "exact" / target.name, folder / target.name):
            told = told.replace(str(aside), str(target))
        raise type(error)(told) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _moved(file: Path, folder: Path, target: Path) -> Path:
    """Take a file of the folder to where it belongs, in place of one that is there."""
    final = target.parent / file.relative_to(folder)
    if final.parent != target.parent:
        check_no_link(final.parent)
    try:
        final.parent.mkdir(exist_ok=True)
        file.replace(final)
    except OSError as error:
        raise unwritable(final, error) from None
    return final
