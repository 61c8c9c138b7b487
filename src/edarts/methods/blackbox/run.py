"""A black-box search in a run folder, with its ledger and workers: what `search` does."""

from edarts.config import SearchConfig
from edarts.data import Data, open_data
from edarts.methods.blackbox import driver, objective
from edarts.methods.blackbox.ledger import open_study
from edarts.reporting.reports import BlackBoxReport
from edarts.reporting.work import keep_architecture, refuse, settings_of, working
from edarts.runs.pool import pool
from edarts.runtime import Session
from edarts.training import device


def search(data: Data, config: SearchConfig, session: Session) -> BlackBoxReport:
    """A search on a ledger; `trials` may grow from one time to the next. Raises EdartsError."""
    refuse("search with a black-box method", session, "precision", "compile")
    config, space = driver.resolve_config(config)
    sampler = driver.make_sampler(space, config, session.seed)
    runtime, opened = device.runtime(session), open_data(data)
    judge = objective.objective(
        opened.train, opened.config, config, seed=session.seed, device=session.device
    )
    settings = settings_of(opened, session, config.to_settings())
    with working("search", opened, session, runtime, settings, free=("trials",)) as work:
        own = session.storage is None
        storage = session.storage or f"sqlite:///{work.run.path.resolve() / 'ledger.db'}"
        study = open_study(storage, driver.study_name(settings), sampler, alone=own)
        with pool(judge, session.workers, session.ray_address) as workers:
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
        storage,
        study.study_name,
        {"search": round(found.seconds, 2)},
        work.run.path,
        opened.config.data,
    )
