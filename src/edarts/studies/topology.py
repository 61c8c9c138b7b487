"""The 180 topologies with the operation held fixed: ranking, spread, what good ones share."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import ClassVar

from edarts.errors import EdartsError, UsageError
from edarts.reporting import stats
from edarts.reporting.model import Column, Plot, Series, Summary, Table
from edarts.reporting.stats import Estimate
from edarts.space.base import Architecture
from edarts.space.darts import DartsSpace, format_topology
from edarts.space.genotype import Edge, Genotype
from edarts.space.operations import CANDIDATES
from edarts.studies.base import FREE, Job, Recipe, seeds
from edarts.studies.ledger import read_ledger
from edarts.studies.ranking import FEATURES, Ranking, agreement, deviation, features, ranking
from edarts.studies.row import Factor, Row
from edarts.studies.rows import Rows, average, column, done, groups, paired, right_answers
from edarts.studies.text import MEASURED, NO_RUN, correlation, percent, significant

PUBLISHED = 1  # the topology of DARTS' published normal cells
ETA = 3  # halving keeps one of so many (Jamieson and Talwalkar 2016; Hyperband's default)
RANKING_COLUMNS = (
    Column("rank"),
    Column("topology"),
    Column("sources"),
    Column("valid accuracy", "share"),
    Column("test accuracy", "share"),
    *map(Column, FEATURES),
)


@dataclass(frozen=True)
class TopologyOptions:
    """What can be chosen of the study."""

    operation: str = "sep_conv_3x3"
    """The operation on every edge of every cell."""
    topologies: str = "all"
    """Which of the 180 topologies: all, or indices and ranges such as 0-9,43."""
    halving: bool = False
    """Successive halving: all are trained for a ninth of the epochs, the best third of them for a
    third, and the best third of these for all."""
    beside: str | None = field(default=None, metadata=FREE)
    """Folder of a topology study on other data, to compare the rankings with."""


class TopologyStudy:
    """Every topology, in both cells, with one operation on every edge."""

    SEEDS: ClassVar[int] = 1
    Options: ClassVar[type] = TopologyOptions

    def __init__(self, recipe: Recipe, options: TopologyOptions | None = None) -> None:
        self.recipe, self.options = recipe, options or TopologyOptions()
        recipe.leave_open("study topology searches nothing")
        DartsSpace((self.options.operation,))
        if self.options.operation not in CANDIDATES:
            raise UsageError(f"operation '{self.options.operation}' is none of a cell's candidates")
        self.indices = _parse_topologies(self.options.topologies)
        beside = self.options.beside
        self.other = None if beside is None else _valid_accuracies(Path(beside))

    # -- runs ------------------------------------------------------------------------------------

    @property
    def epochs(self) -> int:
        """Of a whole training."""
        return self.recipe.train.epochs

    def rungs(self) -> list[int]:
        """Epochs of each rung of the halving; the last is the whole training."""
        steps = (ETA**2, ETA, 1) if self.options.halving else (1,)
        return sorted({max(1, math.ceil(self.epochs / step)) for step in steps})

    def jobs(self, rows: Rows) -> list[Job]:
        """All topologies for each seed; of a later rung those that the earlier ones kept."""
        indices, found = self.indices, []
        for epochs in self.rungs():
            rung = [self._job(i, seed, epochs) for seed in seeds(self) for i in indices]
            found += rung
            ended = [rows[job.name] for job in rung if job.name in rows]
            if len(ended) < len(rung):
                break
            ranked = ranking([row for row in ended if row.status == "done"])
            indices = sorted(ranked[: math.ceil(len(ranked) / ETA)])
        return found

    def _job(self, index: int, seed: int, epochs: int) -> Job:
        edges = DartsSpace.topologies()[index]
        last = epochs == self.epochs
        kept = tuple(Edge(self.options.operation, *pair) for pair in edges)
        nodes = tuple(sorted({node for _, node in edges}))
        factors: dict[str, Factor] = {
            "topology": index,
            "sources": format_topology(edges),
            **features(edges),
            "epochs": epochs,
        }
        name = f"topology-{index:03}-seed-{seed}" + ("" if last else f"-{epochs}-epochs")
        genotype = Genotype(kept, kept, nodes, nodes)
        train = replace(self.recipe.train, epochs=epochs)
        return Job(name, factors, seed, train, genotype=genotype, test=last)

    # -- answer ----------------------------------------------------------------------------------

    def summary(self, rows: Rows) -> Summary:
        """The ranking of the whole trainings, its spread, and what the best have in common."""
        ended = done(rows)
        whole = [row for row in ended if row.factors["epochs"] == self.epochs]
        title = f"Topologies, {self.options.operation} on every edge"
        if not whole:
            return Summary(title, [NO_RUN], [], [])
        ranked = Ranking.of(whole)
        shared = ranked.shared_features()
        agreements = self._agreements(ranked)
        sentences = [
            _range(ranked),
            _spread(whole, ranked),
            *_gain_over_published(ranked),
            *_shared_sentences(stats.corrected(shared)),
            *self._beside_sentence(agreements),
            f"All this is after {self.epochs} epochs: a topology that learns fast need not be the"
            " best one after many.",
        ]
        if self.options.halving:
            sentences.append(self._halving_sentence(ranked, len(ended) - len(whole)))
        tables = [_ranking_table(ranked), _shared_table(shared), _agreement_table(agreements)]
        plots = [_ranking_plot(ranked), *(_feature_plot(ranked, name) for name in FEATURES)]
        return Summary(title, sentences, tables, plots, self._best(ranked))

    def _best(self, ranked: Ranking) -> dict[str, Architecture]:
        genotype = ranked.rows[ranked.order[0]][0].genotype
        return {} if genotype is None else {f"best: topology {ranked.order[0]}": genotype}

    def _agreements(self, ranked: Ranking) -> dict[str, Estimate]:
        """What two rankings are of -> Kendall's tau of them."""
        by_seed = ranked.by_seed()
        found = {
            f"seed {a}, seed {b}": agreement(by_seed[a], by_seed[b])
            for a, b in combinations(sorted(by_seed), 2)
        }
        found["valid accuracy, test accuracy"] = agreement(ranked.valid, ranked.test)
        if self.other is not None:
            found[self._beside_name()] = agreement(ranked.valid, self.other)
        return found

    def _beside_name(self) -> str:
        return f"this study, {self.options.beside}"

    def _beside_sentence(self, agreements: Mapping[str, Estimate]) -> list[str]:
        if self.other is None:
            return []
        tau = correlation(agreements[self._beside_name()])
        return [f"The ranking agrees with that of {self.options.beside} by Kendall's tau {tau}."]

    def _halving_sentence(self, ranked: Ranking, shorter: int) -> str:
        count = len(ranked.order)
        were = "1 topology was" if count == 1 else f"{count} topologies were"
        return (
            f"Successive halving: {were} trained for all {self.epochs} epochs, after {shorter}"
            " shorter trainings; the others were not, so the spread is that of the best."
        )


def _parse_topologies(text: str) -> list[int]:
    """Indices in `DartsSpace.topologies()`, ascending. Raises UsageError."""
    count = len(DartsSpace.topologies())
    if text == "all":
        return list(range(count))
    try:
        chosen: set[int] = set()
        for part in text.split(","):
            first, _, last = part.partition("-")
            chosen |= set(range(int(first), int(last or first) + 1))
    except ValueError:
        chosen = set()
    if not chosen or max(chosen) >= count:
        raise UsageError(f"topologies '{text}': give all, or indices such as 0-9,43 below {count}")
    return sorted(chosen)


def _valid_accuracies(folder: Path) -> dict[int, float]:
    """Topology -> mean valid accuracy of the longest trainings in a study's folder.

    Raises EdartsError if there are none.
    """
    rows = [row for row in done(read_ledger(folder)) if "topology" in row.factors]
    if not rows:
        raise EdartsError(f"{folder}: no topology study with finished runs")
    longest = max(column(rows, "epochs"))
    by_index = groups((row for row in rows if row.factors["epochs"] == longest), "topology")
    return {
        index: stats.mean(column(group, "valid_accuracy")).value
        for index, group in by_index.items()
    }


# -- sentences -----------------------------------------------------------------------------------


def _range(ranked: Ranking) -> str:
    best, worst = ranked.order[0], ranked.order[-1]
    valid, test = ranked.valid, ranked.test.values()
    return (
        f"{len(ranked.order)} topologies, valid accuracy from {percent(valid[worst])} (topology"
        f" {worst}) to {percent(valid[best])} (topology {best}); test accuracy from"
        f" {percent(min(test))} to {percent(max(test))}."
    )


def _spread(whole: Sequence[Row], ranked: Ranking) -> str:
    """Whether topologies differ by more than chance."""
    p = stats.differ([column(rows, "valid_accuracy") for rows in ranked.rows.values()])
    if p is not None:
        differ = "differ" if significant(p) else "do not differ significantly"
        test = f"F test over {len(ranked.order)} topologies, p = {p:.2g}"
        return f"Valid accuracies of the topologies {differ}, by the spread over seeds ({test})."
    images = max(1, whole[0].valid_images or 1)
    middle = sum(ranked.valid.values()) / len(ranked.valid)
    noise = math.sqrt(middle * (1 - middle) / images)
    return (
        f"The spread has a standard deviation of {percent(deviation(ranked.valid))}; judging on"
        f" other images would alone give {percent(noise)}. What other seeds would give is not known"
        " from one seed."
    )


def _gain_over_published(ranked: Ranking) -> list[str]:
    """The chosen topology against the published one, on test images, which did not choose it."""
    best = ranked.order[0]
    if PUBLISHED not in ranked.rows or best == PUBLISHED:
        return []
    names = f"Topology {best}, chosen on held-out images, minus topology {PUBLISHED} on test images"
    mine, published = ranked.rows[best], ranked.rows[PUBLISHED]
    gain = paired(mine, published, "test_accuracy")
    if gain is not None and gain.n > 1:
        p = "" if gain.p is None else f" (p = {gain.p:.2g})"
        return [f"{names}: {percent(gain, signed=True)}, over {gain.n} seeds{p}."]
    return [f"{names}: {one_seed_gain(mine[0], published[0])}"]


def one_seed_gain(first: Row, second: Row) -> str:
    """The difference of two networks in test accuracy, from one training each.

    Paired by image where both runs kept their predictions of the same test images.
    """
    answers = right_answers(first, second)
    if answers is not None:
        gain = stats.paired_proportion(*answers)
        return (
            f"{percent(gain, signed=True)} (p = {gain.p:.2g}, McNemar's exact test); one seed: the"
            " interval, paired by image, is over test images alone."
        )
    right = [round((r.test_accuracy or 0.0) * (r.test_images or 0)) for r in (first, second)]
    counts = [max(1, row.test_images or 0) for row in (first, second)]
    gain = stats.proportion_difference(right[0], counts[0], right[1], counts[1])
    return (
        f"{percent(gain, signed=True)}; one seed: the interval is over test images alone, and wide,"
        " as without predictions of both runs their answers are taken as unrelated."
    )


def _shared_sentences(shared: Mapping[str, Estimate]) -> list[str]:
    found = []
    for name, rho in shared.items():
        if significant(rho.p):
            kind = "more" if rho.value > 0 else "less"
            kind = "fewer" if (kind, name) == ("less", "readers") else kind
            found.append(f"Good topologies have {kind} {name}: rho {correlation(rho)}.")
    return found


# -- tables --------------------------------------------------------------------------------------


def _ranking_table(ranked: Ranking) -> Table:
    rows = [
        (
            rank,
            i,
            ranked.sources(i),
            average(ranked.rows[i], "valid_accuracy"),
            average(ranked.rows[i], "test_accuracy"),
            *(ranked.rows[i][0].factors[name] for name in FEATURES),
        )
        for rank, i in enumerate(ranked.order, 1)
    ]
    return Table("Ranking by held-out training images", RANKING_COLUMNS, rows, MEASURED)


def _shared_table(shared: Mapping[str, Estimate]) -> Table:
    columns = tuple(map(Column, ("property", "meaning", "Spearman's rho", "p (Holm)")))
    adjusted = stats.corrected(shared)
    rows = [(name, FEATURES[name], rho, adjusted[name].p) for name, rho in shared.items()]
    title = "What good topologies share: rank correlation with valid accuracy"
    return Table(title, columns, rows)


def _agreement_table(agreements: Mapping[str, Estimate]) -> Table:
    columns = tuple(map(Column, ("of", "topologies", "Kendall's tau", "p")))
    rows = [(name, tau.n, tau, tau.p) for name, tau in agreements.items()]
    return Table("Agreement of rankings", columns, rows)


# -- plots ---------------------------------------------------------------------------------------


def _texts(ranked: Ranking) -> list[str]:
    return [
        f"topology {i}: {ranked.sources(i)}, valid {percent(ranked.valid[i])},"
        f" test {percent(ranked.test[i])}"
        for i in ranked.order
    ]


def _ranking_plot(ranked: Ranking) -> Plot:
    places, texts = list(range(1, len(ranked.order) + 1)), _texts(ranked)
    series = [
        Series(name, places, [100 * values[i] for i in ranked.order], texts)
        for name, values in (("valid", ranked.valid), ("test", ranked.test))
    ]
    title = "Topologies by rank"
    return Plot("ranking", title, "rank by valid accuracy", "accuracy, %", series)


def _feature_plot(ranked: Ranking, name: str) -> Plot:
    values = [ranked.rows[i][0].factors[name] for i in ranked.order]
    accuracies = [100 * ranked.valid[i] for i in ranked.order]
    by_value: dict[float, list[float]] = {}
    for value, accuracy in zip(values, accuracies, strict=True):
        by_value.setdefault(float(value), []).append(accuracy)
    order = sorted(by_value)
    means = Series(
        "mean",
        order,
        [stats.mean(by_value[value]) for value in order],
        [f"{name} {value:g}: mean of {len(by_value[value])} topologies" for value in order],
        line=True,
    )
    each = Series("topology", list(map(float, values)), accuracies, _texts(ranked))
    title = f"{name.capitalize()}: {FEATURES[name]}"
    return Plot(name, title, name, "valid accuracy, %", [each, means])


PLUGIN = TopologyStudy
