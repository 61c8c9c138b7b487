"""From weights to an architecture: which rows and columns of a space are chosen."""

from collections.abc import Mapping

import torch
from torch import Tensor

from edarts.space.base import Chosen, SearchSpace


def strongest(
    space: SearchSpace, weights: Mapping[str, Tensor]
) -> dict[str, list[tuple[int, int]]]:
    """DARTS' discretisation of (E, K) weights (Liu et al. 2019, section 2.4), as (row, column).

    Each edge is as strong as its strongest operation other than `none`; every node keeps its two
    strongest edges (`space.kept`), each with that operation. On a fixed topology, where no node has
    more, this is the argmax of every edge.
    """
    chosen = {}
    for group in space.groups:
        names = space.candidates(group)
        columns = [names.index(name) for name in space.eligible(group)]
        shares = weights[group].detach().cpu()[:, columns]
        best, index = shares.amax(dim=-1), shares.argmax(dim=-1)  # of equals the first
        chosen[group] = [
            (row, columns[int(index[row])])
            for rows in space.incoming(group).values()
            for row in sorted(rows, key=lambda r: -float(best[r]))[: space.kept(group)]
        ]
    return chosen


def largest(weights: Tensor, count: int) -> Tensor:
    """(E, K) mask of the `count` largest of each row; of equals the later ones (P-DARTS' code)."""
    kept = weights.detach().argsort(dim=-1, stable=True)[:, -count:]
    return torch.zeros_like(weights, dtype=torch.bool).scatter(1, kept, True)


def connected(space: SearchSpace, chosen: Chosen, otherwise: Chosen) -> Chosen:
    """Those of the chosen edges that come from an input or from a node that has edges.

    A group of which nothing is left is that of `otherwise`.
    """
    result = {}
    for group in space.groups:
        edges, kept = space.edges(group), []
        reached = {source for source, _ in edges} - set(space.incoming(group))
        for row, column in sorted(chosen[group], key=lambda pair: edges[pair[0]][1]):
            source, node = edges[row]
            if source in reached:
                kept.append((row, column))
                reached.add(node)
        result[group] = kept or otherwise[group]
    return result


def entropy(weights: Mapping[str, Tensor]) -> dict[str, float]:
    """Mean entropy of the rows for each group, as a share of its maximum log K: 1 is undecided."""
    result = {}
    for group, matrix in weights.items():
        share = matrix.detach() / matrix.detach().sum(dim=-1, keepdim=True).clamp_min(1e-12)
        bits = -(share * share.clamp_min(1e-12).log()).sum(dim=-1).mean()
        operations = matrix.shape[-1]
        full = torch.tensor(float(operations)).log().item() if operations > 1 else 1.0
        result[group] = float(bits) / full
    return result
