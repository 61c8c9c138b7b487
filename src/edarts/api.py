"""What the verbs of the command line do, as functions: find, search, train, evaluate, predict.

Each works in a run folder and resumes what it finds there.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from edarts.config import DataConfig, SearchConfig, TrainConfig, from_settings
from edarts.data.data import Dataset, Transform, load, read_image, to_pixels
from edarts.errors import EdartsError, UsageError, unknown
from edarts.methods.blackbox import registry_ as samplers
from edarts.methods.oneshot import driver as oneshot
from edarts.nn.operations import count_flops, count_parameters
from edarts.nn.whole import Whole
from edarts.reporting import drawing as report
from edarts.reporting import page
from edarts.runs.folder import Run, open_run, read_json, read_settings
from edarts.runs.processes import barrier, is_main
from edarts.runs.progress import Progress
from edarts.runs.stop import Stop
from edarts.runtime import Runtime, Session
from edarts.space import architecture, zoo
from edarts.space.architecture import Architecture, Model
from edarts.space.darts import Space
from edarts.training import device
from edarts.training import fit as train


def find(
    data: DataConfig | str = "digits",
    search_config: SearchConfig | None = None,
    train_config: TrainConfig | None = None,
    session: Session | None = None,
) -> dict[str, Any]:
    """Search an architecture for `data`, train it from scratch, evaluate it once, save it all.

    Returns `test_accuracy` (0..1), `test_accuracy_ci95`, `parameters`, `flops` (multiply-adds of
    one image), `seconds` by phase, `genotype`, `run`, and more. Raises EdartsError.
    """
    data, session = _data(data), session or Session()
    if search_config is not None and samplers.here(search_config.method):
        raise UsageError(
            f"find searches with one-shot methods; for {search_config.method} use `edarts search`,"
            " then `edarts train`"
        )
    runtime = device.runtime(session)
    dataset = load(data)
    config, space, notes = oneshot.resolve_config(
        search_config or SearchConfig(), len(dataset), len(dataset.classes)
    )
    recipe = train.resolve_config(train_config or TrainConfig(), len(dataset))
    settings = _settings(data, session, config) | {"train": recipe.to_settings()}
    with _working("find", data, dataset, session, settings, notes, runtime=runtime) as work:
        found = _search(work, config, space)
        _train(work, found.genotype, recipe)
        result = _evaluation(work)
    return result | {"skips": found.genotype.skips(), "steps": found.steps}


def search(
    data: DataConfig | str = "digits",
    config: SearchConfig | None = None,
    session: Session | None = None,
) -> dict[str, Any]:
    """Search an architecture for `data`; the test split is not read.

    Returns `genotype`, `skips` {normal, reduce}, `seconds` by phase, `run`; of a one-shot method
    `steps` {weight, architecture}, `passes` {forward, backward}, `images_seen`; of a black-box one
    `score`, `trials` {scored, known, failed}, `storage`, `study`. Raises EdartsError.
    """
    data, session, config = _data(data), session or Session(), config or SearchConfig()
    if samplers.here(config.method):
        return _black_box(data, config, session)
    for name, usual in (("storage", None), ("workers", 1), ("ray_address", None)):
        if getattr(session, name) != usual:
            raise UsageError(f"--{name.replace('_', '-')} is for black-box methods")
    runtime = device.runtime(session)
    dataset = load(data)
    config, space, notes = oneshot.resolve_config(config, len(dataset), len(dataset.classes))
    settings = _settings(data, session, config)
    with _working("search", data, dataset, session, settings, notes, runtime=runtime) as work:
        found = _search(work, config, space)
        return {
            "genotype": found.genotype.to_dict(),
            "skips": found.genotype.skips(),
            "seconds": {"search": round(found.seconds, 2)},
            "steps": found.steps,
            "passes": found.passes,
            "images_seen": found.images_seen,
            "run": str(work.run.path),
        }


def train_genotype(
    genotype: str | Architecture,
    data: DataConfig | str = "digits",
    config: TrainConfig | None = None,
    session: Session | None = None,
) -> dict[str, Any]:
    """Train the network of `genotype` (JSON file, run folder, zoo name) on `data`'s training split.

    It may be a whole network too, such as the zoo's DenseNet-BC.
    Returns `train_accuracy` of the last epoch (augmented images), `valid_accuracy` if some were
    held out, `parameters`, `flops`, `seconds`, `genotype`, `run`. Raises EdartsError.
    """
    data, session = _data(data), session or Session()
    runtime = device.runtime(session)
    design = read_architecture(genotype) if isinstance(genotype, str) else genotype
    dataset = load(data)
    recipe = train.resolve_config(
        config or TrainConfig(), len(dataset), whole=isinstance(design, Whole)
    )
    name = genotype if isinstance(genotype, str) else str(genotype)
    settings = {"genotype": name} | _settings(data, session, recipe)
    with _working("train", data, dataset, session, settings, runtime=runtime) as work:
        _keep_genotype(work.run, design)
        fitted = _train(work, design, recipe)
        model = work.run.read_json("model.json")
        last = fitted.history[-1]
        return {
            "train_accuracy": last["accuracy"],
            **{k: last[k] for k in ("valid_accuracy",) if k in last},
            "parameters": model["parameters"],
            "flops": model["flops"],
            "seconds": {"train": round(fitted.seconds, 2)},
            "genotype": design.to_dict(),
            "run": str(work.run.path),
        }


def evaluate_run(
    run: str | Path, data: str | None = None, session: Session | None = None
) -> dict[str, Any]:
    """Accuracy of a trained run's network on the test split of its data, or of other `data`.

    Returns `test_accuracy` (0..1), `test_accuracy_ci95` (Wilson), `per_class`, `parameters`,
    `flops`, `seconds`, `genotype`, `run`. This alone reads the test split. Raises EdartsError.
    """
    folder = Path(run)
    runtime = device.runtime(session or Session())
    config = from_settings(DataConfig, read_settings(folder))
    if data is not None:
        config = replace(config, data=data)
    return _evaluate(folder, config, runtime)


def predict(
    run: str | Path, images: Sequence[str | Path], session: Session | None = None
) -> list[dict[str, Any]]:
    """[{`file`, `class`, `probability`}] of image files, by a trained run's network."""
    if not images:
        raise UsageError("predict needs at least one image file")
    runtime = device.runtime(session or Session())
    network, transform, model = load_model(Path(run))
    pixels = [
        torch.from_numpy(to_pixels(read_image(Path(image)), network.image).copy())
        for image in images
    ]
    best = train.predict(network, torch.stack(pixels), transform, runtime).max(dim=1)
    return [
        {"file": str(image), "class": model["classes"][index], "probability": round(p, 6)}
        for image, p, index in zip(images, best.values.tolist(), best.indices.tolist(), strict=True)
    ]


def read_architecture(name: str) -> Architecture:
    """From a JSON file, a run folder, or a zoo name. Raises EdartsError, UsageError."""
    path = Path(name)
    if path.is_dir():
        if not (path / "genotype.json").exists():
            raise EdartsError(f"{name}: has no genotype.json; a search writes one when it is done")
        return architecture.load(path / "genotype.json")
    if path.exists():
        return architecture.load(path)
    if name in zoo.names():
        return zoo.get(name).architecture
    if path.suffix == ".json" or len(path.parts) > 1:
        raise EdartsError(f"{name}: no such file or run folder")
    raise unknown("genotype (a file, run folder or zoo name)", name, zoo.names())


def load_model(folder: Path) -> tuple[Model, Transform, dict[str, Any]]:
    """The trained network of a run, the transform it expects, and model.json's fields."""
    if not folder.is_dir():
        raise EdartsError(f"{folder}: no such run folder")
    if not (folder / "model.json").exists():
        raise EdartsError(f"{folder}: no trained model; `edarts train {folder}` makes one")
    fields = read_json(folder / "model.json")
    weights = folder / "model.safetensors"
    try:
        network = architecture.build(
            architecture.from_dict(fields["genotype"]),
            cells=fields["cells"],
            channels=fields["channels"],
            classes=len(fields["classes"]),
            image=tuple(fields["image"]),
        )
        network.load_state_dict(load_tensors(weights.read_bytes()))
        transform = Transform(tuple(fields["mean"]), tuple(fields["std"]))
    except Exception as error:  # safetensors, torch and the parsers each raise their own
        raise EdartsError(
            f"{weights}: damaged model ({' '.join(str(error).split())[:120]}); train it again"
        ) from None
    return network, transform, fields


# -- parts ---------------------------------------------------------------------------------------


def _data(data: DataConfig | str) -> DataConfig:
    return DataConfig(data) if isinstance(data, str) else data


def _settings(
    data: DataConfig, session: Session, config: SearchConfig | TrainConfig
) -> dict[str, Any]:
    given = {name: getattr(session, name) for name in ("precision", "compile")}
    unusual = {name: value for name, value in given.items() if value != getattr(Session, name)}
    how = {"seed": session.seed, "device": session.device, **unusual}
    how_learned = config.to_settings() if isinstance(config, TrainConfig) else asdict(config)
    return {**asdict(data), **how, **how_learned}


@dataclass(frozen=True)
class _Work:
    """What the parts of a verb share: the data, the open run and what drives it."""

    data: DataConfig
    dataset: Dataset
    session: Session
    run: Run
    runtime: Runtime

    def driver(self) -> dict[str, Any]:
        """The keyword arguments of one_shot()."""
        return {
            "seed": self.session.seed,
            "device": self.session.device,
            "run": self.run,
            "progress": self.session.progress,
            "stop": self.runtime.stop,
            "precision": self.session.precision,
            "compiled": self.session.compile,
        }


@contextmanager
def _working(
    verb: str,
    data: DataConfig,
    dataset: Dataset,
    session: Session,
    settings: Mapping[str, Any],
    notes: Sequence[str] = (),
    free: Sequence[str] = (),
    *,
    runtime: Runtime,
) -> Iterator[_Work]:
    """Open the run folder, say what the data are, turn Ctrl-C and SIGTERM into a stop.

    `free`: settings that may differ from one time to the next.
    """
    fixed = {name: value for name, value in settings.items() if name not in free}
    folder = session.folder(verb, data, fixed)
    with (
        open_run(folder, settings, session.checkpoint_seconds, free) as run,
        Stop().listening() as stop,
    ):
        if session.progress is not None:
            _say_data(session.progress, dataset, notes)
        yield _Work(data, dataset, session, run, replace(runtime, run=run, stop=stop))
        if is_main():
            page.write_run(run)


def _say_data(progress: Progress, dataset: Dataset, notes: Sequence[str]) -> None:
    channels, height, width = dataset.shape
    progress.say(
        f"data: {dataset.name}, {len(dataset)} training images of {height} x {width} x {channels}"
        f" in {len(dataset.classes)} classes"
    )
    for note in [*dataset.notes, *notes]:
        progress.say(f"data: {note}")


def _search(work: _Work, config: SearchConfig, space: Space) -> oneshot.SearchResult:
    found = oneshot.one_shot(work.dataset, config, space, **work.driver())
    _keep_genotype(work.run, found.genotype)
    return found


def _black_box(data: DataConfig, config: SearchConfig, session: Session) -> dict[str, Any]:
    """A search on a ledger; `trials` may grow from one time to the next."""
    if session.precision != "fp32" or session.compile:
        raise UsageError("--precision and --compile are not for black-box methods")
    # Optuna and its database library take a while to load, and no other verb needs them.
    from edarts.methods.blackbox import driver as blackbox
    from edarts.methods.blackbox import objective
    from edarts.methods.blackbox.ledger import open_study
    from edarts.runs import pool as parallel

    runtime = device.runtime(session)
    config, encoding = blackbox.resolve_config(config)
    sampler = blackbox.make_sampler(encoding, config, session.seed)
    dataset = load(data)
    judge = objective.objective(dataset, data, config, seed=session.seed, device=session.device)
    settings = _settings(data, session, config)
    with _working(
        "search", data, dataset, session, settings, free=("trials",), runtime=runtime
    ) as work:
        storage = session.storage or f"sqlite:///{work.run.path.resolve() / 'ledger.db'}"
        study = open_study(storage, blackbox.study_name(settings), sampler)
        with parallel.pool(judge, session.workers, session.ray_address) as pool:
            found = blackbox.black_box(
                study,
                encoding,
                judge,
                config,
                seed=session.seed,
                run=work.run,
                progress=session.progress,
                stop=work.runtime.stop,
                pool=pool,
                shared=session.storage is not None,
            )
        _keep_genotype(work.run, found.genotype, replace_other=True)
        return {
            "genotype": found.genotype.to_dict(),
            "skips": found.genotype.skips(),
            "score": found.score,
            "trials": found.trials,
            "seconds": {"search": round(found.seconds, 2)},
            "storage": storage,
            "study": study.study_name,
            "run": str(work.run.path),
        }


def _keep_genotype(run: Run, genotype: Architecture, *, replace_other: bool = False) -> None:
    if not is_main():
        return
    path = run.path / "genotype.json"
    known = architecture.load(path) if path.exists() else None
    if known is not None and known != genotype and not replace_other:
        raise EdartsError(f"{path}: holds another genotype; give another --out")
    if known != genotype:
        run.write_text("genotype.json", genotype.to_json())
    if known != genotype or not (run.path / "cell.png").exists():
        report.draw(genotype, run.path)


def _train(work: _Work, genotype: Architecture, recipe: TrainConfig) -> train.FitResult:
    network = train.build(genotype, recipe, work.dataset, work.session.seed)
    fitted = train.fit(network, work.dataset, recipe, work.runtime)
    if is_main() and not (work.run.path / "model.json").exists():
        _save_model(work, genotype, fitted, recipe)
    barrier()
    return fitted


def _save_model(
    work: _Work, genotype: Architecture, fitted: train.FitResult, recipe: TrainConfig
) -> None:
    """model.safetensors, then model.json: who finds the second can trust the first.

    The auxiliary head helps training only and is left out.
    """
    network = fitted.network
    tensors: dict[str, Tensor] = {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in network.state_dict().items()
        if not name.startswith("auxiliary")
    }
    work.run.write_bytes("model.safetensors", save_tensors(tensors))
    work.run.write_json(
        "model.json",
        {
            "format": "edarts.model/1",
            "genotype": genotype.to_dict(),
            "cells": recipe.cells,
            "channels": recipe.channels,
            "image": list(network.image),
            "classes": list(work.dataset.classes),
            "mean": list(fitted.transform.mean),
            "std": list(fitted.transform.std),
            "parameters": count_parameters(network),
            "flops": count_flops(network, network.image),
            "data": work.data.data,
        },
    )


def _evaluation(work: _Work) -> dict[str, Any]:
    """The run's evaluation on its test split: done once, then read from evaluation.json."""
    run = work.run
    known: dict[str, Any] | None = run.read_json("evaluation.json")
    if known is None and is_main():
        known = _evaluate(run.path, work.data, work.runtime)
        phases = {name: round(state["seconds"], 2) for name, state in run.states().items()}
        known["seconds"] = phases | known["seconds"]
        run.write_json("evaluation.json", known)
    barrier()
    known = run.read_json("evaluation.json")
    assert known is not None
    return known | {"run": str(run.path)}


def _evaluate(folder: Path, data: DataConfig, runtime: Runtime) -> dict[str, Any]:
    network, transform, model = load_model(folder)
    dataset = _with_classes(load(data, "test", network.image), tuple(model["classes"]))
    evaluation = train.evaluate(network, dataset, transform, runtime)
    return {
        "test_accuracy": evaluation.accuracy,
        "test_accuracy_ci95": list(evaluation.ci95),
        "test_images": evaluation.total,
        "per_class": evaluation.per_class,
        "parameters": model["parameters"],
        "flops": model["flops"],
        "seconds": {"evaluate": round(evaluation.seconds, 2)},
        "genotype": model["genotype"],
        "run": str(folder),
    }


def _with_classes(dataset: Dataset, classes: tuple[str, ...]) -> Dataset:
    """`dataset` with its labels counted in `classes`, by name."""
    strange = [name for name in dataset.classes if name not in classes]
    if strange:
        raise EdartsError(
            f"{dataset.name}: class '{strange[0]}' is unknown to the model; it knows"
            f" {', '.join(classes[:10])}"
        )
    place = torch.tensor([classes.index(name) for name in dataset.classes])
    return replace(dataset, labels=place[dataset.labels], classes=classes)
