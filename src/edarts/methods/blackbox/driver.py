"""The driver of the black-box methods: asks a sampler, scores its genotype, tells the ledger.

The ledger is an Optuna study and all there is of a search: the same command on it goes on, exactly.
A trial that a killed driver left running is taken up again by the driver of the same run folder. A
trial that fails is recorded with its reason and proposed once more, with another seed.
"""

import dataclasses
import hashlib
import json
import math
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from edarts.config import SHARED, UNSET, SearchConfig, option_names, resolve
from edarts.errors import EdartsError, Interrupted, UsageError
from edarts.methods.blackbox.base import TRAINING, BlackBox
from edarts.methods.blackbox.ledger import by_end, history, suggest
from edarts.methods.blackbox.objective import Objective, parse_score
from edarts.runs.folder import Run, read_lines
from edarts.runs.pool import Inline, Outcome, Pool
from edarts.runs.progress import Progress, clock
from edarts.runs.seeds import derive
from edarts.runtime import Runtime
from edarts.space import architecture
from edarts.space.base import Architecture, SearchSpace

# What a trial's user attributes say beside its choices.
DIGEST, GENOTYPE, OWNER, REASON = "digest", "genotype", "owner", "reason"
RETRY_OF, SECONDS = "retry_of", "seconds"
SCORED = "scored"  # whether the score was computed for this trial, rather than known already


@dataclass(frozen=True)
class TrialCounts:
    """Of a ledger's trials: how many were `scored`, had a `known` score already, and `failed`."""

    scored: int
    known: int
    failed: int


@dataclass(frozen=True)
class BlackBoxResult:
    """What a search found, and what it cost.

    `score`: the mean score of the architecture. `seconds`: of scoring, all trials together.
    """

    architecture: Architecture
    score: float
    trials: TrialCounts
    seconds: float


def resolve_config(config: SearchConfig) -> tuple[SearchConfig, SearchSpace]:
    """Fill in what `config` leaves open; the space says what the sampler decides on.

    Raises UsageError if the method or the score does not accept an option.
    """
    method, kind = config.plugins()
    paper = method.PAPER if config.preset == "paper" else {}
    if config.preset is not UNSET and not paper:
        raise UsageError(f"method {config.method} takes no --preset: no paper ran it")
    usual = {name: value for name, value in method.taken().items() if name in option_names(kind)}
    config = dataclasses.replace(config, space=config.space or method.SPACE)
    config = config.with_options({**usual, **paper})
    trains = parse_score(config.options.score)[0] == "train"
    for name in SHARED:
        allowed = name in ("space", "preset") or (name in TRAINING and trains)
        if getattr(config, name) is UNSET or allowed:
            continue
        flag = f"--{name.replace('_', '-')}"
        if name in TRAINING:
            raise UsageError(f"{flag} trains networks: it needs --score train")
        reason = f": {method.REASONS[name]}" if name in method.REASONS else ""
        raise UsageError(f"method {config.method} takes no {flag}{reason}; one-shot methods may")
    space = kind.of(config.space_options)
    wanted = method.wanted(config.method, config.options, space)
    options = resolve(config.options, {"trials": wanted.usual, "repeats": 0 if trains else 1})
    config = dataclasses.replace(config, options=options)
    training = {name: paper.get(name, value) for name, value in TRAINING.items()}
    return resolve(config, training if trains else {}), space


def make_sampler(space: SearchSpace, config: SearchConfig, seed: int) -> BaseSampler:
    """The sampler of a resolved config. Raises UsageError."""
    sampler: BaseSampler = config.plugins()[0].of(config.method, space, seed, config.options)
    return sampler


def study_name(settings: Mapping[str, Any]) -> str:
    """Searches with the same settings, but for seed and number of trials, share a study."""
    shared = {k: v for k, v in settings.items() if k not in ("trials", "seed", "device")}
    text = json.dumps(shared, sort_keys=True, default=str)
    return f"{settings['method']}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


@dataclass
class _Search:
    """One driver's view of the ledger."""

    study: Study
    space: SearchSpace
    config: SearchConfig
    seed: int
    owner: str
    run: Run | None
    progress: Progress
    shared: bool

    def __post_init__(self) -> None:
        self.scores: dict[str, list[float]] = {}  # digest -> what was computed for it
        self.counted: set[int] = set()
        self.lean: set[int] = set()  # numbers of the trials that `share` has seen
        self.kinds: dict[tuple[str, BaseDistribution], BaseDistribution] = {}
        self.retried: set[int] = set()  # numbers of failed trials that are tried again
        self.spent = 0  # trials begun by any driver; failed ones that are tried again do not count
        self.queued = False  # whether a failed trial waits to be tried again
        self.running: dict[int, tuple[str, Trial]] = {}  # ticket of the pool -> digest and trial
        self.waiting: list[tuple[str, Trial]] = []  # for what another trial is finding out
        trials = self.look()
        self.abandoned = [
            trial
            for trial in trials
            if trial.state == TrialState.RUNNING
            and trial.user_attrs.get(OWNER, None if self.shared else self.owner) == self.owner
        ]

    def look(self) -> list[FrozenTrial]:
        """Read the ledger, once for each turn: what any driver has begun and found."""
        trials = self.study.get_trials(deepcopy=False)
        self.share([t for t in trials if t.state.is_finished() and t.number not in self.lean])
        self.retried |= {t.user_attrs[RETRY_OF] for t in trials if RETRY_OF in t.user_attrs}
        self.spent = sum(
            trial.number not in self.retried
            and (trial.state != TrialState.RUNNING or OWNER in trial.user_attrs)
            for trial in trials
        )
        self.queued = any(trial.state == TrialState.WAITING for trial in trials)
        new = [
            trial
            for trial in trials
            if trial.state == TrialState.COMPLETE and trial.number not in self.counted
        ]
        for trial in by_end(new):
            self.count(trial)
        return trials

    def share(self, trials: Sequence[FrozenTrial]) -> None:
        """Give trials that Optuna keeps one copy of names, choices and their kinds: read from a
        database each has its own, 16 KiB that a long search would gather for every trial.
        """
        for trial in trials:
            self.lean.add(trial.number)
            kinds = trial.distributions.items()
            trial.distributions = {
                sys.intern(name): self.kinds.setdefault((name, kind), kind) for name, kind in kinds
            }
            trial.params = {
                sys.intern(name): sys.intern(value) if type(value) is str else value
                for name, value in trial.params.items()
            }

    def count(self, trial: FrozenTrial) -> None:
        """Take in a score, once."""
        if trial.number not in self.counted:
            self.counted.add(trial.number)
            if trial.user_attrs.get(SCORED):
                assert trial.value is not None
                self.scores.setdefault(trial.user_attrs[DIGEST], []).append(trial.value)

    def ask(self) -> tuple[Trial, Architecture | None]:
        """The next trial, this driver's from now on; None in place of choices that stand for none.

        One that was left running first, then one that failed, then a new one.
        """
        if self.abandoned:
            trial = Trial(self.study, self.abandoned.pop(0)._trial_id)
        else:
            trial = self.study.ask()
        trial.set_user_attr(OWNER, self.owner)
        try:
            genotype = suggest(self.space, trial)
        except UsageError as error:
            self.fail(trial, str(error), again=False)
            return trial, None
        trial.set_user_attr(DIGEST, genotype.digest())
        trial.set_user_attr(GENOTYPE, genotype.to_json())
        return trial, genotype

    def begin(self, pool: Pool) -> None:
        """Ask, and score what is not known yet."""
        trial, genotype = self.ask()
        if genotype is None:
            return
        digest = genotype.digest()
        scores = self.scores.get(digest, [])
        alike = sum(digest == other for other, _ in self.running.values())
        repeats = self.config.options.repeats
        if repeats == 0 or len(scores) + alike < repeats:
            again = RETRY_OF in trial.user_attrs
            seed = derive(self.seed, "score", digest, len(scores) + alike, again)
            self.running[pool.submit(genotype, seed)] = digest, trial
        elif alike:
            self.waiting.append((digest, trial))
        else:
            self.known(trial, sum(scores) / len(scores))

    def end(self, ticket: int, outcome: Outcome) -> None:
        """Tell the ledger of a trial, and of those that waited for its score."""
        digest, trial = self.running.pop(ticket)
        self.finish(trial, outcome)
        scores = self.scores.get(digest, [])
        for _, other in [w for w in self.waiting if w[0] == digest]:
            if scores:
                self.known(other, sum(scores) / len(scores))
            else:
                self.fail(other, "the same genotype failed", again=RETRY_OF not in other.user_attrs)
        self.waiting = [w for w in self.waiting if w[0] != digest]

    def describe(self) -> str:
        """For the line of progress."""
        best = max((sum(s) / len(s) for s in self.scores.values()), default=math.nan)
        return f"best {best:.4f}  architectures {len(self.scores)}"

    def finish(self, trial: Trial, outcome: Outcome) -> None:
        """Tell the ledger what came out."""
        if outcome.reason is not None:
            self.fail(trial, outcome.reason, again=RETRY_OF not in trial.user_attrs)
        elif not math.isfinite(outcome.score):
            reason = f"the score is {outcome.score}, not a finite number"
            self.fail(trial, reason, again=RETRY_OF not in trial.user_attrs)
        else:
            trial.set_user_attr(SECONDS, round(outcome.seconds, 3))
            trial.set_user_attr(SCORED, True)
            self.record(self.study.tell(trial, outcome.score))

    def known(self, trial: Trial, score: float) -> None:
        """A score that was computed before: nothing is done again."""
        trial.set_user_attr(SCORED, False)
        self.record(self.study.tell(trial, score))

    def fail(self, trial: Trial, reason: str, *, again: bool) -> None:
        """Record the reason; `again`: propose the same choices once more."""
        trial.set_user_attr(REASON, reason)
        if again and trial.number not in self.retried:
            self.retried.add(trial.number)
            self.study.enqueue_trial(trial.params, user_attrs={RETRY_OF: trial.number})
        ended = self.study.tell(trial, state=TrialState.FAIL)
        self.progress.warn(f"trial {trial.number} failed: {reason}")
        self.record(ended)

    def record(self, trial: FrozenTrial) -> None:
        """Count a trial that has ended; a line of metrics.jsonl, the ledger has more."""
        if trial.state == TrialState.COMPLETE:
            self.count(trial)
        if self.run is not None:
            self.run.record(**line(trial))


def line(trial: FrozenTrial) -> dict[str, Any]:
    """A finished trial as a line of metrics.jsonl."""
    attributes = trial.user_attrs
    return {
        "phase": "search",
        "trial": trial.number,
        "state": trial.state.name.lower(),
        "score": trial.value,
        **{k: attributes[k] for k in (SCORED, SECONDS, REASON, RETRY_OF) if k in attributes},
        "genotype": json.loads(attributes[GENOTYPE]) if GENOTYPE in attributes else None,
    }


def _check_ledger(run: Run, study: Study, finished: Sequence[FrozenTrial]) -> None:
    """Raises EdartsError if nothing that the run has noted of its trials is in the ledger.

    Then another `--storage` was given, or another version called the study otherwise.
    """

    def known(lines: Iterable[Mapping[str, Any]]) -> set[str]:
        return {json.dumps([each.get("score"), each.get("genotype")]) for each in lines}

    noted = known(read_lines(run.path / "metrics.jsonl"))
    if noted and not noted & known(map(line, finished)):
        raise EdartsError(
            f"{run.path}: its trials are not in the ledger that is given now, study"
            f" {study.study_name}; give the --storage that it was begun with, or another --out"
        )


def black_box(
    study: Study,
    space: SearchSpace,
    objective: Objective,
    config: SearchConfig,
    runtime: Runtime,
    *,
    pool: Pool | None = None,
    shared: bool = False,
) -> BlackBoxResult:
    """Search until the ledger has `trials` trials, or continue it to there.

    `config`: resolved. `study`: its sampler proposes. `pool`: where trials are scored; here,
    one after the other, if not given. `shared`: other drivers may be using the ledger now. Raises
    Interrupted when a stop was asked for, after the trials that are running here, and EdartsError
    if no trial has a score, or if the ledger is not the one that the run was begun with.
    """
    run, progress, stop = runtime.run, runtime.progress, runtime.stop
    pool = pool or Inline(objective)
    owner = f"{socket.gethostname()}:{run.path.resolve()}" if run is not None else "here"
    search = _Search(study, space, config, runtime.seed, owner, run, progress, shared)
    if run is not None:
        finished = [t for t in study.get_trials(deepcopy=False) if t.state.is_finished()]
        _check_ledger(run, study, finished)
        run.write_text("metrics.jsonl", "".join(json.dumps(line(t)) + "\n" for t in finished))
        if finished:
            progress.say(f"search: continues a ledger of {len(finished)} trials")
    total, begun, start = config.options.trials, search.spent, time.monotonic()
    wanted = config.plugins()[0].wanted(config.method, config.options, space)
    if warning := wanted.warning(config.method, total):
        progress.note(warning)
    with progress.phase():
        while True:
            search.look()
            more = bool(search.abandoned) or search.queued or search.spent < total
            if len(search.running) < pool.workers and more and not stop.requested:
                search.begin(pool)
            elif search.running:
                search.end(*pool.wait())
            else:
                break
            if not progress.quiet:
                done = search.spent - len(search.running)
                each = (time.monotonic() - start) / max(1, done - begun)
                eta = clock(each * (total - done))
                progress.update(f"search {done}/{total}  eta {eta}  {search.describe()}")
    if stop.requested and search.spent < total:
        raise Interrupted(f"search: stopped after {search.spent} of {total} trials")
    return result(study)


def result(study: Study) -> BlackBoxResult:
    """The genotype of the highest mean score; of equal ones that which was found first.

    Of those that the study's sampler may return.
    """
    trials = study.get_trials(deepcopy=False)
    scores: dict[str, list[float]] = {}
    found: dict[str, FrozenTrial] = {}
    done = history(study)
    sampler = study.sampler
    allowed = sampler.returnable(done) if done and isinstance(sampler, BlackBox) else done
    returnable = {trial.user_attrs[DIGEST] for trial in allowed}
    for trial in done:
        digest = trial.user_attrs[DIGEST]
        found.setdefault(digest, trial)
        if trial.user_attrs[SCORED]:
            assert trial.value is not None
            scores.setdefault(digest, []).append(trial.value)
    if not scores:
        reasons = [t.user_attrs[REASON] for t in trials if REASON in t.user_attrs]
        raise EdartsError(f"no trial has a score; the last reason: {[*reasons[-1:], 'none'][0]}")
    means = {digest: sum(s) / len(s) for digest, s in scores.items()}
    best = max(
        (digest for digest in means if digest in returnable), key=lambda digest: means[digest]
    )
    states = Counter(trial.state for trial in trials)
    return BlackBoxResult(
        architecture.parse(found[best].user_attrs[GENOTYPE]),
        means[best],
        TrialCounts(
            scored=sum(map(len, scores.values())),
            known=states[TrialState.COMPLETE] - sum(map(len, scores.values())),
            failed=states[TrialState.FAIL],
        ),
        sum(trial.user_attrs.get(SECONDS, 0.0) for trial in trials),
    )
