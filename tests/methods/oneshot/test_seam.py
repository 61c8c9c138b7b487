"""The seam: what a method finds is rows and columns of a space, and its one-hot weights make the
supernet compute what the network of the architecture computes.
"""

from typing import Any

import pytest
import torch
from torch import Tensor

from edarts import Genotype, Network, Size, Supernet, UsageError, registry
from edarts.methods.oneshot.derive import strongest
from edarts.nn.cells import Cell
from edarts.space.darts import DartsSpace
from edarts.testing import oneshot as testing
from edarts.testing.problems import tiny_data

SPACES = {"darts": {"topology": "all"}, "enas": {}}
OPERATIONS = "skip_connect,sep_conv_3x3,max_pool_3x3"
IMAGE, CLASSES = (3, 12, 12), 5


def shares(supernet: Supernet, genotype: Genotype, cells: int, channels: int) -> Network:
    """The genotype's network, in the form and with the parameters of the supernet.

    Where its cells give out fewer nodes, what reads them has the weights of those nodes alone.
    """
    network = Network(
        genotype, cells=cells, channels=channels, classes=CLASSES, image=IMAGE, affine=False
    )
    network.stem.load_state_dict(supernet.stem.state_dict())
    before: list[Tensor | None] = [None, None]  # of the last two cells: which channels are there
    for kind, mine, its in zip(supernet.kinds, supernet.cells, network.cells, strict=True):
        assert isinstance(mine, Cell)
        assert isinstance(its, Cell)
        for module, source, kept in zip(its.preprocess, mine.preprocess, before, strict=True):
            module.load_state_dict(sliced(source.state_dict(), kept))
        before_it: list[int] = []  # the nodes of the edges so far
        for edge, slot in zip(its.edges, its.slots, strict=True):
            # Where an edge is there twice, the second into a node is its second pair (ENAS).
            there = [at for at, other in enumerate(mine.edges) if other == edge]
            source_slot = mine.slots[there[min(before_it.count(edge.node), len(there) - 1)]]
            before_it.append(edge.node)
            assert slot is not None
            assert source_slot is not None
            state = mine.operations[source_slot].state_dict()
            its.operations[slot].load_state_dict(state)
        there = [node in genotype.concat(kind) for node in mine.concat]
        before = [before[1], torch.tensor(there).repeat_interleave(mine.channels)]
    state = supernet.classifier.state_dict()
    assert before[1] is not None
    network.classifier.load_state_dict(state | {"weight": state["weight"][:, before[1]]})
    return network


def sliced(state: dict[str, Tensor], kept: Tensor | None) -> dict[str, Tensor]:
    """A preprocessing's parameters that read the channels which are kept; None: all."""
    return {
        name: value[:, kept] if kept is not None and value.ndim == 4 else value
        for name, value in state.items()
    }


def refuses(method: str, name: str) -> bool:
    """ENAS draws whole cells; of the others only random search can search what is no more."""
    return method != "random_ws" and (method == "enas") != (name == "enas")


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("method", registry.names("methods"))
def test_the_weights_of_what_is_found_are_its_network(method: str, name: str) -> None:
    changes: dict[str, Any] = {"space": name, "operations": OPERATIONS, **SPACES[name]}
    config = testing.tiny_config(method, **{**changes, "epochs": 3, "cells": 2})
    try:
        found = testing.run_search(config, tiny_data(24))
    except UsageError:
        assert refuses(method, name)
        return
    assert not refuses(method, name)
    space, genotype = found.space, found.architecture
    assert isinstance(genotype, Genotype)
    chosen = space.chosen(genotype)
    assert space.derive(chosen) == genotype
    hard = space.weights_of(genotype)
    for group, weights in hard.items():
        assert set(map(tuple, weights.nonzero().tolist())) == set(chosen[group])
        assert int(weights.sum()) == len(chosen[group])
    torch.manual_seed(1)
    supernet = space.supernet(Size(3, 4), IMAGE, CLASSES)
    assert isinstance(supernet, Supernet)
    network = shares(supernet, genotype, 3, 4)
    x = torch.randn(6, *IMAGE)
    torch.testing.assert_close(supernet(x, hard), network(x))
    wrong = {group: w.roll(1, dims=1) for group, w in hard.items()}
    assert not torch.allclose(supernet(x, wrong), network(x))


def test_the_strongest_of_one_hot_weights_is_the_architecture() -> None:
    """Where every node has as many edges as it keeps, both ways lead to the same."""
    space = DartsSpace(tuple(OPERATIONS.split(",")), *[DartsSpace.topologies()[3]] * 2)
    config = testing.tiny_config("darts", topology="3", operations=OPERATIONS)
    found = testing.run_search(config, tiny_data(24))
    assert found.space == space
    assert space.derive(strongest(space, found.weights)) == found.architecture
    assert (
        space.derive(strongest(space, space.weights_of(found.architecture))) == found.architecture
    )
