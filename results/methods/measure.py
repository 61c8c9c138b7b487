"""Does every black-box method find better cells than random search, and what should evolution do
with scores that are noisy? python results/methods/measure.py

Nothing is trained: each architecture has a planted value, which its operations draw, and is scored
by an accuracy that follows the value, with noise. Value and noise are in standard deviations of
random architectures of the space, each 3 points of accuracy around 80 %.
rows.csv: each method at its defaults, in its own space, and random search in that space with as
many trials. noise.csv: three ways of evolution with an architecture that it proposes again, at
equal numbers of scores; long.csv: the same for the paper's population and tournament in 1,000
scores, by its Algorithm 1 alone, as the ledger would take hours. Each search is a row, written when
it ends; what is there is not done again. Then prints three tables.
"""

import csv
import json
import random
import statistics
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import optuna
import torch
from scipy.stats import binomtest

from edarts.config import SearchConfig
from edarts.errors import Interrupted
from edarts.methods.blackbox import driver, ledger, regularized_evolution
from edarts.runs.environment import environment
from edarts.runtime import Runtime
from edarts.space.base import Architecture, SearchSpace
from edarts.space.darts import DartsSpace
from edarts.space.genotype import INPUTS, KINDS

HERE = Path(__file__).parent
SEEDS = range(10)
METHODS = (
    "regularized_evolution",
    "hierarchical_evolution",
    "pnas",
    "nasnet_rl",
    "optuna:TPESampler",
)
NOISES = (0.0, 0.5)
EDGES = 16  # of both cells of the DARTS space; a value is a mean over these, or over all, if more
DRAWS = 500  # random architectures that give the unit


@cache
def drawn(*what: object) -> float:
    """A standard normal number that the arguments alone decide."""
    return random.Random(repr(what)).gauss(0, 1)


def planted(found: Architecture) -> float:
    """What an architecture is worth, before it is brought to the space's unit.

    Each edge brings what its operation is worth in this kind of cell, on an input or within the
    cell; each two operations into one node bring what they are worth together.
    """
    total, count = 0.0, 0
    for kind in KINDS:
        nodes: dict[int, list[str]] = defaultdict(list)
        for edge in found.edges(kind):  # type: ignore[attr-defined]
            total += drawn(kind, edge.operation, edge.source < INPUTS)
            nodes[edge.node].append(edge.operation)
            count += 1
        for names in map(sorted, nodes.values()):
            total += sum(drawn(kind, *pair) for pair in pairwise(names))
    return total / max(EDGES, count)


@dataclass
class Problem:
    """The planted value of a space's architectures, and scores of it with noise."""

    space: SearchSpace
    noise: float

    def __post_init__(self) -> None:
        draw = random.Random(0)
        values = [planted(self.space.sample(draw)) for _ in range(DRAWS)]
        self.mean, self.unit = statistics.mean(values), statistics.stdev(values)

    def value(self, found: Architecture) -> float:
        """Standard deviations above the mean of random architectures."""
        return (planted(found) - self.mean) / self.unit

    def __call__(self, found: Architecture, seed: int) -> float:
        return 0.8 + 0.03 * (self.value(found) + self.noise * random.Random(seed).gauss(0, 1))


def search(config: SearchConfig, noise: float, seed: int, scores: int | None = None) -> list[Any]:
    """[trials, scores computed, true value of what it returned]; ends after `scores`, if given."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    config, space = driver.resolve_config(config)
    problem, runtime, done = Problem(space, noise), Runtime(torch.device("cpu"), seed), 0

    def score(found: Architecture, own: int) -> float:
        nonlocal done
        done += 1
        runtime.stop.requested = done == scores
        return problem(found, own)

    sampler = driver.make_sampler(space, config, seed)
    study = optuna.create_study(sampler=sampler, direction="maximize")
    with suppress(Interrupted):  # once it has all its scores
        driver.black_box(study, space, score, config, runtime)
    value = problem.value(driver.result(study).architecture)
    return [len(study.trials), done, round(value, 4)]


# -- every method beside random search ------------------------------------------------------------


def beside_random(method: str, noise: float, seed: int) -> list[Any]:
    """[trials, value of the method's, value of random search's]."""
    resolved, _ = driver.resolve_config(SearchConfig.of(method))
    trials = resolved.options.trials
    baseline = SearchConfig.of(
        "random_search", trials=trials, space=resolved.space, **asdict(resolved.space_options)
    )
    values = [search(config, noise, seed)[2] for config in (SearchConfig.of(method), baseline)]
    return [trials, *values]


# -- scores that are noisy ------------------------------------------------------------------------

SCORES, MOST = 200, 1000  # scores of a search, and trials after which it ends without them
NOISES_OF_EVOLUTION = (0.5, 1.0)
SPACES = {"all topologies": "all", "one topology": "1"}


def mean(study: Any, trial: Any) -> float:
    """In place of a trial's own score: the mean of its architecture's."""
    known = trial.user_attrs[driver.DIGEST]
    alike = [t for t in ledger.history(study) if t.user_attrs[driver.DIGEST] == known]
    return statistics.fmean(ledger.goodness(study, each) for each in alike)


HOW: dict[str, tuple[int, Callable[..., float]]] = {
    "known scores used again": (1, ledger.goodness),
    "scored again": (0, ledger.goodness),
    "scored again, means": (0, mean),
}


def evolved(how: str, space: str, noise: float, seed: int) -> list[Any]:
    """[trials, scores, value]."""
    repeats, ranked = HOW[how]
    regularized_evolution.goodness = ranked  # type: ignore[attr-defined]
    config = SearchConfig.of(
        "regularized_evolution",
        space="darts",
        operations="all",
        topology=SPACES[space],
        repeats=repeats,
        trials=MOST,
    )
    return search(config, noise, seed, SCORES)


PAPER = (100, 25, 1000)  # population, tournament, scores


def alone(how: str, space: str, noise: float, seed: int) -> list[Any]:
    """[trials, scores, value] of Algorithm 1 without a ledger, with `PAPER`'s numbers."""
    population, tournament, scores = PAPER
    searched = DartsSpace.parse("all", SPACES[space])
    problem, draw = Problem(searched, noise), random.Random(seed)
    known: dict[str, list[float]] = defaultdict(list)
    trials: list[tuple[Architecture, str, float]] = []
    computed = 0
    while computed < scores and len(trials) < 5 * scores:
        if len(trials) < population:
            child = searched.sample(draw)
        else:
            fighters = draw.choices(trials[-population:], k=tournament)
            if how == "scored again":
                parent = max(fighters, key=lambda fighter: fighter[2])
            else:
                parent = max(fighters, key=lambda fighter: statistics.fmean(known[fighter[1]]))
            child = searched.mutate(parent[0], draw)
        digest = child.digest()
        if how == "known scores used again" and digest in known:
            score = known[digest][0]
        else:
            score = problem(child, draw.getrandbits(62))
            known[digest].append(score)
            computed += 1
        trials.append((child, digest, score))
    best = max(trials, key=lambda trial: statistics.fmean(known[trial[1]]))
    return [len(trials), computed, round(problem.value(best[0]), 4)]


# -- rows and tables ------------------------------------------------------------------------------

OF_METHODS = ("method", "noise", "seed", "trials", "value", "random")
OF_NOISE = ("how", "space", "noise", "seed", "trials", "scores", "value")


def rows(path: Path) -> list[dict[str, str]]:
    """What was measured."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def measure(path: Path, names: Sequence[str], run: Callable[..., list[Any]], key: Any) -> None:
    """One row: the key, and what `run` gives for it; nothing if it is there."""
    if list(map(str, key)) in [[row[name] for name in names[: len(key)]] for row in rows(path)]:
        return
    found = run(*key)
    first = not path.exists()
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if first:
            writer.writerow(names)
        writer.writerow([*key, *found])
    text = json.dumps(environment(), indent=2) + "\n"
    (HERE / "environment.json").write_text(text, encoding="utf-8")


def p_value(first: Sequence[float], second: Sequence[float]) -> float:
    """Of the sign test that the first are not higher; ties do not count."""
    higher = sum(a > b for a, b in zip(first, second, strict=True))
    lower = sum(a < b for a, b in zip(first, second, strict=True))
    if higher + lower == 0:
        return 1.0
    return float(binomtest(higher, higher + lower, alternative="greater").pvalue)


def table_of_methods() -> str:
    """Each method, and random search in its space."""
    lines = [
        "| method | trials | noise | its cell | random search's | better in | p (sign test) |",
        "|---|---|---|---|---|---|---|",
    ]
    found = rows(HERE / "rows.csv")
    for method in METHODS:
        for noise in NOISES:
            mine = [r for r in found if r["method"] == method and float(r["noise"]) == noise]
            if not mine:
                continue
            ours, others = ([float(r[name]) for r in mine] for name in ("value", "random"))
            wins = sum(a > b for a, b in zip(ours, others, strict=True))
            lines.append(
                f"| {method} | {mine[0]['trials']} | {noise} | {statistics.mean(ours):.2f} |"
                f" {statistics.mean(others):.2f} | {wins} of {len(mine)} |"
                f" {p_value(ours, others):.4f} |"
            )
    return "\n".join(lines)


def table_of_noise(name: str) -> str:
    """The three ways, at each noise, by the rows of a file."""
    lines = [
        f"| noise | space | {' | '.join(HOW)} | 2nd better than 1st in | 3rd better than 2nd in |",
        "|---|---|---|---|---|---|---|",
    ]
    found = rows(HERE / name)
    for noise in sorted({float(row["noise"]) for row in found}):
        for space in SPACES:
            by_way = [
                [
                    float(r["value"])
                    for r in found
                    if (r["how"], r["space"], float(r["noise"])) == (how, space, noise)
                ]
                for how in HOW
            ]
            count = min(map(len, by_way))
            if count == 0:
                continue
            by_way = [values[:count] for values in by_way]
            means = " | ".join(f"{statistics.mean(values):.2f}" for values in by_way)
            compared = []
            for one, other in ((by_way[1], by_way[0]), (by_way[2], by_way[1])):
                wins = sum(a > b for a, b in zip(one, other, strict=True))
                compared.append(f"{wins} of {count} (p = {p_value(one, other):.3f})")
            lines.append(f"| {noise} | {space} | {means} | {' | '.join(compared)} |")
    return "\n".join(lines)


def main(parts: list[str]) -> None:
    for seed in SEEDS if "noise" in parts else ():
        for key in product(HOW, SPACES, NOISES_OF_EVOLUTION, [seed]):
            measure(HERE / "noise.csv", OF_NOISE, evolved, key)
    for seed in SEEDS if "methods" in parts else ():
        for key in product(METHODS, NOISES, [seed]):
            measure(HERE / "rows.csv", OF_METHODS, beside_random, key)
    for seed in SEEDS if "long" in parts else ():
        for key in product(HOW, SPACES, NOISES_OF_EVOLUTION, [seed]):
            measure(HERE / "long.csv", OF_NOISE, alone, key)
    tables = map(table_of_noise, ("noise.csv", "long.csv"))
    print(table_of_methods(), *tables, sep="\n\n")


if __name__ == "__main__":
    main(sys.argv[1:] or ["noise", "long", "methods"])
