"""A black-box search in a run folder, with its ledger and workers: what `search` does."""

from pathlib import Path

from edarts.config import SearchConfig
from edarts.config.reading import check_regular
from edarts.data import Data, Opened, open_data
from edarts.errors import masked
from edarts.methods.blackbox import driver, objective
from edarts.methods.blackbox.ledger import ledger_errors, open_study
from edarts.reporting.reports import BlackBoxReport
from edarts.reporting.work import keep_architecture, refuse, settings_of, working
from edarts.runs.folder import default_path, read_settings
from edarts.runs.pool import pool
from edarts.runtime import Session
from edarts.training import device

LEDGER = "ledger.db"


def search(data: Data, config: SearchConfig, session: Session) -> BlackBoxReport:
    """A search on a ledger; `trials` may grow from one time to the next. Raises EdartsError."""
    refuse("search with a black-box method", session, "precision", "compile")
    driver.resolve_config(config)  # what is wrong with it is said before the data are read
    opened = open_data(data)
    config, space = driver.resolve_config(as_begun(config, opened, session))
    sampler = driver.make_sampler(space, config, session.seed)
    runtime = device.runtime(session)
    judge = objective.objective(
        opened.train, opened.config, config, seed=session.seed, device=session.device
    )
    settings = settings_of(opened, session, config.to_settings())
    with working("search", opened, session, runtime, settings, free=("trials",)) as work:
        own = session.storage is None
        storage = session.storage or own_storage(work.run.path)
        study = open_study(storage, driver.study_name(settings), sampler, alone=own)
        with (
            ledger_errors(storage, alone=own),
            pool(judge, session.workers, session.ray_address) as workers,
        ):
            found = driver.black_box(
                study, space, judge, config, work.runtime, pool=workers, shared=not own
            )
        keep_architecture(work.run, found.architecture, replace_other=True)
    return BlackBoxReport(
        found.architecture,
        found.score,
        found.trials.scored,
        found.trials.known,
        found.trials.failed,
        masked(storage),
        study.study_name,
        {"search": round(found.seconds, 2)},
        work.run.path,
        opened.config.data,
    )


def own_storage(run: Path) -> str:
    """The URL of the ledger in a run folder. Raises EdartsError if that is no regular file.

    SQLite would open what a link leads to, and wait for a pipe.
    """
    for beside in ("", "-wal", "-shm", "-journal"):
        check_regular(run / f"{LEDGER}{beside}", links=False)
    return f"sqlite:///{run.resolve() / LEDGER}"


def as_begun(config: SearchConfig, opened: Opened, session: Session) -> SearchConfig:
    """`config` with the defaults of version 0.1, if a run is there that was begun with them.

    So the same command continues it as it was.
    """
    if config.options is not None:
        return config
    given = config.given()
    missing = {k: v for k, v in config.plugins()[0].EARLIER.items() if k not in given}
    earlier = config.changed(**missing)
    folder = _folder(earlier, opened, session)
    if not (folder / "config.yaml").exists():
        return config
    known = read_settings(folder)
    differ = {name for name, value in missing.items() if known.get(name) != value}
    if known.get("method") != config.method or differ - {"trials"}:
        return config
    return config.changed(**{name: missing[name] for name in missing.keys() - differ})


def _folder(config: SearchConfig, opened: Opened, session: Session) -> Path:
    """The run folder of a search."""
    if session.out is not None:
        return Path(session.out)
    resolved, _ = driver.resolve_config(config)
    settings = settings_of(opened, session, resolved.to_settings())
    del settings["trials"]
    return default_path("search", opened.config.data, settings)
