"""Contract tests of one-shot methods: `check_method(METHOD)` runs them all.

METHOD is a name or the method itself, of this project or of a plug-in; `changes` are options of the
search, `space` among them. The checks know a space by its protocol alone, use plain asserts, and
need no test framework.
"""

import random
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from edarts import registry
from edarts.config import option_names
from edarts.errors import EdartsError, Interrupted, UsageError
from edarts.methods.oneshot import driver
from edarts.runs.folder import Run
from edarts.runs.seeds import derive
from edarts.space.base import Architecture, SearchSpace
from edarts.space.operations import parameter_free
from edarts.testing import golden
from edarts.testing.others import Skipped
from edarts.testing.problems import SEED, PlantedNet, planted_batch, planted_data, tiny_data
from edarts.testing.searches import (
    CPU,
    StopAfter,
    known,
    named,
    plugins,
    run_search,
    same,
    searched,
    tiny_config,
)

PLANTED_CELL = ("max_pool_3x3", "skip_connect", "sep_conv_3x3", "dil_conv_3x3")


def check_seeds(method: Any, **changes: Any) -> None:
    """The same seed gives the same architecture and weights; another seed other weights."""
    data, config = tiny_data(), tiny_config(method, **changes)
    first = searched(method, **changes)
    assert same(first, run_search(config, data)), f"{method}: the same seed gave another result"
    other = run_search(config, data, seed=SEED + 1)
    assert not same(first, other), f"{method}: the seed changes nothing"


def check_space(method: Any, **changes: Any) -> None:
    """The architecture lies in the space: the method's own, DARTS' with all edges or few, ENAS'.

    A method may refuse another space than its own.
    """
    others: list[dict[str, Any]] = [
        {"space": "darts", "topology": "all"},
        {"space": "darts", "topology": "7"},
        {"space": "enas"},
    ]
    for other in [{}, *others]:
        try:
            found = run_search(tiny_config(method, **(changes | other)), tiny_data(24))
        except UsageError:
            assert other, f"{method}: refuses its own space"
            continue
        assert found.space.supports(found.architecture), f"{method}: found one outside its space"


def check_seam(method: Any, **changes: Any) -> None:
    """Weights fit the space's tables and the supernet, and what is found can be derived again.

    The rows and columns of an architecture stand for it, and so do its weights, which count how
    often each candidate is taken.
    """
    data, found = tiny_data(), searched(method, **changes)
    space, architecture = found.space, found.architecture
    chosen = space.chosen(architecture)
    assert space.derive(chosen) == architecture, f"{method}: {architecture} cannot be derived again"
    hard = space.weights_of(architecture)
    for group in space.groups:
        assert int(hard[group].sum()) == len(chosen[group])
    learner = plugins(method, changes)[0](space, found.config, CPU)
    net = driver.build_supernet(space, found.config, data)
    for weights in (found.weights, learner.weights(True), learner.weights(False), hard):
        assert set(weights) == set(space.groups), f"{method}: weights of other groups"
        for group, matrix in weights.items():
            assert matrix.shape == space.shape(group), f"{method}: {group} has another shape"
            assert matrix.isfinite().all(), f"{method}: {group} weights that are not finite"
        logits = net(torch.randn(4, *data.shape), weights)
        assert logits.shape == (4, len(data.classes)) and logits.isfinite().all()


def check_one_operation(method: Any, **changes: Any) -> None:
    """A space with one operation works and returns it; of spaces that leave the choice."""
    only = named(plugins(method, changes)[1], ["skip_connect"])
    if not only:
        raise Skipped("its space does not let operations be chosen")
    found = run_search(tiny_config(method, **(changes | only)), tiny_data(24))
    names = [name for group in found.architecture.operations().values() for name in group]
    assert names and set(names) == {"skip_connect"}, f"{method}: {found.architecture}"


def check_resume(method: Any, **changes: Any) -> None:
    """Stopped in the middle of an epoch and continued, a search ends bit-identically."""
    data, config = tiny_data(), tiny_config(method, **changes)
    whole = searched(method, **changes)
    with tempfile.TemporaryDirectory() as folder:
        try:
            run_search(config, data, Run(Path(folder)), StopAfter(3))
            raise AssertionError(f"{method}: did not stop")
        except Interrupted:
            pass
        continued = run_search(config, data, Run(Path(folder)))
    assert same(whole, continued), f"{method}: resuming changed the result"
    assert whole.counts == continued.counts


def check_planted_cell(method: Any, **changes: Any) -> None:
    """On a problem with a known best cell, that cell is found, from a start that favours another.

    Every edge has its own best operation, never the first, which the start favours threefold; all
    others do harm. A method that draws whole cells, or a space that keeps only some of the edges,
    cannot be expected to meet the very best one of millions: what is found must be better than nine
    in ten drawn uniformly.
    """
    owner, kind = plugins(method, changes)
    base: dict[str, Any] = {"arch_lr": 0.03, "samples": 20, **named(kind, PLANTED_CELL)}
    attends = "attention" in owner.taken()
    if attends:
        base["topology"] = "0"
    config = tiny_config(method, **(known(method, base, **changes) | changes))
    if attends and "attention" not in changes:
        space = driver.resolve_config(config, 48, 2)[1]
        config = config.changed(attention=_favour_first(space))
    resolved, space, _ = driver.resolve_config(config, 48, 2)
    torch.manual_seed(derive(SEED, "planted cell"))
    best = {group: _plant(space, group) for group in space.groups}
    quality = {
        group: (0.1 * torch.rand(space.shape(group)) - 0.5).scatter(1, columns[:, None], 1.0)
        for group, columns in best.items()
    }
    for group, table in quality.items():  # rows of one edge are alike: which is first means nothing
        edges = space.edges(group)
        quality[group] = table[[edges.index(edge) for edge in edges]]
    net = PlantedNet(quality, hardest=float(sum(map(len, best.values()))))
    learner = owner(space, resolved, CPU)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, weight_decay=3e-4)
    images, labels = batch = planted_batch()
    times = learner.valid_batches
    valid = images.repeat(times, 1, 1, 1), labels.repeat(times)
    for _ in range(150):
        learner.arch_step(net, batch, valid, optimizer)
    found = learner.architecture()
    if attends and _keeps_all(space):
        for group, pairs in space.chosen(found).items():
            wanted = list(enumerate(best[group].tolist()))
            assert sorted(pairs) == wanted, f"{method}: {group} {sorted(pairs)}, planted {wanted}"
    else:
        rank = _rank(net, space, found)
        assert rank <= 0.1, f"{method}: {rank:.0%} of all are better than {found}"


def _favour_first(space: SearchSpace) -> str:
    names = list(dict.fromkeys(name for g in space.groups for name in space.candidates(g)))
    return ",".join(f"{name}={3 if name == names[0] else 1}" for name in names)


def _plant(space: SearchSpace, group: str) -> torch.Tensor:
    """A column for every row: any that may be derived but the first."""
    names = space.candidates(group)
    columns = torch.tensor([k for k in range(1, len(names)) if names[k] in space.eligible(group)])
    return columns[torch.randint(0, len(columns), (space.shape(group)[0],))]


def _keeps_all(space: SearchSpace) -> bool:
    return all(
        len(rows) <= space.kept(group)
        for group in space.groups
        for rows in space.incoming(group).values()
    )


def _rank(net: PlantedNet, space: SearchSpace, found: Architecture) -> float:
    """The share of 300 drawn architectures whose quality is higher than that of `found`."""

    def quality(architecture: Architecture) -> float:
        return float(net.margin(space.weights_of(architecture)))

    draw = random.Random(SEED)
    others = [quality(space.sample(draw)) for _ in range(300)]
    return sum(other > quality(found) for other in others) / len(others)


def check_planted_images(method: Any, **changes: Any) -> None:
    """A whole search finds the convolutions that an image problem needs, against its start.

    The start gives skip connections half as much weight again as convolutions, and the search must
    turn most edges round. Where the space does not let operations be chosen, the start is the
    method's own.
    """
    owner, kind = plugins(method, changes)
    two = named(kind, ("skip_connect", "sep_conv_3x3"))
    base: dict[str, Any] = {
        **two,
        "cells": 4,
        "channels": 8,
        "epochs": 10,
        "batch_size": 50,
        "lr": 0.1,
        "arch_lr": 0.1,
        "arch_weight_decay": 0.0,
        "samples": 20,
    }
    if "attention" in owner.taken():
        base["topology"] = "0"
        if two:
            base["attention"] = "skip_connect=1.5,sep_conv_3x3=1"
    config = tiny_config(method, **(known(method, base, **changes) | changes))
    names: list[str] = []
    for seed in range(SEED, SEED + 3):
        groups = run_search(config, planted_data(), seed=seed).architecture.operations().values()
        names += [name for group in groups for name in group]
        right = sum(not parameter_free(name) for name in names)
        if abs(right / len(names) - 0.5) > 0.1:
            break  # no matter of chance: rounding alone turns a few edges
    assert 2 * right > len(names), f"{method}: a convolution on {right} of {len(names)} edges"


def check_refusal(method: Any, **changes: Any) -> None:
    """An operation that does not exist is refused by name; of spaces that leave the choice."""
    if "operations" not in option_names(plugins(method, changes)[1]):
        raise Skipped("its space does not let operations be chosen")
    try:
        config = tiny_config(method, **(changes | {"operations": "sep_conv_9x9"}))
        run_search(config, tiny_data())
    except EdartsError as error:
        assert "sep_conv_9x9" in str(error)
    else:
        raise AssertionError(f"{method}: an unknown operation was accepted")


def check_golden(method: Any) -> str:
    """The method computes what its authors' code does, of the same weights and draws.

    Returns what was found. Of methods of this project alone, where there is such code.
    """
    owner = registry.get("methods", method)
    name = owner.__module__.rpartition(".")[2]
    files = golden.files_of(name) if owner.__module__.startswith("edarts.") else ()
    if not files:
        raise Skipped("there are no numbers of its authors' code")
    found = [one for file in files for one in golden.compare(file)]
    return f"largest difference {max(one.difference for one in found):.0e}"


CHECKS: tuple[Callable[..., str | None], ...] = (
    check_seeds,
    check_space,
    check_seam,
    check_one_operation,
    check_resume,
    check_planted_cell,
    check_planted_images,
    check_refusal,
    check_golden,
)


def check_method(method: Any) -> None:
    """All of the contract, for a method by name or itself. Raises AssertionError.

    `check_planted_images` gets the options of the method's `PLANTED`.
    """
    images = registry.get("methods", method).PLANTED
    for check in CHECKS:
        with suppress(Skipped):
            check(method, **(images if check is check_planted_images else {}))
