"""One function a verb: find, search, train, evaluate, predict, export, study, compare.

Each takes DATA (a path or name, a `DataConfig`, a `Dataset`, or arrays `(X, y)`), a config, and a
`Session`; works in a run folder, resumes what it finds there, and returns a typed report.
"""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, overload

import torch

from edarts import registry
from edarts.config import (
    CANDIDATES,
    Budget,
    DataConfig,
    SearchConfig,
    TrainConfig,
    is_black_box,
    option_names,
    takers,
)
from edarts.data import Data, open_data
from edarts.data.opened import open_to_evaluate
from edarts.errors import EdartsError, UsageError, unknown
from edarts.exports import driver as exports
from edarts.methods.oneshot.driver import one_shot, resolve_config, seconds_of_search
from edarts.race import driver as race
from edarts.race import plan as planning
from edarts.reporting import paired, pictures
from edarts.reporting.exported import ExportReport
from edarts.reporting.predictions import Predictions
from edarts.reporting.reports import (
    BlackBoxReport,
    EvaluationReport,
    FindReport,
    PagesReport,
    SearchReport,
    TrainReport,
)
from edarts.reporting.search_plan import SearchPlan
from edarts.reporting.work import (
    Work,
    all_but,
    check_content,
    keep_architecture,
    refuse,
    settings_of,
    working,
)
from edarts.runs.clock import Clock, begun
from edarts.runs.files import is_kept
from edarts.runs.folder import Run, read_settings, reading
from edarts.runs.processes import barrier, is_main
from edarts.runtime import Session
from edarts.space import named
from edarts.space.base import Architecture, Size
from edarts.studies import driver as studies
from edarts.studies.base import Recipe
from edarts.studies.driver import StudyReport
from edarts.studies.work import Verbs
from edarts.training import balance, device, fit, test_split
from edarts.training.loop import timed
from edarts.training.models import TrainedModel, load_model, save_model

__all__ = [
    "compare",
    "evaluate",
    "export",
    "find",
    "load_model",
    "predict",
    "report",
    "search",
    "study",
    "train",
]

POOL = ("storage", "workers", "ray_address")  # what only black-box searches and studies use


def find(
    data: Data = "digits",
    search_config: SearchConfig | None = None,
    train_config: TrainConfig | None = None,
    session: Session | None = None,
    budget: Budget | None = None,
    candidates: str = CANDIDATES,
) -> FindReport:
    """The best network for `data` within `budget`: searched, raced against plain networks, trained
    from scratch, evaluated once, saved.

    `candidates`: who races, with commas: found (the cell that the search finds), baselines, zoo
    names. Raises EdartsError.
    """
    started = begun()
    config, session, budget = (
        search_config or SearchConfig(),
        session or Session(),
        budget or Budget(),
    )
    given = train_config or TrainConfig()
    wanted = planning.wanted(candidates, config, given)
    refuse("find", session, *POOL)
    runtime, opened = device.runtime(session), open_data(data)
    dataset = opened.train
    plan, searched, notes = planning.Plan.of(
        dataset, wanted, budget, config, given, opened.test_images, opened.flip_open
    )
    settings = settings_of(opened, session, searched.to_settings()) | {
        "train": plan.train.to_settings(),
        "candidates": ",".join(plan.wanted),
        **budget.to_settings(),
    }
    clock = Clock(budget.seconds, started=started)
    with working("find", opened, session, runtime, settings, notes) as work:
        work.run.count(clock)
        found = race.find(plan, work.runtime, clock)
        keep_architecture(work.run, found.kept.architecture)
        race.keep(work.run, found)
        model = _model(work, found.kept.architecture, found.config, found.fitted)
        report = test_split.evaluate_once(work, model, found.seconds)
    shared: dict[str, Any] = {f.name: getattr(report, f.name) for f in fields(EvaluationReport)}
    return FindReport(
        **shared,
        weight_steps=found.counts.weight,
        architecture_steps=found.counts.architecture,
        winner=found.winner.name,
        candidates=found.entrants(),
        verdict=found.verdict,
        cut=found.cut,
    )


@overload
def search(
    data: Data = ...,
    search_config: SearchConfig | None = ...,
    session: Session | None = ...,
    *,
    dry_run: Literal[False] = ...,
) -> SearchReport | BlackBoxReport: ...
@overload
def search(
    data: Data = ...,
    search_config: SearchConfig | None = ...,
    session: Session | None = ...,
    *,
    dry_run: Literal[True],
) -> SearchPlan: ...
def search(
    data: Data = "digits",
    search_config: SearchConfig | None = None,
    session: Session | None = None,
    *,
    dry_run: bool = False,
) -> SearchReport | BlackBoxReport | SearchPlan:
    """Search an architecture for `data`; the test split is not read. Raises EdartsError.

    `dry_run`: nothing is searched or written; what a one-shot search would run at, and the time by
    a few steps.
    """
    config, session = search_config or SearchConfig(), session or Session()
    if is_black_box(config.method):
        if dry_run:
            raise UsageError("dry_run plans a search with a one-shot method")
        # Optuna and its database library take a while to load, and no other verb needs them.
        from edarts.methods.blackbox import run

        return run.search(data, config, session)
    refuse("search with a one-shot method", session, *POOL)
    runtime, opened = device.runtime(session), open_data(data)
    dataset = opened.sketch() if dry_run else opened.train
    sizes = len(dataset), len(dataset.classes)
    config, space, notes = resolve_config(config, *sizes)
    if dry_run:
        usual, _, _ = resolve_config(SearchConfig(config.method, space=config.space), *sizes)
        seconds = seconds_of_search(dataset, timed(config, runtime.device), space, runtime)
        return SearchPlan(config.to_settings(), usual.to_settings(), seconds)
    settings = settings_of(opened, session, config.to_settings())
    with working("search", opened, session, runtime, settings, notes) as work:
        found = one_shot(work.dataset, config, space, work.runtime)
        keep_architecture(work.run, found.architecture)
    counts = found.counts
    return SearchReport(
        found.architecture,
        counts.weight,
        counts.architecture,
        counts.forward,
        counts.backward,
        counts.images,
        {"search": round(found.seconds, 2)},
        work.run.path,
        opened.config.data,
    )


def train(
    architecture: str | Architecture | None = None,
    data: Data = "digits",
    train_config: TrainConfig | None = None,
    session: Session | None = None,
) -> TrainReport:
    """Train the network of an architecture on `data`'s training split.

    `architecture`: itself, or a JSON file, run folder, zoo name, or baseline. Raises EdartsError.
    """
    session = session or Session()
    if architecture is None:
        raise UsageError("train needs an architecture: a JSON file, run folder, or zoo name")
    refuse("train", session, *POOL)
    design = named.architecture(architecture) if isinstance(architecture, str) else architecture
    runtime, opened = device.runtime(session), open_data(data)
    recipe = fit.resolve_config(
        train_config or TrainConfig(),
        len(opened.train),
        whole=not design.sized,
        whitens=design.whitens,
    )
    settings = {"genotype": str(architecture)} | settings_of(opened, session, recipe.to_settings())
    notes = balance.note(recipe.balance, opened.train.labels, opened.classes)
    with working("train", opened, session, runtime, settings, notes) as work:
        keep_architecture(work.run, design)
        model, fitted = _train(work, design, recipe)
    last = fitted.history[-1]
    return TrainReport(
        design,
        last["accuracy"],
        last.get("valid_accuracy"),
        model.parameters,
        model.flops,
        {"train": round(fitted.seconds, 2)},
        work.run.path,
        model,
    )


def evaluate(
    run: str | Path | TrainReport, data: Data | None = None, session: Session | None = None
) -> EvaluationReport:
    """Accuracy of a trained run's network on the test split of its data, or on other `data`.

    Of other data without a test split all images are taken. `run`: folder, or report of `train`.
    This alone reads the test split. Raises EdartsError.
    """
    folder, model = (run.run, run.model) if isinstance(run, TrainReport) else (Path(run), None)
    session = session or Session()
    refuse("evaluate", session, *all_but("device", "progress"))
    settings = read_settings(folder)
    if "data" not in settings:
        raise EdartsError(f"{folder / 'config.yaml'}: damaged: it names no data")
    with reading(folder):
        own = DataConfig.from_settings(settings)
        if data is None:
            data = own
        elif isinstance(data, str):
            data = DataConfig.from_settings(settings | {"data": data})
    model = model or load_model(folder)
    with reading(folder):
        opened = open_to_evaluate(data, own)
        check_content(folder, opened)
    return test_split.evaluate(Run(folder), model, opened, device.runtime(session))


def predict(
    run: str | Path,
    images: Sequence[str | Path],
    session: Session | None = None,
    out: str | Path | None = None,
) -> Predictions:
    """The class of each image file, by a trained run's network.

    `images`: files, folders, whose images are taken, or patterns such as `new/*.png`. `out`: a .csv
    or .json file to write the predictions to. Raises EdartsError.
    """
    session = session or Session()
    refuse("predict", session, *all_but("device", "progress"))
    if not images:
        raise UsageError("predict needs at least one image file")
    if out is not None and Path(out).suffix not in (".csv", ".json"):
        raise UsageError(f"{out}: predictions are written as .csv or .json")
    model = load_model(run)
    pixels, files, notes = model.read(images)
    runtime = device.runtime(session)
    for note in notes:
        runtime.progress.note(note)
    answers = model.answers(torch.from_numpy(pixels), runtime)
    said = Predictions(model.predictions(files, answers))
    if out is not None:
        said.write(Path(out))
    return said


def export(
    run: str | Path,
    format: str = "torch",
    out: str | Path | None = None,
    data: Data | None = None,
    **options: Any,
) -> ExportReport:
    """Write a trained run's network as `format` (see exports/), to `out` or beside the run's files.

    What was written is run on the test images, and kept if it says what the model says. `data`: the
    run's, where it had no name to open them by, as arrays. `options`: those of the format. Raises
    EdartsError.
    """
    exporter = registry.get("exports", format)
    for name in options:
        if name not in option_names(exporter):
            raise unknown(f"option of format {format}", name, option_names(exporter))
    target = None if out is None else Path(out)
    chosen, model = exporter.Options(**options), load_model(run)
    return exports.export(exporter, chosen, model, Path(run), data, target)


def study(
    kind: str | None = None,
    data: Data = "digits",
    search_config: SearchConfig | None = None,
    train_config: TrainConfig | None = None,
    session: Session | None = None,
    *,
    seeds: int | None = None,
    dry_run: bool = False,
    **options: Any,
) -> StudyReport:
    """Many runs that answer one question (see studies/); `options`: those of the study.

    `dry_run`: the plan alone, with the time by a few steps of each kind of run. Raises EdartsError.
    """
    if kind is None:
        raise UsageError(f"study needs a kind: {', '.join(registry.names('studies'))}")
    question = registry.get("studies", kind)
    for name in options:
        if name not in option_names(question):
            others, flag = takers(name, "studies"), f"--{name.replace('_', '-')}"
            raise UsageError(f"study {kind} takes no {flag}" + (f" ({others})" if others else ""))
    recipe = Recipe(
        search_config or SearchConfig("darts"),
        train_config or TrainConfig(valid_fraction=0.2),
        seeds,
    )
    return studies.study(
        kind,
        open_data(data),
        recipe,
        session,
        verbs=Verbs(search, train, evaluate),
        options=question.Options(**options),
        dry_run=dry_run,
    )


def compare(data: Data = "digits", *arguments: Any, **options: Any) -> StudyReport:
    """Methods and published cells, trained alike, beside random cells of equal cost: see
    `study`.
    """
    return study("compare", data, *arguments, **options)


def report(runs: Sequence[str | Path], without_config: bool = False) -> PagesReport:
    """Draw the pages of runs and studies again, and compare each pair of evaluated runs image by
    image. `without_config`: config.yaml does not stand on them. Raises EdartsError.
    """
    folders = [Path(run) for run in runs]
    files = tuple(studies.write_report(folder, not without_config) for folder in folders)
    return PagesReport(files, tuple(paired.compare(folders)))


# -- parts ---------------------------------------------------------------------------------------


def _train(
    work: Work, design: Architecture, recipe: TrainConfig
) -> tuple[TrainedModel, fit.FitResult]:
    network = fit.build(design, recipe, work.dataset, work.runtime.seed)
    fitted = fit.fit(network, work.dataset, recipe, work.runtime)
    return _model(work, design, recipe, fitted), fitted


def _model(
    work: Work, design: Architecture, recipe: TrainConfig, fitted: fit.FitResult
) -> TrainedModel:
    """The trained network with all that its use needs, written into the run folder."""
    dataset, name = work.dataset, work.opened.config.shown
    size = fit.size_of(recipe) if design.sized else Size()
    model = TrainedModel.of(
        fitted.network,
        design,
        size,
        fitted.transform,
        dataset.classes,
        dataset.shape,
        name,
        dataset.white,
        work.opened.listing.fingerprint,
        fitted.calibration,
    )
    if is_main() and (save_model(work.run, model) or not is_kept(work.run.path / pictures.TRAINED)):
        assert fitted.margins is not None
        shown = pictures.of_training(
            dataset.images.numpy(),
            dataset.labels.numpy(),
            dataset.classes,
            fitted.margins.numpy(),
            lambda image: work.opened.place("train", image),
        )
        work.run.write_json(pictures.TRAINED, pictures.to_json(shown))
    barrier()
    return model
