"""The driver of the studies: has the runs of a study done, and keeps their ledger.

A study is a folder: config.yaml, environment.json, runs/ with an ordinary run folder for every
search and training, ledger.jsonl (a line per run that ended, well or not), and at the end rows.csv,
study.json, report.html and the plots as PNG. Finished runs are not done again; failed ones are
tried again when the command is repeated.

With many workers Ray does the runs, each in its folder under runs/, so that on a cluster the
study's folder and the data lie on a file system that all machines share. The driver alone writes
the ledger and decides what comes next.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edarts import registry
from edarts.data import Opened
from edarts.errors import Interrupted, UsageError
from edarts.reporting import page
from edarts.reporting.model import Column, Summary, Table
from edarts.reporting.work import LISTING, check_content, without_unknown
from edarts.runs import pool as parallel
from edarts.runs.folder import Run, default_path, open_run, read_settings, reading
from edarts.runs.progress import Progress, clock
from edarts.runs.stop import Stop
from edarts.runtime import Session
from edarts.space import zoo
from edarts.studies import base, searches, timing
from edarts.studies.base import Job, Recipe, Study
from edarts.studies.ledger import append, read_ledger, to_csv
from edarts.studies.plan import Plan, Schedule
from edarts.studies.row import Row
from edarts.studies.rows import Rows
from edarts.studies.text import percent
from edarts.studies.work import Verbs, Work, begun, inner_session, reachable
from edarts.training import device, fit

POLL_SECONDS = 0.5  # between two looks at whether the user asked to stop
STOP_SECONDS = 30.0  # that workers have to write a checkpoint


@dataclass(frozen=True)
class StudyReport:
    """What a study found so far.

    `rows`: one for each run that ended; `failed`: those that failed. `run`: the study's folder.
    """

    rows: tuple[Row, ...]
    failed: tuple[Row, ...]
    sentences: tuple[str, ...]
    tables: tuple[Table, ...]
    plan: Plan
    run: Path

    def summary(self) -> str:
        """For a terminal."""
        plan = self.plan
        left = "unknown time" if plan.seconds_left is None else clock(plan.seconds_left)
        going = "" if plan.finished == plan.runs else f"; about {left} to go"
        runs = f"{plan.finished} of {plan.runs}, {len(self.failed)} failed{going}"
        lines = [("runs", runs), *(("failed", f"{r.name}: {r.reason}") for r in self.failed)]
        lines += [("study", f"{self.run}   (report.html, rows.csv, study.json)")]
        return "\n".join([*self.sentences, *(f"{name:18}{text}" for name, text in lines)])

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: the keys of every study's JSON."""
        return {
            "rows": [row.to_dict() for row in self.rows],
            "failed": [row.to_dict() for row in self.failed],
            "sentences": list(self.sentences),
            "tables": [table.to_dict() for table in self.tables],
            "run": str(self.run),
            "plan": self.plan.to_dict(),
        }


def study(
    question: str | type[Study],
    data: Opened,
    recipe: Recipe | None = None,
    session: Session | None = None,
    *,
    verbs: Verbs,
    options: Any = None,
    dry_run: bool = False,
) -> StudyReport:
    """Do a study in a folder, or go on with it.

    `question`: the name of a study, or its class. `options`: an instance of the class's `Options`;
    None: the defaults. `verbs`: what does the runs. `dry_run`: nothing is done but the plan, for
    which a few steps of each kind of run are timed. Raises EdartsError, UsageError before the first
    run for options that no run could take, and Interrupted when the user asks to stop.
    """
    kind: type[Study] = registry.get("studies", question)
    name = question if isinstance(question, str) else registry.name_of("studies", kind)
    session, recipe = session or Session(), recipe or Recipe()
    _check_session(session)
    # Whether a network begins with the whitening layer is left to each: not all of them can.
    train = replace(fit.resolve_config(recipe.train, data.images), whitening=recipe.train.whitening)
    recipe = replace(recipe, train=train)
    asked = kind(recipe, options)
    for job in asked.jobs({}):
        _check_job(job, data)
    settings = _settings(name, asked, data, session)
    folder = _folder(name, data, session, settings)
    check_content(folder, data)
    settings = without_unknown(folder, settings)
    with open_run(folder, settings, session.checkpoint_seconds) as run:
        if not (folder / LISTING).exists():
            run.write_bytes(LISTING, data.listing.to_bytes())
        rows = {key: row for key, row in read_ledger(folder).items() if row.status == "done"}
        schedule = Schedule(asked, rows, data.images, len(data.classes), session.workers)
        _do_all(schedule, data, session, verbs, folder, dry_run=dry_run)
        return _finish(run, asked, rows, schedule.plan())


def write_report(folder: Path, config: bool = True) -> Path:
    """Draw the page of a run or a study again, from its files; returns report.html's path.

    `config`: whether config.yaml stands on it. Raises EdartsError.
    """
    settings = read_settings(folder)
    run = Run(folder)
    if "study" not in settings:
        return page.write_run(run, config)
    with reading(folder):
        known = settings | (run.read_json("study.json") or {})
        kind: type[Study] = registry.get("studies", settings["study"])
        question = kind(Recipe.from_dict(settings), base.read_options(kind, known))
        rows = read_ledger(folder)
        _write(run, question, *_summary(question, rows), config)
    return folder / "report.html"


# -- before the first run ------------------------------------------------------------------------


def _check_session(session: Session) -> None:
    """Raises UsageError for what a study does not use."""
    if session.seed != Session.seed:
        raise UsageError("a study has runs of the seeds 0, 1, ...: give their number as seeds")
    if session.storage is not None:
        raise UsageError("a study keeps the ledger of each search in the search's own folder")
    if session.log:
        raise UsageError("a study has no loggers; its runs lie below its folder")


def _check_job(job: Job, data: Opened) -> None:
    """Raises UsageError for options that no run could take."""
    if job.search is not None:
        searches.check(job.search, data.images, len(data.classes))
    if isinstance(job.genotype, str):
        zoo.get(job.genotype)


def _settings(name: str, question: Study, data: Opened, session: Session) -> dict[str, Any]:
    """What config.yaml holds: all that the runs depend on."""
    usual = Session()
    unusual = {key: value for key in ("precision", "compile")
               if (value := getattr(session, key)) != getattr(usual, key)}  # fmt: skip
    return {
        "study": name,
        **base.fixed_options(question.options),
        "seeds": len(base.seeds(question)),
        **data.config.to_settings(),
        "fingerprint": data.listing.fingerprint,
        "device": session.device,
        **unusual,
        **question.recipe.to_dict(),
    }


def _folder(name: str, data: Opened, session: Session, settings: dict[str, Any]) -> Path:
    if session.out is not None:
        return Path(session.out)
    return default_path(f"study-{name}", data.config.data, settings)


# -- the runs ------------------------------------------------------------------------------------


def _do_all(
    schedule: Schedule,
    data: Opened,
    session: Session,
    verbs: Verbs,
    folder: Path,
    *,
    dry_run: bool,
) -> None:
    """Do what is left to do; the rows of the schedule grow, and the ledger with them."""
    progress = session.progress or Progress()
    if dry_run and not schedule.rows:
        jobs = schedule.jobs()
        costs = {job.name: schedule.cost(job) for job in jobs}
        schedule.estimates = timing.seconds(jobs, costs, data, device.runtime(session))
    progress.say(schedule.plan().describe())
    if schedule.next() is None or dry_run:
        return
    work = Work(
        verbs, reachable(data, session), inner_session(session), folder.resolve(), progress.quiet
    )
    with parallel.pool(work, session.workers, session.ray_address) as pool:
        for row in work_off(schedule, pool, folder):
            schedule.rows[row.name] = row
            append(folder, row)
            progress.say(_line(row) + schedule.plan().describe_left())


def work_off(schedule: Schedule, pool: parallel.Pool, folder: Path) -> Iterator[Row]:
    """The row of each run as it ends; later runs may depend on earlier rows.

    Raises Interrupted when the user asks to stop.
    """
    running: dict[int, Job] = {}
    with Stop().listening() as stop:
        while not stop.requested:
            job = schedule.next(job.name for job in running.values())
            if job is not None and len(running) < pool.workers:
                running[pool.submit(job)] = job
            elif not running:
                return
            elif pool.ready(POLL_SECONDS):
                ticket, outcome = pool.wait()
                yield _row_of(running.pop(ticket), outcome, folder)
        pool.stop(STOP_SECONDS)
        while running and pool.ready(0.0):
            ticket, outcome = pool.wait()
            del running[ticket]
            if outcome.reason is None:  # it ended before it was told to stop
                yield outcome.value
    plan = schedule.plan()
    raise Interrupted(f"study: stopped after {plan.finished} of {plan.runs} runs")


def _row_of(job: Job, outcome: parallel.Outcome, folder: Path) -> Row:
    """The row that a worker gave back, or one which says why there is none."""
    if outcome.reason:
        return replace(begun(job, folder), status="failed", reason=outcome.reason)
    row: Row = outcome.value
    return row


def _line(row: Row) -> str:
    if row.status == "failed":
        return f"{row.name}  failed: {row.reason}"
    parts = [row.name, f"valid {percent(row.valid_accuracy)}"]
    parts += [f"test {percent(row.test_accuracy)}"] if row.test_accuracy is not None else []
    return "  ".join([*parts, f"{row.seconds:.1f} s"])


# -- what was found ------------------------------------------------------------------------------


def _finish(run: Run, question: Study, rows: Rows, plan: Plan) -> StudyReport:
    summary, ordered = _summary(question, rows)
    _write(run, question, summary, ordered)
    failed = tuple(row for row in ordered.values() if row.status == "failed")
    sentences, tables = tuple(summary.sentences), tuple(summary.tables)
    return StudyReport(tuple(ordered.values()), failed, sentences, tables, plan, run.path)


def _summary(question: Study, rows: Rows) -> tuple[Summary, Rows]:
    """The summary, with a table of what failed, and the rows in the order of the plan: both follow
    from the ledger alone, whatever order its lines have."""
    planned = [job.name for job in question.jobs(rows)]
    ordered = {name: rows[name] for name in dict.fromkeys([*planned, *rows]) if name in rows}
    summary = question.summary(ordered)
    failed = [row for row in ordered.values() if row.status == "failed"]
    return replace(summary, tables=[*summary.tables, *_failures(failed)]), ordered


def _write(run: Run, question: Study, summary: Summary, rows: Rows, config: bool = True) -> None:
    """The files that tell what was found."""
    failed = [row.to_dict() for row in rows.values() if row.status == "failed"]
    run.write_text("rows.csv", to_csv(rows))
    run.write_json(
        "study.json",
        {
            "failed": failed,
            "sentences": list(summary.sentences),
            "tables": [table.to_dict() for table in summary.tables],
            **base.free_options(question.options),
        },
    )
    plain = {name: row.to_dict() for name, row in rows.items()}
    page.write_study(run, summary, plain, Row.UNITS, config)


def _failures(failed: list[Row]) -> list[Table]:
    if not failed:
        return []
    rows = [(row.name, row.reason) for row in failed]
    columns = (Column("run"), Column("reason"))
    return [Table("Runs that failed", columns, rows, "Repeat the command to try them again.")]
