"""Passes from a tape: not a bit differs from those without, and none is taped that may not be."""

import copy
import pickle
from collections.abc import Callable, Sequence
from typing import cast

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from edarts.nn.cells import Cell
from edarts.nn.kernels import Tapes, tapes
from edarts.nn.network import Network
from edarts.nn.supernet import Supernet
from edarts.space import zoo
from edarts.space.darts import DartsSpace

CLASSES = 3


class Untaped(Tapes):
    """Every pass goes as it would without tapes."""

    def _tape(self, *form: object) -> None:
        return None


def network(**changes: object) -> Network:
    torch.manual_seed(0)
    size = {"cells": 3, "channels": 4, "classes": CLASSES, "image": (3, 14, 14)}
    return Network(zoo.get("darts.v2").genotype, **(size | changes))  # type: ignore[arg-type]


def batch(seed: int, side: int = 14, count: int = 6) -> tuple[Tensor, Tensor]:
    torch.manual_seed(seed)
    return torch.randn(count, 3, side, side), torch.randint(CLASSES, (count,))


def loss(net: nn.Module, seed: int, side: int = 14) -> Tensor:
    images, labels = batch(seed, side)
    return functional.cross_entropy(net(images), labels)


def same(one: nn.Module, other: nn.Module) -> bool:
    """Whether parameters and running moments are the same bits."""
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def both(net: Network) -> tuple[Network, Network]:
    """A network, and a copy that never uses a tape."""
    other = copy.deepcopy(net)
    other.tapes = Untaped()
    return net, other


def train(net: nn.Module, steps: Sequence[int], results: Callable[[int], Tensor]) -> None:
    optimizer = torch.optim.SGD(net.parameters(), 0.05, 0.9, weight_decay=3e-4)
    for step in steps:
        optimizer.zero_grad()
        results(step).backward()
        optimizer.step()


@pytest.mark.parametrize("side", [14, 9])  # odd sides are halved too
@pytest.mark.parametrize(
    "genotype", ["darts.v2", "nasnet_a.official", "enas.figure", "pnasnet5.official"]
)
def test_a_network_learns_the_same(genotype: str, side: int) -> None:
    torch.manual_seed(0)
    made = Network(
        zoo.get(genotype).genotype, cells=4, channels=4, classes=CLASSES, image=(3, side, side),
        auxiliary=True,
    )  # fmt: skip

    def result(net: Network, step: int) -> Tensor:
        images, labels = batch(step, side)
        first, second = net(images, auxiliary=True)
        return functional.cross_entropy(first, labels) + 0.4 * functional.cross_entropy(
            second, labels
        )

    nets = both(made)
    for net in nets:
        train(net, range(5), lambda step, net=net: result(net, step))  # type: ignore[misc]
    assert same(*nets)
    if genotype == "darts.v2":
        assert len(nets[0].tapes) == 1


@pytest.mark.parametrize("topology", ["all", "01 01 01 02"])
def test_a_supernet_searches_the_same(topology: str) -> None:
    """Steps of the weights and of alpha, whose values change from step to step."""
    space = DartsSpace.parse("all", topology)
    torch.manual_seed(0)
    made = Supernet(space, cells=3, channels=4, classes=CLASSES, image=(3, 14, 14))
    ends = []
    for net in (made, copy.deepcopy(made)):
        if ends:
            net.tapes = Untaped()
        torch.manual_seed(1)
        alphas = {g: torch.randn(space.shape(g), requires_grad=True) for g in space.groups}
        optimizer = torch.optim.SGD([*net.parameters(), *alphas.values()], 0.05, 0.9)
        found = []
        for step in range(9):
            images, labels = batch(step)
            weights = {g: alpha.softmax(-1) for g, alpha in alphas.items()}
            if step % 2:
                weights = {g: w.detach() for g, w in weights.items()}
            out = net(images, weights)
            found.append(out.detach())
            optimizer.zero_grad()
            functional.cross_entropy(out, labels).backward()
            optimizer.step()
        ends.append((net, [*found, *alphas.values()]))
    assert same(ends[0][0], ends[1][0])
    assert all(torch.equal(a, b) for a, b in zip(ends[0][1], ends[1][1], strict=True))
    assert len(made.tapes) == 2


def test_the_second_pass_of_a_form_is_taped() -> None:
    net = network()
    for step in range(3):
        assert len(net.tapes) == int(step == 2)
        loss(net, step).backward()
    with torch.no_grad():
        loss(net, 0)
    for step in range(2):
        assert len(net.tapes) == 1
        loss(net, step, side=12).backward()
    assert len(net.tapes) == 2


def taped(**changes: object) -> tuple[Network, Network]:
    """A network whose passes come from a tape, and one without."""
    nets = both(network(**changes))
    for net in nets:
        train(net, range(4), lambda step, net=net: loss(net, step))  # type: ignore[misc]
    assert len(nets[0].tapes) == 1
    return nets


def cells(net: Network) -> list[Cell]:
    return [cast(Cell, cell) for cell in net.cells]


def replace_a_parameter(net: Network) -> None:
    with torch.no_grad():
        norm = cells(net)[0].preprocess[0].norm
        norm.weight = nn.Parameter(norm.weight * 2)  # type: ignore[union-attr]


def replace_an_operation(net: Network) -> None:
    torch.manual_seed(5)
    cell = cells(net)[0]
    cell.operations[0] = cell._build(cell.edges[0], None, True)


def freeze_a_norm(net: Network) -> None:
    cells(net)[0].preprocess[0].norm.eval()  # type: ignore[union-attr]


def freeze_a_parameter(net: Network) -> None:
    cells(net)[1].preprocess[0].norm.weight.requires_grad_(False)  # type: ignore[union-attr]


def average_all_steps(net: Network) -> None:
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None


def drop_paths(net: Network) -> None:
    net.set_drop_path(0.5)


def load_others(net: Network) -> None:
    with torch.no_grad():
        net.load_state_dict({name: value * 0.5 for name, value in net.state_dict().items()})


CHANGES = (
    replace_a_parameter, replace_an_operation, freeze_a_norm, freeze_a_parameter,
    average_all_steps, drop_paths, load_others,
)  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_changed_between_passes_counts(change: Callable[[Network], None]) -> None:
    nets = taped()
    for net in nets:
        change(net)
        torch.manual_seed(9)
        train(net, range(4, 9), lambda step, net=net: loss(net, step))  # type: ignore[misc]
    assert same(*nets)


def test_hooks_are_called() -> None:
    net, _ = taped()
    called = []
    handle = net.cells[1].register_forward_hook(lambda *_: called.append(1))
    loss(net, 0).backward()
    assert called
    handle.remove()
    weight = cells(net)[0].preprocess[0].pointwise.weight  # type: ignore[union-attr]
    handle = weight.register_hook(lambda grad: called.append(2))  # type: ignore[union-attr]
    loss(net, 0).backward()
    assert called == [1, 2]
    handle.remove()
    for module in (cells(net)[0].preprocess[0], net.stem):
        handle = module.register_full_backward_pre_hook(lambda *_: called.append(3))
        loss(net, 0).backward()
        handle.remove()
    assert called == [1, 2, 3, 3]


def test_passes_whose_gradients_are_taken_later() -> None:
    """The second passes begin before the gradients of the first are taken."""
    nets = taped()
    for net in nets:
        net.zero_grad()
        first, second = loss(net, 3), loss(net, 4)
        second.backward()
        first.backward()
    pairs = zip(nets[0].parameters(), nets[1].parameters(), strict=True)
    assert all(torch.equal(cast(Tensor, a.grad), cast(Tensor, b.grad)) for a, b in pairs)
    assert same(*nets)


def test_gradients_stay_when_the_next_pass_is_played() -> None:
    net, _ = taped()
    leaves = [*net.parameters()]
    images = torch.randn(6, 3, 14, 14, requires_grad=True)
    maps = net.features(images, of=[-1])[1]
    found = torch.autograd.grad(maps.square().sum(), [images, *net.cells.parameters()])
    kept = [tensor.clone() for tensor in (maps, *found)]
    for step in range(3):
        torch.autograd.grad(loss(net, step), leaves)
    assert all(torch.equal(a, b) for a, b in zip(kept, (maps, *found), strict=True))


def test_gradients_are_taken_once() -> None:
    net, _ = taped()
    result = loss(net, 0)
    result.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match=r"taken before: .*EDARTS_KERNELS=off"):
        result.backward()


def test_passes_without_gradients_after_them() -> None:
    """A loss that is only looked at, in the midst of taping and after it."""
    nets = both(network())
    for net in nets:
        for step in range(5):
            loss(net, step)
        train(net, range(4), lambda step, net=net: loss(net, step))  # type: ignore[misc]
    assert same(*nets)
    assert len(nets[0].tapes) == 1


def test_what_is_not_all_loops_is_not_taped() -> None:
    nets = both(network())
    for net in nets:
        net.set_drop_path(0.3)
        torch.manual_seed(0)
        train(net, range(4), lambda step, net=net: loss(net, step))  # type: ignore[misc]
    assert same(*nets)
    assert len(nets[0].tapes) == 0


def test_copies_begin_anew() -> None:
    net, _ = taped()
    assert len(copy.deepcopy(net).tapes) == 0
    assert len(pickle.loads(pickle.dumps(net.tapes))) == 0


def test_few_tapes_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tapes, "REMEMBERED", 3)
    net = network()
    for side in (8, 9, 10, 11, 12, 13):
        for _ in range(3):
            loss(net, 0, side).backward()
    assert len(net.tapes) == tapes.HELD
    for scale in range(5):  # so many states of the network are remembered
        norm = cells(net)[0].preprocess[0].norm
        norm.eps = 1e-5 * (scale + 1)  # type: ignore[union-attr]
        for _ in range(3):
            loss(net, 0).backward()
    assert 1 <= len(net.tapes) <= tapes.HELD


def test_memory_is_used_again() -> None:
    rooms = tapes.Rooms()
    first = rooms.empty((4, 5))
    place = first.data_ptr()
    view = first.view(20)[3:]
    del first
    while_held = rooms.empty((4, 5))  # by the view
    assert while_held.data_ptr() != place
    del view
    again = rooms.empty((3, 5))
    assert again.data_ptr() == place
    assert place % 64 == 0
    other = rooms.empty((2, 2))  # far smaller than what is free
    assert other.data_ptr() != place
    alone = rooms.unowned(again.numpy())
    del again
    alone[:] = 1
    last = rooms.empty((3, 5))
    assert last.data_ptr() == place
    assert last.eq(1).all()
    assert rooms.unowned(7) == 7
