"""The model card: what a network was trained on, how good it is, and how it is loaded."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from edarts.config.data import shown
from edarts.data.catalogue import few
from edarts.data.fingerprint import Listing
from edarts.data.sources.arrays import ARRAYS
from edarts.nn.mirrored import Mirrored
from edarts.reporting.reports import Entrant, EvaluationReport
from edarts.reporting.stats import Estimate
from edarts.reporting.work import LISTING
from edarts.runs.folder import Run
from edarts.training.models import HUB, TrainedModel

MIRRORED = " They are the mean of those of the image and of its mirror image."
TAGS = ["image-classification", "edarts", "neural-architecture-search"]


def name_of(data: str) -> str:
    """What data are called in public: arrays from Python, as they have no name, `arrays`."""
    return "arrays" if data.partition(" ")[0] in ARRAYS else shown(data)


def card(
    folder: Path, model: TrainedModel, repository: str, license: str | None, picture: bool
) -> str:
    """The text of README.md for a repository of the hub, with its metadata on top.

    `picture`: whether a drawing of the architecture, cell.png, lies beside it.
    """
    run = Run(folder)
    known, race = run.read_json("evaluation.json"), run.read_json("race.json")
    report = None
    if known is not None:
        # Which test images are training images too stays at home: their names are files' names.
        report = EvaluationReport.from_dict(known, model.architecture, folder)
        if report.overlap is not None:
            report = replace(report, overlap=replace(report.overlap, first=()))
    parts = [
        f"---\n{_metadata(model, repository, license, report)}\n---",
        f"# {repository.partition('/')[2]}",
        f"A small network that tells {len(model.classes)} classes of images apart, made by edarts:"
        f" {few(model.classes)}.",
        *(["![The architecture](cell.png)"] if picture else []),
        "## What it was trained on",
        _table(("", ""), _trained_on(folder, model)),
        "## How good it is",
        *_tested(report),
        *_raced(race),
        "## How it is loaded",
        *_loading(model, repository),
    ]
    return "\n\n".join(parts) + "\n"


def _metadata(
    model: TrainedModel, repository: str, license: str | None, report: EvaluationReport | None
) -> str:
    """In YAML, as the hub reads it."""
    from huggingface_hub import EvalResult, ModelCardData

    name = name_of(model.data)
    results = None
    if report is not None:
        results = [
            EvalResult(
                task_type="image-classification",
                dataset_type=name.removeprefix(HUB),
                dataset_name=name.removeprefix(HUB),
                dataset_split="test",
                metric_type="accuracy",
                metric_value=round(report.test_accuracy, 4),
            )
        ]
    return ModelCardData(
        library_name="edarts",
        pipeline_tag="image-classification",
        tags=list(TAGS),
        license=license,
        datasets=[name.removeprefix(HUB)] if name.startswith(HUB) else None,
        model_name=repository.partition("/")[2],
        eval_results=results,
    ).to_yaml()


def _trained_on(folder: Path, model: TrainedModel) -> Iterable[tuple[str, str]]:
    listing = Listing.read(folder / LISTING)
    channels, height, width = model.image
    yield "data", name_of(model.data)
    yield "fingerprint", f"`{model.fingerprint}`, of images and labels"
    if listing is not None:
        yield "images", f"{len(listing.places):,}, training and test"
    yield "size of images", f"{height} x {width}, channels {channels}"
    yield from model.architecture.lines().items()
    yield "parameters", f"{model.parameters:,}"
    yield "multiply-adds for one image", f"{model.flops:,}"


def _tested(report: EvaluationReport | None) -> Iterable[str]:
    """The figures of the evaluation, and of each class."""
    if report is None:
        yield "It was not evaluated: no test images were set apart."
        return
    size = ("parameters", "FLOPs")
    rows = [row for row in report.tested().items() if row[0] not in size]
    yield _table(("on test images", ""), rows)
    yield (
        "Intervals are 95 % intervals over these test images, for this one training; other data"
        " may be harder."
    )
    if report.trust is not None:
        classes = [
            (one.name, str(one.images), _share(one.recall), _share(one.precision))
            for one in report.trust.classes
        ]
        yield _table(("class", "test images", "recall", "precision"), classes)


def _raced(race: Any) -> Iterable[str]:
    """The networks that it was compared with."""
    if race is None:
        return
    yield "## What it was compared with"
    yield f"{race['verdict'][0].upper()}{race['verdict'][1:]}."
    entrants = [Entrant.from_dict(one) for one in race["candidates"]]
    rows = [
        (one.name, _share(one.accuracy), f"{one.parameters:,}", f"{one.flops:,}", str(one.round))
        for one in entrants
    ]
    yield _table(
        ("candidate", "accuracy", "parameters", "multiply-adds", "last round of the race"), rows
    )
    yield (
        "Accuracy on training images held out, after the candidate's last round; rounds get longer,"
        " so accuracies of different rounds do not compare."
    )


def _loading(model: TrainedModel, repository: str) -> Iterable[str]:
    channels, height, width = model.image
    yield (
        "With edarts:\n\n```python\nimport edarts\n\n"
        f'model = edarts.load_model("{HUB}{repository}")\n'
        'model.predict(["photo.png"])\n```'
    )
    yield (
        "Without it: where edarts is installed, write once"
        f" `edarts export {HUB}{repository} --format onnx --out model.onnx`. The file takes bytes"
        " (N, height, width, channels), gives probabilities, and needs onnxruntime alone:"
    )
    yield (
        "```python\nimport numpy\nimport onnxruntime\n\n"
        'session = onnxruntime.InferenceSession("model.onnx")\n'
        f"images = numpy.zeros((1, {height}, {width}, {channels}), dtype=numpy.uint8)\n"
        "print(session.run(None, {session.get_inputs()[0].name: images})[0])\n```"
    )
    yield (
        "With `--format python` it becomes a folder of plain PyTorch source of just this network,"
        " with its weights and a script that predicts."
    )
    temperature = 1.0 if model.calibration is None else model.calibration.temperature
    yield (
        "The files here: `model.safetensors` holds the weights, `config.json` the architecture, the"
        f" classes in the order of the logits, and how images are fed: {height} x {width} pixels,"
        f" scaled to 0..1, minus `mean`, divided by `std`. Logits are divided by {temperature:.4g}"
        f" before the softmax.{MIRRORED if isinstance(model.network, Mirrored) else ''}"
    )
    if model.preprocessing is not None:
        low, high = model.preprocessing.low, model.preprocessing.high
        yield (
            f"It was trained on arrays of numbers, of which {low:g} becomes black and {high:g}"
            " white (`preprocessing` in `config.json`)."
        )


def _share(share: Estimate | None) -> str:
    if share is None:
        return "-"
    return f"{share.value:.2%} ({share.low:.2%} to {share.high:.2%})"


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown."""
    plain = [[cell.replace("|", "/") for cell in row] for row in rows]
    lines = [headings, ["---"] * len(headings), *plain]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
