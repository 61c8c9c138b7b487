"""Topologies in order: their ranking by held-out images, and what is known of each."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edarts.reporting import stats
from edarts.reporting.stats import Estimate
from edarts.space.darts import Topology
from edarts.studies.row import Row
from edarts.studies.rows import column, groups

FEATURES = {
    "depth": "edges on the longest way from an input to the output",
    "width": "sum over the nodes of the share of their edges that come from the inputs",
    "readers": "nodes that read at least one input",
}


@dataclass(frozen=True)
class Ranking:
    """Topologies, by index, the best first; `valid`, `test`: mean accuracies over the seeds."""

    rows: Mapping[int, Sequence[Row]]
    order: Sequence[int]
    valid: Mapping[int, float]
    test: Mapping[int, float]

    @classmethod
    def of(cls, rows: Sequence[Row]) -> "Ranking":
        """Of the rows of whole trainings. The test split has no part in the order."""
        by_index = groups(rows, "topology")
        order = ranking(rows)
        valid, test = (
            {i: stats.mean(column(by_index[i], key)).value for i in order}
            for key in ("valid_accuracy", "test_accuracy")
        )
        return cls(by_index, order, valid, test)

    def factor(self, index: int, name: str) -> float:
        """A number that is the same in all rows of a topology, such as one of `FEATURES`."""
        return float(self.rows[index][0].factors[name])

    def sources(self, index: int) -> str:
        """The sources of each node of a topology, such as `01 01 01 02`."""
        return str(self.rows[index][0].factors["sources"])

    def by_seed(self) -> dict[int, dict[int, float]]:
        """Seed -> topology -> valid accuracy."""
        found: dict[int, dict[int, float]] = {}
        for index in self.order:
            for row in self.rows[index]:
                if row.valid_accuracy is not None:
                    found.setdefault(row.seed, {})[index] = row.valid_accuracy
        return found

    def shared_features(self) -> dict[str, Estimate]:
        """Spearman's rank correlation of each of `FEATURES` with valid accuracy."""
        valid = [self.valid[i] for i in self.order]
        return {
            name: stats.rank_correlation([self.factor(i, name) for i in self.order], valid)
            for name in FEATURES
        }


def ranking(rows: Sequence[Row]) -> list[int]:
    """Topologies by mean valid accuracy over the seeds, the best first."""
    by_index = groups(rows, "topology")
    means = {i: stats.mean(column(group, "valid_accuracy")).value for i, group in by_index.items()}
    return sorted(means, key=lambda i: (-means[i], i))


def features(edges: Topology) -> dict[str, float]:
    """`FEATURES` of a topology.

    Depth and width as in Shu, Wang and Cai (Understanding architectures learnt by cell-based neural
    architecture search, ICLR 2020), with one channel per node.
    """
    sources: dict[int, list[int]] = {}
    for source, node in edges:
        sources.setdefault(node, []).append(source)
    far = dict.fromkeys((0, 1), 0)  # the inputs
    for node in sorted(sources):
        far[node] = 1 + max(far[source] for source in sources[node])
    shares = [sum(s in (0, 1) for s in read) / len(read) for read in sources.values()]
    return {
        "depth": 1 + max(far.values()),
        "width": sum(shares),
        "readers": sum(share > 0 for share in shares),
    }


def agreement(first: Mapping[int, float], second: Mapping[int, float]) -> Estimate:
    """Kendall's tau of two accuracies, over the topologies that have both."""
    shared = sorted(first.keys() & second.keys())
    return stats.agreement([first[i] for i in shared], [second[i] for i in shared])


def deviation(values: Mapping[int, float]) -> float:
    """Standard deviation of accuracies, with n - 1 in the denominator."""
    middle = sum(values.values()) / len(values)
    squares = sum((value - middle) ** 2 for value in values.values())
    return math.sqrt(squares / max(1, len(values) - 1))
