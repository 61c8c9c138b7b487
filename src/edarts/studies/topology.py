"""The 180 topologies with the operation held fixed: ranking, spread, what good ones share."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import ClassVar

from edarts.config import given
from edarts.errors import EdartsError, UsageError
from edarts.reporting import stats
from edarts.reporting.model import Plot, Series, Summary, Table
from edarts.reporting.stats import Estimate
from edarts.space.darts import Space, format_topology
from edarts.space.darts import Topology as Edges
from edarts.space.genotype import INPUTS, Edge, Genotype
from edarts.space.operations import CANDIDATES
from edarts.studies.base import (
    MEASURED,
    Job,
    Recipe,
    Row,
    Rows,
    average,
    column,
    done,
    groups,
    percent,
    seeds,
)

PUBLISHED = 1  # the topology of DARTS' published normal cells
ETA = 3  # halving keeps one of so many (Jamieson and Talwalkar 2016; Hyperband's default)
FEATURES = {
    "depth": "edges on the longest way from an input to the output",
    "width": "sum over the nodes of the share of their edges that come from the inputs",
    "readers": "nodes that read at least one input",
}


@dataclass(frozen=True)
class Topology:
    """Every topology in both cells, `operation` on every edge.

    `topologies`: `all`, or indices and ranges such as 0-9,43. `halving`: train all for a ninth of
    the epochs, the best third for a third, and the best third of these for all (successive
    halving). `beside`: folder of a topology study on other data, to compare the rankings with.
    """

    SEEDS: ClassVar[int] = 1
    recipe: Recipe
    operation: str = "sep_conv_3x3"
    topologies: str = "all"
    halving: bool = False
    beside: str | None = None

    def __post_init__(self) -> None:
        self.recipe.leave_open("study topology searches nothing")
        Space((self.operation,))
        if self.operation not in CANDIDATES:
            raise UsageError(f"operation '{self.operation}' is none of a cell's candidates")
        self.indices()

    @property
    def epochs(self) -> int:
        """Of a whole training."""
        return given(self.recipe.train.epochs)

    def indices(self) -> list[int]:
        """The places in `Space.topologies()`."""
        count = len(Space.topologies())
        if self.topologies == "all":
            return list(range(count))
        try:
            chosen: set[int] = set()
            for part in self.topologies.split(","):
                first, _, last = part.partition("-")
                chosen |= set(range(int(first), int(last or first) + 1))
        except ValueError:
            chosen = set()
        if not chosen or max(chosen) >= count:
            raise UsageError(
                f"topologies '{self.topologies}': give all, or indices such as 0-9,43 below {count}"
            )
        return sorted(chosen)

    def rungs(self) -> list[int]:
        """Epochs of each rung of the halving; the last is the whole training."""
        steps = (ETA**2, ETA, 1) if self.halving else (1,)
        return sorted({max(1, math.ceil(self.epochs / step)) for step in steps})

    def jobs(self, rows: Rows) -> list[Job]:
        indices, found = self.indices(), []
        for epochs in self.rungs():
            last = epochs == self.epochs
            rung = [self._job(i, s, epochs, last) for s in seeds(self) for i in indices]
            found += rung
            ended = [rows[job.name] for job in rung if job.name in rows]
            if len(ended) < len(rung):
                break
            ranked = ranking([row for row in ended if row["status"] == "done"])
            indices = sorted(ranked[: math.ceil(len(ranked) / ETA)])
        return found

    def _job(self, index: int, seed: int, epochs: int, last: bool) -> Job:
        edges = Space.topologies()[index]
        kept = tuple(Edge(self.operation, *pair) for pair in edges)
        nodes = tuple(sorted({node for _, node in edges}))
        train = replace(self.recipe.train, epochs=epochs)
        factors = {
            "topology": index,
            "sources": format_topology(edges),
            **features(edges),
            "epochs": epochs,
        }
        name = f"topology-{index:03}-seed-{seed}" + ("" if last else f"-{epochs}-epochs")
        genotype = Genotype(kept, kept, nodes, nodes)
        return Job(name, factors, seed, train, genotype=genotype, test=last)

    def summary(self, rows: Rows) -> Summary:
        whole = [row for row in done(rows) if row["epochs"] == self.epochs]
        by_index = groups(whole, "topology")
        ranked = ranking(whole)
        title = f"Topologies, {self.operation} on every edge"
        if not ranked:
            return Summary(title, ["No run has ended."], [], [])
        valid = {i: stats.mean(column(by_index[i], "valid_accuracy")).value for i in ranked}
        test = {i: stats.mean(column(by_index[i], "test_accuracy")).value for i in ranked}
        tables = [
            Table(
                "Ranking by held-out training images",
                ("rank", "topology", "sources", "valid accuracy", "test accuracy", *FEATURES),
                [
                    (
                        rank + 1,
                        i,
                        by_index[i][0]["sources"],
                        average(by_index[i], "valid_accuracy"),
                        average(by_index[i], "test_accuracy"),
                        *(by_index[i][0][name] for name in FEATURES),
                    )
                    for rank, i in enumerate(ranked)
                ],
                MEASURED,
            )
        ]
        sentences = [*self._spread(whole, by_index, ranked, valid, test)]
        shared = {
            name: stats.rank_correlation(
                [by_index[i][0][name] for i in ranked], [valid[i] for i in ranked]
            )
            for name in FEATURES
        }
        adjusted = dict(zip(shared, stats.holm([rho.p for rho in shared.values()]), strict=True))
        for name, p in adjusted.items():
            if p is not None and p < 0.05:
                kind = "more" if shared[name].value > 0 else "less"
                sentences.append(f"Good topologies have {kind} {name}: rho {_rho(shared[name])}.")
        tables += [
            Table(
                "What good topologies share: rank correlation with valid accuracy",
                ("property", "meaning", "Spearman's rho", "p (Holm)"),
                [(name, FEATURES[name], rho, adjusted[name]) for name, rho in shared.items()],
            ),
            *self._agreements(by_index, ranked, valid, test, sentences),
        ]
        sentences.append(
            f"All this is after {self.epochs} epochs: a topology that learns fast need not be the"
            " best one after many."
        )
        if self.halving:
            stopped = [row for row in done(rows) if row["epochs"] < self.epochs]
            sentences.append(
                f"Successive halving: {len(ranked)} topologies were trained for all"
                f" {self.epochs} epochs, after {len(stopped)} shorter trainings; the others were"
                " not, so the spread is that of the best."
            )
        return Summary(
            title,
            sentences,
            tables,
            self._plots(by_index, ranked, valid, test),
            {f"best: topology {ranked[0]}": Genotype.from_dict(by_index[ranked[0]][0]["genotype"])},
        )

    def _spread(
        self,
        whole: list[Row],
        by_index: dict[int, list[Row]],
        ranked: list[int],
        valid: dict[int, float],
        test: dict[int, float],
    ) -> list[str]:
        best, worst = ranked[0], ranked[-1]
        texts = [
            f"{len(ranked)} topologies, valid accuracy from {percent(valid[worst])} (topology"
            f" {worst}) to {percent(valid[best])} (topology {best}); test accuracy from"
            f" {percent(min(test.values()))} to {percent(max(test.values()))}."
        ]
        p = stats.differ([column(rows, "valid_accuracy") for rows in by_index.values()])
        if p is None:
            images = max(1, whole[0].get("valid_images", 1))
            middle = sum(valid.values()) / len(valid)
            noise = math.sqrt(middle * (1 - middle) / images)
            texts.append(
                f"The spread has a standard deviation of {percent(_deviation(valid))}; judging on"
                f" other images would alone give {percent(noise)}. What other seeds would give is"
                " not known from one seed."
            )
        else:
            verb = "differ" if p < 0.05 else "cannot be shown to differ"
            texts.append(
                f"Topologies {verb} by more than seeds do (F test over {len(ranked)} topologies,"
                f" p = {p:.2g})."
            )
        if PUBLISHED in by_index and best != PUBLISHED:
            texts.append(self._gain(by_index[best], by_index[PUBLISHED], best, PUBLISHED))
        return texts

    def _gain(self, best: list[Row], base: list[Row], index: int, other: int) -> str:
        """The chosen one against another, on test images, which did not choose it."""
        names = (
            f"Topology {index}, chosen on held-out images, minus topology {other} on test images"
        )
        pairs = {row["seed"]: row for row in base}
        shared = [row for row in best if row["seed"] in pairs]
        if len(shared) > 1:
            gain = stats.paired(
                column(shared, "test_accuracy"),
                [pairs[row["seed"]]["test_accuracy"] for row in shared],
            )
            return f"{names}: {percent(gain, signed=True)}, over {gain.n} seeds (p = {gain.p:.2g})."
        mine, theirs = best[0], base[0]
        right = [round(r["test_accuracy"] * r["test_images"]) for r in (mine, theirs)]
        gain = stats.proportion_difference(
            right[0], mine["test_images"], right[1], theirs["test_images"]
        )
        return (
            f"{names}: {percent(gain, signed=True)}; one seed, the interval is of the test images"
            " alone."
        )

    def _agreements(
        self,
        by_index: dict[int, list[Row]],
        ranked: list[int],
        valid: dict[int, float],
        test: dict[int, float],
        sentences: list[str],
    ) -> list[Table]:
        entries: list[tuple[str, Estimate]] = []
        by_seed: dict[int, dict[int, float]] = {}
        for i in ranked:
            for row in by_index[i]:
                by_seed.setdefault(row["seed"], {})[i] = row["valid_accuracy"]
        for a, b in combinations(sorted(by_seed), 2):
            entries.append((f"seed {a}, seed {b}", _agree(by_seed[a], by_seed[b])))
        entries.append(("valid accuracy, test accuracy", _agree(valid, test)))
        if self.beside is not None:
            entries.append((f"this study, {self.beside}", _agree(valid, self._other())))
            sentences.append(
                f"The ranking agrees with that of {self.beside} by tau {_rho(entries[-1][1])}."
            )
        return [
            Table(
                "Agreement of rankings",
                ("of", "topologies", "Kendall's tau", "p"),
                [(name, e.n, e, e.p) for name, e in entries],
            )
        ]

    def _other(self) -> dict[int, float]:
        from edarts.studies.driver import read_ledger

        rows = [r for r in done(read_ledger(Path(str(self.beside)))) if "topology" in r]
        if not rows:
            raise EdartsError(f"{self.beside}: no topology study with finished runs")
        longest = max(row["epochs"] for row in rows)
        by_index = groups([row for row in rows if row["epochs"] == longest], "topology")
        return {
            i: stats.mean(column(members, "valid_accuracy")).value
            for i, members in by_index.items()
        }

    def _plots(
        self,
        by_index: dict[int, list[Row]],
        ranked: list[int],
        valid: dict[int, float],
        test: dict[int, float],
    ) -> list[Plot]:
        text = {
            i: f"topology {i}: {by_index[i][0]['sources']}, valid {percent(valid[i])},"
            f" test {percent(test[i])}"
            for i in ranked
        }
        texts = [text[i] for i in ranked]
        at = list(range(1, len(ranked) + 1))
        plots = [
            Plot(
                "ranking",
                "Topologies by rank",
                "rank by valid accuracy",
                "accuracy, %",
                [
                    Series("valid", at, [100 * valid[i] for i in ranked], texts),
                    Series("test", at, [100 * test[i] for i in ranked], texts),
                ],
            )
        ]
        for name, meaning in FEATURES.items():
            values = groups([by_index[i][0] for i in ranked], name)
            means = {v: [100 * valid[r["topology"]] for r in rows] for v, rows in values.items()}
            order = sorted(means)
            plots.append(
                Plot(
                    name,
                    f"{name.capitalize()}: {meaning}",
                    name,
                    "valid accuracy, %",
                    [
                        Series(
                            "topology",
                            [by_index[i][0][name] for i in ranked],
                            [100 * valid[i] for i in ranked],
                            texts,
                        ),
                        Series(
                            "mean",
                            order,
                            [stats.mean(means[v]) for v in order],
                            [f"{name} {v}: mean of {len(means[v])} topologies" for v in order],
                            line=True,
                        ),
                    ],
                )
            )
        return plots


def features(edges: Edges) -> dict[str, float]:
    """`FEATURES` of a topology.

    Depth and width as in Shu, Wang and Cai (Understanding architectures learnt by cell-based neural
    architecture search, ICLR 2020), with one channel per node.
    """
    sources: dict[int, list[int]] = {}
    for source, node in edges:
        sources.setdefault(node, []).append(source)
    far = dict.fromkeys(range(INPUTS), 0)
    for node in sorted(sources):
        far[node] = 1 + max(far[source] for source in sources[node])
    shares = [sum(s < INPUTS for s in read) / len(read) for read in sources.values()]
    return {
        "depth": 1 + max(far.values()),
        "width": sum(shares),
        "readers": sum(share > 0 for share in shares),
    }


def ranking(rows: Sequence[Row]) -> list[int]:
    """Topologies by mean valid accuracy over the seeds, the best first."""
    by_index = groups(rows, "topology")
    means = {i: stats.mean(column(group, "valid_accuracy")).value for i, group in by_index.items()}
    return sorted(means, key=lambda i: (-means[i], i))


def _agree(first: dict[int, float], second: dict[int, float]) -> Estimate:
    shared = sorted(first.keys() & second.keys())
    return stats.agreement([first[i] for i in shared], [second[i] for i in shared])


def _deviation(values: dict[int, float]) -> float:
    middle = sum(values.values()) / len(values)
    squares = sum((value - middle) ** 2 for value in values.values())
    return math.sqrt(squares / max(1, len(values) - 1))


def _rho(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.2f}"
    return f"{estimate.value:.2f} ({estimate.low:.2f} to {estimate.high:.2f})"


PLUGIN = Topology
