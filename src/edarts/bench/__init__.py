"""`edarts bench`: the steps of searching and training, timed against the textbook formulation.

Nothing here imports torch before something is timed.
"""

from dataclasses import fields

from edarts.bench.report import AnswerReport, BenchReport, LedgerReport, ProfileReport
from edarts.errors import UsageError, unknown
from edarts.runs.progress import Progress
from edarts.runtime import Session

GROUPS = ("step", "train", "search", "answer", "profile", "ledger")


def bench(
    group: str, rounds: int = 5, session: Session | None = None
) -> BenchReport | AnswerReport | ProfileReport | LedgerReport:
    """Run a group of comparisons; `rounds` is how often each side is timed.

    `step`: steps of searches; `train`: training steps of networks; `search`: a whole search, and
    how an epoch grows with its size; `answer`: a network's answer to one image, see
    `answers.bench_answers`; `profile`: where the time of those steps goes; `ledger`: asks of
    black-box methods, see `ledger.bench_ledger`. Raises UsageError for an unknown group, fewer
    than 1 round, or a session with more than `device` and `progress`; EdartsError if the two sides
    disagree.
    """
    session = session or Session()
    for field in fields(session):
        given = getattr(session, field.name) != getattr(Session, field.name)
        if given and field.name not in ("device", "progress"):
            raise UsageError(f"bench cannot use --{field.name.replace('_', '-')}; leave it out")
    if group not in GROUPS:
        raise unknown("group of comparisons", group, GROUPS)
    if rounds < 1:
        raise UsageError(f"rounds must be at least 1, got {rounds}")
    progress = session.progress or Progress()
    if group == "ledger":
        from edarts.bench.ledger import bench_ledger

        return bench_ledger(rounds, progress)
    if group == "answer":
        from edarts.bench.answers import bench_answers

        return bench_answers(rounds, progress)
    if group == "profile":
        from edarts.bench.profile import bench_profile

        return bench_profile(rounds, session.device, progress)
    from edarts.bench.driver import bench_steps

    return bench_steps(group, rounds, session.device, progress)
