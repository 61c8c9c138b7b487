"""The driver of the studies: has the runs of a study done, and keeps their ledger.

A study is a folder: config.yaml, environment.json, runs/ with an ordinary run folder for every
search and training, ledger.jsonl (a line per run that ended, well or not), and at the end rows.csv,
study.json, report.html and the plots as PNG. Finished runs are not done again; failed ones are
tried again when the command is repeated.

With `--workers` Ray's workers do the runs, each in its folder under runs/, so that on a cluster the
study's folder and the data lie on a file system that all machines share. The driver alone writes
the ledger and decides what comes next.
"""

import csv
import gc
import io
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from edarts import api as verbs
from edarts.api import Session
from edarts.config import DataConfig, SearchConfig, TrainConfig, given, read_yaml
from edarts.data.sources import open_catalogue
from edarts.errors import EdartsError, Interrupted, reason_of
from edarts.methods.oneshot import driver as oneshot
from edarts.reporting import page
from edarts.reporting.model import Table
from edarts.runs import memory
from edarts.runs import pool as parallel
from edarts.runs.folder import Run, Stop, open_run, read_lines
from edarts.runs.progress import Progress, clock
from edarts.space import architecture
from edarts.space.genotype import Genotype
from edarts.studies import base as studies
from edarts.studies.base import Job, Recipe, Row, Study
from edarts.training import fit as train
from edarts.training.loop import device_of

LEDGER = "ledger.jsonl"
NETWORK_EDGES = 8  # of a cell that is trained, as a measure of its cost
POLL_SECONDS = 0.5  # between two looks at whether the user asked to stop
STOP_SECONDS = 30.0  # that workers have to write a checkpoint


class Inner(Progress):
    """The progress of a run inside a study: what stays on the screen is the study's."""

    def say(self, text: str) -> None:
        """Nothing."""


def study(
    name: str,
    data: DataConfig | str = "digits",
    recipe: Recipe | None = None,
    session: Session | None = None,
    *,
    dry_run: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """Do study `name` (a file of studies/) in a folder, or go on with it.

    `options`: the fields of the study's class. `dry_run`: only the first run, which is timed and
    kept, for the plan. Returns `rows` (one per run), `failed` (their rows), `sentences`, `tables`,
    `plan` {runs, finished, seconds_left}, `run` (the folder). Raises EdartsError.
    """
    data = DataConfig(data) if isinstance(data, str) else data
    session, recipe = session or Session(), recipe or Recipe()
    progress = session.progress or Progress()
    workers, address = session.workers, session.ray_address
    # What a run takes; the folder and the progress of each are its own.
    session = replace(session, workers=1, ray_address=None, progress=None)
    images, classes = _size(data)
    recipe = replace(recipe, train=train.resolve_config(recipe.train, images))
    question: Study = studies.load(name)(recipe=recipe, **options)
    for first in question.jobs({}):
        _check(first, images, classes)
    settings = {
        "study": name,
        **{f.name: getattr(question, f.name) for f in fields(question) if f.name != "recipe"},  # type: ignore[arg-type]
        "seeds": len(studies.seeds(question)),
        **asdict(data),
        "device": session.device,
        "search": asdict(recipe.search),
        "train": asdict(recipe.train),
    }
    settings.pop("beside", None)  # what is compared with changes no run
    folder = session.folder(f"study-{name}", data, settings)
    with open_run(folder, settings, session.checkpoint_seconds) as run:
        rows = {key: row for key, row in read_ledger(folder).items() if row["status"] == "done"}
        plan = _Plan(question, rows, images, classes, workers)
        progress.say(plan.describe())
        if plan.next() is not None and not (dry_run and rows):
            work = _Work(data, session, folder, images, progress.quiet, os.getcwd())
            with parallel.pool(work, workers, address) as pool:
                for row in _work_off(plan, pool, most=1 if dry_run else None):
                    rows[row["name"]] = row
                    _append(folder / LEDGER, row)
                    progress.say(_line(row) + plan.describe_left())
        result = _finish(run, question, rows)
        return result | {"plan": plan.to_dict()}


def write_report(folder: Path) -> Path:
    """Draw the page of a run or a study again, from its files; returns report.html's path.

    Raises EdartsError.
    """
    if not (folder / "config.yaml").exists():
        raise EdartsError(f"{folder}: no run or study: it has no config.yaml")
    run = Run(folder)
    settings = read_yaml(folder / "config.yaml")
    if "study" not in settings:
        return page.write_run(run)
    kind = studies.load(settings["study"])
    names = {f.name for f in fields(kind)} - {"recipe"}
    known = settings | (run.read_json("study.json") or {})
    recipe = Recipe(
        SearchConfig(**settings["search"]), TrainConfig(**settings["train"]), settings["seeds"]
    )
    question: Study = kind(recipe=recipe, **{k: known[k] for k in names if k in known})
    _finish(run, question, read_ledger(folder))
    return folder / "report.html"


def read_ledger(folder: Path) -> dict[str, Row]:
    """Name -> row of a study's folder; the last line of a name counts. Raises EdartsError."""
    path = folder / LEDGER
    if not folder.is_dir():
        raise EdartsError(f"{folder}: no such study folder")
    return {row["name"]: row for row in read_lines(path)}


def to_csv(rows: Mapping[str, Row]) -> str:
    """Every row as CSV; a genotype in its short form."""
    names = list(dict.fromkeys(key for row in rows.values() for key in row))
    out = io.StringIO()
    writer = csv.DictWriter(out, names)
    writer.writeheader()
    for row in rows.values():
        cells = architecture.from_dict(row["genotype"]) if "genotype" in row else None
        writer.writerow(row | ({"genotype": str(cells)} if cells is not None else {}))
    return out.getvalue()


# -- parts ---------------------------------------------------------------------------------------


class _Plan:
    """What is to be done, and how long it will take by what is done."""

    def __init__(
        self, question: Study, rows: dict[str, Row], images: int, classes: int, workers: int
    ) -> None:
        self.question, self.rows = question, rows
        self.images, self.classes = images, classes
        self.workers = workers
        self.costs: dict[str, float] = {}

    def jobs(self) -> list[Job]:
        return self.question.jobs(self.rows)

    def next(self, begun: Iterable[str] = ()) -> Job | None:
        """The first that is known and neither done nor begun."""
        taken = {*self.rows, *begun}
        return next((job for job in self.jobs() if job.name not in taken), None)

    def seconds_left(self) -> float | None:
        """By the seconds of the ended runs and the costs of all; None before the first.

        Shared out among the workers, but no less than the longest run takes.
        """
        ended = [job for job in self.jobs() if "seconds" in self.rows.get(job.name, {})]
        if not ended:
            return None
        rate: float = sum(self.rows[job.name]["seconds"] for job in ended) / sum(
            map(self.cost, ended)
        )
        costs = [self.cost(job) for job in self.jobs() if job.name not in self.rows]
        return rate * max(sum(costs) / self.workers, max(costs, default=0.0))

    def cost(self, job: Job) -> float:
        """Relative cost: images x cells x edges x operations that it passes through."""
        if job.name not in self.costs:
            self.costs[job.name] = _cost(job, self.images, self.classes)
        return self.costs[job.name]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        left = self.seconds_left()
        names = [job.name for job in self.jobs()]
        return {
            "runs": len(names),
            "finished": sum(name in self.rows for name in names),
            "seconds_left": None if left is None else round(left, 1),
        }

    def describe(self) -> str:
        plan = self.to_dict()
        text = f"plan: {plan['runs']} runs, {plan['finished']} of them done"
        if plan["seconds_left"] is None:
            return f"{text}; the time is estimated after the first"
        return f"{text}; about {clock(plan['seconds_left'])} to go"

    def describe_left(self) -> str:
        plan = self.to_dict()
        left = clock(plan["seconds_left"] or 0.0)
        return f"  ({plan['finished']} of {plan['runs']}, about {left} to go)"


def _size(data: DataConfig) -> tuple[int, int]:
    """(training images, classes), about: without decoding any."""
    catalogue = open_catalogue(data)
    images = len(catalogue.labels)
    if catalogue.test is None:
        images = round(images * (1 - data.test_fraction))
    return min(images, data.limit or images), len(catalogue.classes)


def _check(job: Job, images: int, classes: int) -> None:
    """Raises UsageError before the first run for options that no run could take."""
    if job.search is not None:
        oneshot.resolve_config(job.search, images, classes)
    if isinstance(job.genotype, str):
        verbs.read_architecture(job.genotype)


def _cost(job: Job, images: int, classes: int) -> float:
    recipe = job.train
    seen = images * (1 - recipe.valid_fraction) * given(recipe.epochs)
    cost = seen * (recipe.cells or 20) * NETWORK_EDGES
    if job.search is not None:
        config, space, _ = oneshot.resolve_config(job.search, images, classes)
        seen = images * given(config.data_fraction) / 2 * given(config.epochs)
        passes = {"step": 2 if config.order != 2 else 5, "joint": 2}.get(str(config.arch_update), 1)
        edges = len(space.normal) * len(space.operations) / given(config.partial)
        width = given(config.channels) / (recipe.channels or 16)
        cost += seen * passes * given(config.cells) * edges * width
    return cost


@dataclass(frozen=True)
class _Work:
    """A study's runs, one a call, here or in a worker; `where`: the folder that paths start at."""

    data: DataConfig
    session: Session
    folder: Path
    images: int
    quiet: bool
    where: str

    def __call__(self, job: Job) -> Row:
        os.chdir(self.where)
        inner = Inner(quiet=self.quiet)
        return _do(job, self.data, self.session, inner, self.folder, self.images)


def _work_off(plan: _Plan, pool: parallel.Pool, most: int | None) -> Iterator[Row]:
    """The row of each run as it ends, at most so many; later runs may hang on what they are.

    Raises Interrupted when the user asks to stop.
    """
    running: dict[int, Job] = {}
    begun = 0
    with Stop().listening() as stop:
        while not stop.requested:
            job = plan.next(job.name for job in running.values())
            if job is not None and len(running) < pool.workers and begun != most:
                running[pool.submit(job)] = job
                begun += 1
            elif not running:
                return
            elif pool.ready(POLL_SECONDS):
                ticket, outcome = pool.wait()
                ended = running.pop(ticket)
                lost = {"status": "failed", "reason": outcome.reason}
                yield _named(ended) | lost if outcome.reason else outcome.value
        pool.stop(STOP_SECONDS)
        while running and pool.ready(0.0):
            ticket, outcome = pool.wait()
            del running[ticket]
            if outcome.reason is None:  # it ended before it was told to stop
                yield outcome.value
    done = plan.to_dict()
    raise Interrupted(f"study: stopped after {done['finished']} of {done['runs']} runs")


def _named(job: Job) -> Row:
    """What a row says before anything is measured."""
    return {"name": job.name, **job.factors, "seed": job.seed}


def _do(
    job: Job, data: DataConfig, session: Session, progress: Progress, folder: Path, images: int
) -> Row:
    """One line of the ledger: what was measured, or why it failed."""
    row = _named(job) | {"status": "done"}
    start = time.monotonic()
    try:
        row |= _measure(job, data, session, progress, folder, images)
    except (Interrupted, KeyboardInterrupt):
        raise
    except Exception as error:  # the other runs are worth doing whatever this one died of
        return row | {"status": "failed", "reason": reason_of(error).replace(f"{folder}/", "")}
    return row | {"seconds": round(time.monotonic() - start, 2)}


def _measure(
    job: Job, data: DataConfig, session: Session, progress: Progress, folder: Path, images: int
) -> Row:
    row: Row = {}
    genotype = job.genotype
    where = replace(session, seed=job.seed, progress=progress)
    if job.search is not None:
        out = folder / "runs" / f"{job.name}-search"
        with peak_memory(session.device) as peak:
            found = verbs.search(data, job.search, replace(where, out=out))
        genotype = Genotype.from_dict(found["genotype"])
        row |= {
            "search_seconds": found["seconds"]["search"],
            "images_seen": found["images_seen"],
            "search_peak_mib": peak.get("mib"),
        }
    assert genotype is not None
    out = folder / "runs" / job.name
    with peak_memory(session.device) as peak:
        trained = verbs.train_genotype(genotype, data, job.train, replace(where, out=out))
    row |= {
        "train_seconds": trained["seconds"]["train"],
        "train_peak_mib": peak.get("mib"),
        "valid_accuracy": trained["valid_accuracy"],
        "valid_images": round(images * job.train.valid_fraction),
        "parameters": trained["parameters"],
        "flops": trained["flops"],
    }
    if isinstance(design := architecture.from_dict(trained["genotype"]), Genotype):
        skips = design.skips()
        row |= {"normal_skips": skips["normal"], "reduce_skips": skips["reduce"]}
    if job.test:
        tested = verbs.evaluate_run(out, session=where)
        row |= {
            "test_accuracy": tested["test_accuracy"],
            "test_low": tested["test_accuracy_ci95"][0],
            "test_high": tested["test_accuracy_ci95"][1],
            "test_images": tested["test_images"],
        }
    return row | {"genotype": trained["genotype"], "run": f"runs/{job.name}"}


@contextmanager
def peak_memory(device: str) -> Iterator[dict[str, float]]:
    """Puts the peak inside the block, in MiB, under `mib`: of the GPU, or of the whole process.

    Nothing where the system does not tell.
    """
    found: dict[str, float] = {}
    gpu = device_of(device).type == "cuda"
    gc.collect()
    try:
        if gpu:
            torch.cuda.reset_peak_memory_stats()
        else:
            memory.reset_peak()
    except OSError:
        yield found
        return
    yield found
    if gpu:
        found["mib"] = round(torch.cuda.max_memory_allocated() / 2**20, 1)
        return
    found["mib"] = round(memory.mib("VmHWM"), 1)


def _append(path: Path, row: Row) -> None:
    try:
        torn = path.exists() and not path.read_bytes().endswith(b"\n")
        with path.open("a", encoding="utf-8") as file:
            file.write(("\n" if torn else "") + json.dumps(row) + "\n")
    except OSError as error:
        raise EdartsError(f"{path}: cannot be written: {error.strerror or error}") from None


def _line(row: Row) -> str:
    if row["status"] == "failed":
        return f"{row['name']}  failed: {row['reason']}"
    parts = [row["name"], f"valid {row['valid_accuracy']:.2%}"]
    parts += [f"test {row['test_accuracy']:.2%}"] if "test_accuracy" in row else []
    return "  ".join([*parts, f"{row['seconds']:.1f} s"])


def _finish(run: Run, question: Study, rows: dict[str, Row]) -> dict[str, Any]:
    """The files that tell what was found, from the ledger alone, whatever order its lines have."""
    planned = [job.name for job in question.jobs(rows)]
    rows = {name: rows[name] for name in dict.fromkeys([*planned, *rows]) if name in rows}
    failed = [row for row in rows.values() if row["status"] == "failed"]
    summary = question.summary(rows)
    tables = [*summary.tables, *_failures(failed)]
    result = {
        "rows": list(rows.values()),
        "failed": failed,
        "sentences": summary.sentences,
        "tables": [table.to_dict() for table in tables],
        "run": str(run.path),
    }
    run.write_text("rows.csv", to_csv(rows))
    kept = {k: v for k, v in result.items() if k not in ("rows", "run")}
    beside = getattr(question, "beside", None)
    run.write_json("study.json", kept | ({"beside": beside} if beside else {}))
    page.write_study(run, replace(summary, tables=tables), rows)
    return result


def _failures(failed: list[Row]) -> list[Table]:
    if not failed:
        return []
    rows = [(row["name"], row["reason"]) for row in failed]
    return [Table("Runs that failed", ("run", "reason"), rows, "Repeat the command to retry them.")]
