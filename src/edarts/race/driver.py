"""From data to the network that is kept: search, race, training, within one budget.

What `find` does, but for opening data and run and the evaluation at the end.
"""

import random
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

from edarts.config import Budget, SearchConfig, TrainConfig
from edarts.data.dataset import Dataset
from edarts.errors import EdartsError
from edarts.methods.oneshot import driver as oneshot
from edarts.race.candidates import FOUND, WIDER, Candidate, candidates, wider
from edarts.race.halving import FEWEST_EPOCHS, Race, rounds_of
from edarts.race.mirroring import Mirroring, measure
from edarts.race.plan import Plan, field_of
from edarts.race.trainer import SLACK, OnHeldOut
from edarts.race.verdict import verdict
from edarts.reporting.reports import Entrant
from edarts.runs.clock import Clock
from edarts.runs.folder import Run
from edarts.runs.processes import is_main
from edarts.runtime import Runtime
from edarts.space.base import Architecture, SearchSpace
from edarts.training import distributed, fit
from edarts.training.loop import timed

Number = TypeVar("Number", int, float)
PROBE, MIRRORING = "convnet", 0.03  # who learns whether mirroring is harmless; share of the minutes
SEARCH, RACE = 0.1, 0.15  # shares of the minutes; the final training gets what is left
RACE_TRAININGS = 0.5  # without minutes a race takes as long as so many usual trainings
FEWEST_SEARCH_EPOCHS = 3
# Images that each candidate has to see in the first round at least; while it is less the slowest is
# left out, but the found cell, in one size, and the fastest plain network stay.
FEWEST_SHOWN = 1500
# Times the seconds of an epoch that the race has measured, by which the final training is planned:
# of too many epochs some are passed over, after too few the rest of the minutes would be lost.
FASTER = 0.9
MOST_EPOCHS = 2.5  # how many times the recipe's epochs a training with minutes takes at most
# How many times the recipe's epochs a wider network has to have time for: with its epochs alone the
# one that has raced is as accurate, and what a few steps promise may be too much by a third.
AMPLE = 1.75
CLOSING = 3.0, 0.02  # seconds, and share of the minutes, that writing the run's files may take


@dataclass(frozen=True)
class Found:
    """What was found.

    `ranked`: the candidates from best to worst. `race`: their trials; none if there was only one.
    `kept`: the best one, or a wider form of it. `fitted`: that, trained by `config`. `cell`: what
    the search found; None without one. `cut`: what was shortened or left out to stay within the
    budget, for the user. `seconds`: of each phase.
    """

    ranked: tuple[Candidate, ...]
    race: Race
    kept: Candidate
    fitted: fit.FitResult
    config: TrainConfig
    cell: Architecture | None
    counts: oneshot.Counts
    seconds: Mapping[str, float]
    cut: tuple[str, ...]

    @property
    def winner(self) -> Candidate:
        """The best in the race."""
        return self.ranked[0]

    @property
    def verdict(self) -> str:
        """What the race has shown, in a sentence; and in another that more was made of it."""
        shown = verdict(self.race, self.ranked)
        if self.kept is self.winner:
            return shown
        return f"{shown}. It was made {WIDER} times as wide, for which there was time"

    def entrants(self) -> tuple[Entrant, ...]:
        """The candidates with what the race has measured, from best to worst."""
        trials = [(one, self.race.last(one.name)) for one in self.ranked]
        return tuple(
            Entrant(one.name, t.accuracy, one.costs.parameters, one.costs.flops, t.seconds, t.round)
            for one, t in trials
            if t is not None
        )


def keep(run: Run, found: Found) -> None:
    """Write race.json, for the page, and found.json, the cell of the search, where others raced."""
    if not is_main() or len(found.ranked) == 1:
        return
    if found.cell is not None:
        run.write_text("found.json", found.cell.to_json())
    run.write_json(
        "race.json",
        {
            "winner": found.winner.name,
            "verdict": found.verdict,
            "candidates": [entrant.to_dict() for entrant in found.entrants()],
            "cut": list(found.cut),
        },
    )


def find(plan: Plan, runtime: Runtime, clock: Clock) -> Found:
    """Search, race and train. Raises EdartsError: when nothing fits, or the minutes are too few."""
    with runtime.progress.whole(clock.describe):
        return _Finding(plan, runtime, clock)()


def _fastest(candidates: Iterable[Candidate]) -> Candidate | None:
    """By multiply-adds."""
    return min(candidates, key=lambda one: one.costs.flops, default=None)


def _agreed(value: Number) -> Number:
    """What the main process has measured, where a run has many."""
    return type(value)(distributed.of_main([value])[0])


def _told(found: Mirroring) -> str:
    points = f"{100 * found.difference.value:+.1f} points on {found.difference.n} images held out"
    if found.harmless:
        return (
            f"data: mirror images keep their meaning ({points}): they are used (--flip false: not)"
        )
    return f"data: mirror images do not keep their meaning ({points}): they are not used"


class _Finding:
    """One `find`, which knows what it has cut."""

    def __init__(self, plan: Plan, runtime: Runtime, clock: Clock) -> None:
        self.plan, self.runtime, self.clock = plan, runtime, clock
        self.cut: list[str] = []
        self._memory: dict[str, dict[str, Any]] = {}  # what is kept where there is no run
        self._enter(plan.data)

    def _enter(self, data: Dataset) -> None:
        """These are the data from here on."""
        plan = self.plan = replace(self.plan, data=data)
        self.field = field_of(data, plan.budget, plan.train)
        limited = self.clock.limit is not None
        self.trainer = OnHeldOut(data, plan.given, plan.train, self.runtime, limited)
        self.race = Race.of(self.trainer, self._save, self._saved("race"))

    def __call__(self) -> Found:
        if self.plan.flip_open:
            self._mirror()
        plan = self.plan
        self._check()
        searched = self._search() if FOUND in plan.wanted else None
        cell = None if searched is None else searched.architecture
        entrants = self._entrants(cell)
        ranked = self._race(entrants)
        kept, config, fitted = self._train(ranked[0])
        seconds = {
            "search": 0.0 if searched is None else searched.seconds,
            "race": sum(trial.seconds for trial in self.race.trials),
            "train": fitted.seconds,
        }
        return Found(
            tuple(ranked),
            self.race,
            kept,
            fitted,
            config,
            cell,
            oneshot.Counts() if searched is None else searched.counts,
            {name: round(value, 2) for name, value in seconds.items() if value},
            tuple(self.cut),
        )

    # -- phases ----------------------------------------------------------------------------------

    def _check(self) -> None:
        """Whether anything fits the limits, and whether the minutes are enough for anything.

        A cell drawn by chance stands for the one that will be found.
        """
        plan, runtime = self.plan, self.runtime
        if plan.without and FOUND in plan.wanted:
            names = ", ".join(plan.without)
            self._cut(f"search: without {names}, of which no cell fits the limits")
        sample = None
        if FOUND in plan.wanted:
            _, space = self._resolved(None)
            sample = space.sample(random.Random(runtime.seed))
        planned = self._saved("plan").keys() - {"flip"}  # which was found out before
        unplanned = self.clock.limit is not None and not planned
        if not (plan.budget.limits or unplanned):
            return
        entrants, _ = candidates(plan.wanted, sample, self.field)
        if self.clock.limit is None or not unplanned:
            return
        smallest = min(entrants, key=lambda one: one.costs.flops)
        training = self.trainer.pace(smallest).seconds * self._more
        epoch = 0.0 if sample is None else self._seconds_of_search_epoch
        least = self.clock.seconds + FEWEST_SEARCH_EPOCHS * epoch + len(entrants) + training
        least += self._closing(training / len(plan.data))
        if _agreed(least) > self.clock.limit:
            raise EdartsError(
                f"--minutes {plan.budget.minutes:g} is too little; the least here is"
                f" {least / 60:.2g}"
            )

    def _mirror(self) -> None:
        """Find out whether mirroring is harmless; where it cannot be told, it stays as it is."""
        flip = self._saved("plan").get("flip")
        if flip is None:
            share = None if self.clock.limit is None else MIRRORING * self.clock.limit
            free = replace(self.field, budget=Budget())
            (probe,), _ = candidates((PROBE,), None, free)
            found = measure(self.trainer, probe, share)
            flip = self.plan.data.flip
            if found is not None and found.harmless not in (None, flip):
                flip = found.harmless
                self.runtime.progress.note(_told(found))
            self._keep(flip=flip)
        if flip != self.plan.data.flip:
            self._enter(replace(self.plan.data, flip=flip))

    def _search(self) -> oneshot.SearchResult:
        """The search, with as many epochs as its share of the minutes allows."""
        epochs = self._saved("plan").get("search_epochs")
        config, space = self._resolved(epochs)
        if self.clock.limit is not None and epochs is None:
            fitting = int(SEARCH * self.clock.limit / self._seconds_of_search_epoch)
            most = config.epochs
            epochs = _agreed(min(most, max(FEWEST_SEARCH_EPOCHS, fitting)))
            self._keep(search_epochs=epochs, search_most=most)
            config, space = self._resolved(epochs)
        most = self._saved("plan").get("search_most", config.epochs)
        limit = None if self.clock.limit is None else SLACK * SEARCH * self.clock.limit
        found = oneshot.one_shot(self.plan.data, config, space, self.runtime, limit)
        if len(found.history) < most:
            why = (
                f", as its cell had not changed for {config.patience} and its entropy had fallen"
                if found.settled
                else ""
            )
            self._cut(f"search: {len(found.history)} of {most} epochs{why}")
        return found

    def _entrants(self, cell: Architecture | None) -> list[Candidate]:
        entrants, notes = candidates(self.plan.wanted, cell, self.field)
        for note in notes:
            self._cut(note)
        return entrants if self.plan.races else [self._plain(entrants)]

    def _plain(self, entrants: list[Candidate]) -> Candidate:
        """The found cell alone, in the size that was asked for, or the largest that fits."""
        asked = [one for one in entrants if one.size.channels == self.plan.train.channels]
        return (asked or entrants)[0]

    def _race(self, entrants: list[Candidate]) -> list[Candidate]:
        """From best to worst."""
        if len(entrants) == 1:
            return entrants
        paces = {one.name: self.race.pace(one).seconds for one in entrants}
        usual = statistics.median(paces.values())
        if self.clock.limit is None:
            seconds = RACE_TRAININGS * self.plan.train.epochs * usual
        else:
            room = self.clock.left - self._closing(usual / len(self.plan.data))
            seconds = max(0.0, room) * RACE / (1 - SEARCH)
        seconds = _agreed(seconds)
        racing = entrants if self.clock.limit is None else self._racing(entrants, seconds)
        return self.race.run(racing, seconds, self.plan.train.epochs)

    def _racing(self, entrants: list[Candidate], seconds: float) -> list[Candidate]:
        """Without the slowest, where a race of all of them would teach none of them anything."""
        names = self._saved("plan").get("racing")
        if names is None:
            images = len(self.trainer.split()[0])
            shown, left = min(FEWEST_SHOWN, FEWEST_EPOCHS * images), list(entrants)
            stay = [_fastest(one for one in left if one.found is kind) for kind in (True, False)]

            def seen(one: Candidate) -> float:
                slot = seconds / rounds_of(len(left)) / len(left)
                return slot / self.race.pace(one).seconds * images

            while out := [one for one in left if one not in stay and seen(one) < shown]:
                left.remove(min(out, key=seen))
            names = [one.name for one in left]
            self._keep(racing=names)
        for one in entrants:
            if one.name not in names:
                self._cut(f"{one.name} is too slow here to race within the minutes")
        return [one for one in entrants if one.name in names]

    def _train(self, winner: Candidate) -> tuple[Candidate, TrainConfig, fit.FitResult]:
        """The winner from scratch, in the time that is left, on all images but those held out.

        It is made wider if there is time.
        """
        plan, clock = self.plan, self.clock
        room, kept = None, self._widened(winner)
        config, pace = kept.training(plan.train), self.race.pace(kept)
        if clock.limit is not None:
            room = self._room(kept, winner)
            epochs = self._saved("plan").get("epochs")
            if epochs is None:
                most = config.epochs
                most = round(MOST_EPOCHS * most) if plan.given.epochs is None else most
                epochs = _agreed(max(1, min(most, self._fitting(kept, room))))
                self._keep(epochs=epochs)
            if epochs < config.epochs:
                self._cut(f"training: {epochs} of {config.epochs} epochs")
            config = kept.training(plan.lasting(epochs))
        runtime = replace(self.runtime, precision=pace.precision)
        network = fit.build(kept.architecture, config, plan.data, runtime.seed)
        fitted = fit.fit(network, plan.data, config, runtime, room)
        if len(fitted.history) < config.epochs:
            self._cut(f"training: {config.epochs - len(fitted.history)} epochs passed over")
        return kept, config, fitted

    def _widened(self, winner: Candidate) -> Candidate:
        """The winner, or a wider one for which there is ample time.

        It is more accurate then than the same network trained for longer (results/recipe).
        """
        wide = None if self.clock.limit is None else wider(winner, self.field)
        if wide is None:
            return winner
        widened = self._saved("plan").get("widened")
        if widened is None:
            ample = AMPLE * wide.training(self.plan.train).epochs
            room = self._room(wide, winner)
            widened = _agreed(int(self._fitting(wide, room) >= ample))
            self._keep(widened=widened)
        if not widened:
            return winner
        self.runtime.progress.note(f"training: {wide.name}, {WIDER} times as wide, as time allows")
        return wide

    def _room(self, candidate: Candidate, raced: Candidate) -> float:
        """Seconds that its training may take in all; `raced`: itself, or the narrower one."""
        done = self._saved("train").get("seconds", 0.0)
        left = self.clock.left - self._closing(self._evaluation(candidate, raced))
        return max(1.0, float(_agreed(done + left)))

    def _fitting(self, candidate: Candidate, room: float) -> int:
        """How many epochs of it fit into so many seconds."""
        return int(room / (FASTER * self.race.pace(candidate).seconds * self._more))

    # -- time ------------------------------------------------------------------------------------

    @property
    def _more(self) -> float:
        """How many times the images of the race the final training has."""
        return len(self.plan.data) / len(self.trainer.split()[0])

    def _closing(self, evaluation: float) -> float:
        """Seconds for evaluating the test images and writing the run's files."""
        seconds, share = CLOSING
        return self.plan.test_images * evaluation + seconds + share * (self.clock.limit or 0.0)

    def _evaluation(self, candidate: Candidate, raced: Candidate) -> float:
        """Seconds for one image: by the last trial of the one that has raced, or by its pace."""
        pace, trial = self.race.pace(candidate).seconds, self.race.last(raced.name)
        if trial is None:
            return pace / len(self.trainer.split()[0])
        return trial.evaluation * pace / self.race.pace(raced).seconds

    @cached_property
    def _seconds_of_search_epoch(self) -> float:
        config, space = self._resolved(None)
        config = timed(config, self.runtime.device)
        return oneshot.seconds_of_epoch(self.plan.data, config, space, self.runtime)

    def _resolved(self, epochs: int | None) -> tuple[SearchConfig, SearchSpace]:
        """The search's config with nothing left open, and its space."""
        given, data = self.plan.search, self.plan.data
        given = given if epochs is None else replace(given, epochs=epochs)
        config, space, _ = oneshot.resolve_config(given, len(data), len(data.classes))
        return config, space

    # -- what is kept ----------------------------------------------------------------------------

    def _saved(self, name: str) -> dict[str, Any]:
        run = self.runtime.run
        return dict(run.states().get(name, {})) if run is not None else self._memory.get(name, {})

    def _save(self, state: Mapping[str, Any]) -> None:
        if self.runtime.run is not None:
            self.runtime.run.save("race", state)

    def _keep(self, **values: Any) -> None:
        state = {**self._saved("plan"), **values}
        if self.runtime.run is not None:
            self.runtime.run.save("plan", state)
        else:
            self._memory["plan"] = state

    def _cut(self, text: str) -> None:
        self.cut.append(text)
        self.runtime.progress.note(text)
