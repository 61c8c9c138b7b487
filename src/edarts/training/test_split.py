"""The test split, which is read here alone: how good a model is, and how far to trust it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from edarts.data import Dataset, Opened
from edarts.errors import EdartsError
from edarts.reporting import pictures
from edarts.reporting.reports import EvaluationReport
from edarts.reporting.stats import Estimate, share
from edarts.reporting.trust import Overlap, Trust, learned, trust
from edarts.reporting.work import Work
from edarts.runs.folder import Run, reading
from edarts.runs.processes import barrier, is_main
from edarts.runtime import Runtime
from edarts.training import evaluation
from edarts.training.calibration import Answers, Calibration
from edarts.training.models import TrainedModel, save_predictions

NAMED = 10  # duplicates that are called by name


def evaluate_once(work: Work, model: TrainedModel, before: Mapping[str, float]) -> EvaluationReport:
    """The run's evaluation on its test split: done once, then read from evaluation.json.

    `before`: the seconds of the other phases.
    """
    run = work.run
    if run.read_json("evaluation.json") is None and is_main():
        report = evaluate(run, model, work.opened, work.runtime)
        report = replace(report, seconds={**before, **report.seconds})
        run.write_json("evaluation.json", report.to_dict() | {"run": run.path.name})
        run.log(phase="test", accuracy=report.test_accuracy)
    barrier()
    with reading(run.path):
        known = run.read_json("evaluation.json")
        return EvaluationReport.from_dict(known, model.architecture, run.path)


def evaluate(run: Run, model: TrainedModel, opened: Opened, runtime: Runtime) -> EvaluationReport:
    """Evaluate a model on the test split, and keep its probabilities if the data are the run's.

    Raises EdartsError.
    """
    dataset = opened.split("test", model.image, model.white).in_classes(model.classes)
    found = evaluation.evaluate(model.network, dataset, model.transform, runtime, model.calibration)
    found.answers.checked()
    own, overlap = model.is_of(opened), None
    if own:
        overlap = _overlap(opened, model)
        try:
            save_predictions(run, found.probabilities, dataset.labels)
            shown = pictures.of_test(
                dataset.images.numpy(),
                dataset.labels.numpy(),
                dataset.classes,
                found.probabilities.numpy(),
                lambda image: opened.place("test", image),
            )
            run.write_json(pictures.TESTED, pictures.to_json(shown))
        except EdartsError as error:  # a run on a disk that cannot be written is evaluated as well
            runtime.progress.warn(str(error))
    return EvaluationReport(
        model.architecture,
        Estimate(found.accuracy, *found.ci95, found.total),
        found.per_class,
        model.parameters,
        model.flops,
        {"evaluate": round(found.seconds, 2)},
        run.path,
        _trust(found.answers, dataset, model.calibration),
        overlap,
    )


@dataclass(frozen=True)
class Exam:
    """The test images (N, H, W, C) uint8 of a model, for another form of it: images without labels,
    and marks for its answers.
    """

    images: Tensor
    _labels: NDArray[np.int64] = field(repr=False)

    @classmethod
    def of(cls, model: TrainedModel, opened: Opened) -> "Exam":
        """On the data that the model was trained on. Raises EdartsError."""
        dataset = opened.split("test", model.image, model.white).in_classes(model.classes)
        return cls(dataset.images, dataset.labels.numpy())

    def right(self, probabilities: NDArray[Any]) -> NDArray[np.bool_]:
        """(N, K) probabilities of the classes -> (N,), which of the likeliest are right."""
        right: NDArray[np.bool_] = probabilities.argmax(axis=1) == self._labels
        return right

    def accuracy(self, probabilities: NDArray[Any]) -> Estimate:
        """The share of right ones, with Wilson's interval."""
        right = self.right(probabilities)
        return share(int(right.sum()), len(right))


def _overlap(opened: Opened, model: TrainedModel) -> Overlap:
    found = opened.duplicates(model.image, model.white)
    first = (
        (opened.place("test", test), opened.place("train", train))
        for test, train in found.first(NAMED)
    )
    return Overlap(*found.images, tuple(first))


def _trust(answers: Answers, data: Dataset, calibration: Calibration | None) -> Trust:
    labels = data.labels.numpy()
    found = trust(answers.probabilities.numpy(), labels, data.classes)
    if calibration is None or answers.sets is None or answers.unlike is None:
        return found
    sets, unlike = answers.sets.numpy(), answers.unlike.numpy()
    raw, (images, temperature) = answers.raw.numpy(), (calibration.images, calibration.temperature)
    return replace(found, learned=learned(images, temperature, raw, sets, unlike, labels))
