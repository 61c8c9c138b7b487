"""Planned evaluation equals evaluation, for one image after the other."""

import copy
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from edarts.nn.cells import Cell
from edarts.nn.kernels import Plan
from edarts.nn.mirrored import Mirrored
from edarts.nn.network import Network
from edarts.nn.planned import Planned, planned
from edarts.space import zoo
from edarts.training import evaluation


def network(
    name: str = "darts.v2",
    channels: int = 5,
    image: tuple[int, int, int] = (3, 9, 7),
    **options: bool,
) -> Network:
    """A small network of the zoo whose norms do something."""
    torch.manual_seed(0)
    made = Network(
        zoo.get(name).genotype, cells=3, channels=channels, classes=4, image=image, **options
    )
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, 0.0, 0.3)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            if module.affine:
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, 0.0, 0.3)
    return made.eval()


def plans(made: Planned) -> list[bool]:
    """Whether there is a plan, for each size of image so far."""
    return [plan is not None for plan in made._plans.values()]


def images(height: int = 9, width: int = 7) -> Tensor:
    return torch.randn(3, 1, 3, height, width, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
@pytest.mark.parametrize("name", [n for n in zoo.names() if zoo.get(n).cells is not None])
@pytest.mark.parametrize("channels", [5, 16])
def test_one_image_gets_the_same_answer(name: str, channels: int) -> None:
    net = network(name, channels)
    fast = Planned(net)
    for x in (*images(), *images(8, 8)):
        torch.testing.assert_close(fast(x), net(x), rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("options", [{}, {"whitening": True}, {"affine": False}])
def test_cells_of_darts_are_planned(options: dict[str, bool]) -> None:
    net = network(**options)
    fast = Planned(net)
    answers = [fast(x) for x in images()]
    assert plans(fast) == [True]
    for x, answer in zip(images(), answers, strict=True):  # none has been written over
        torch.testing.assert_close(answer, net(x), rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("whitening", [False, True])
@pytest.mark.parametrize("image", [(1, 8, 8), (3, 33, 32), (3, 65, 70), (1, 99, 99), (3, 150, 97)])
def test_every_stem_is_planned(image: tuple[int, int, int], whitening: bool) -> None:
    """Images that are halved, averaged or neither; of channels that fill a vector, or do not."""
    net = network(channels=6, image=image, whitening=whitening)
    fast, x = Planned(net), torch.randn(1, *image)
    torch.testing.assert_close(fast(x), net(x), rtol=1e-4, atol=1e-5)
    assert plans(fast) == [True]


@torch.no_grad()
def test_an_image_too_small_to_whiten_is_left_to_the_network() -> None:
    net = network(image=(1, 1, 5), whitening=True)
    fast, x = Planned(net), torch.randn(1, 1, 1, 5)
    torch.testing.assert_close(fast(x), net(x))
    assert plans(fast) == [False]


@torch.no_grad()
@pytest.mark.parametrize("activation", [nn.GELU(), nn.ReLU()])
def test_activations(activation: nn.Module) -> None:
    """A 1 x 1 convolution that changes nothing, and an activation, on numbers of all sizes."""
    layer = nn.Conv2d(1, 1, 1, bias=False)
    nn.init.ones_(layer.weight)
    x = torch.cat([torch.linspace(-9, 9, 4001), torch.tensor([0.0, -0.0, 1e-8, -80.0, 80.0])])
    x = x.view(1, 1, 1, -1)
    plan = Plan(x.shape)
    plan.make(lambda plan, x: plan.layers([layer, activation], x))
    torch.testing.assert_close(plan(x), activation(x), rtol=1e-6, atol=1e-6)


class Halved(nn.Module):
    """An operation of others, which may write in place."""

    def __init__(self, in_place: bool) -> None:
        super().__init__()
        self.in_place = in_place

    def forward(self, x: Tensor) -> Tensor:
        return x.mul_(0.5) if self.in_place else x * 0.5


@torch.no_grad()
@pytest.mark.parametrize("in_place", [False, True])
def test_what_no_plan_knows_is_left_to_the_network(in_place: bool) -> None:
    net = network()
    cell = cast(Cell, net.cells[0])
    cell.preprocess[1] = nn.Sequential(cell.preprocess[1], Halved(in_place))
    fast = Planned(net)
    for x in images():
        torch.testing.assert_close(fast(x), net(x))
    assert plans(fast) == [False]


@torch.no_grad()
def test_a_changed_weight_is_seen() -> None:
    net, other = network(), network("darts.v1")
    fast, x = Planned(net), images()[0]
    fast(x)
    for module in net.cells.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.mul_(1.5)
    torch.testing.assert_close(fast(x), net(x), rtol=1e-4, atol=1e-5)
    net.stem[0].weight.mul_(1.5)
    torch.testing.assert_close(fast(x), net(x), rtol=1e-4, atol=1e-5)
    next(net.cells.parameters()).data = torch.randn_like(next(net.cells.parameters()))
    torch.testing.assert_close(fast(x), net(x), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(fast(x), other(x))
    state = {name: 0.9 * value for name, value in net.state_dict().items()}
    net.load_state_dict(state, assign=True)
    torch.testing.assert_close(fast(x), net(x), rtol=1e-4, atol=1e-5)


def test_all_else_goes_to_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    net = network()
    fast, x = Planned(net), images()[0]
    with torch.no_grad():
        fast(x.repeat(2, 1, 1, 1))
        with torch.autocast("cpu", torch.bfloat16):
            fast(x)
        monkeypatch.setenv("EDARTS_KERNELS", "off")
        fast(x)
        monkeypatch.delenv("EDARTS_KERNELS")
        net.train()
        fast(x.repeat(2, 1, 1, 1))
    net.eval()
    assert fast(x).requires_grad
    assert not plans(fast)


def test_threads_and_copies_have_memory_of_their_own() -> None:
    net = network(channels=16)
    fast, many = Planned(net), torch.randn(40, 1, 3, 9, 7)

    def answer(x: Tensor) -> Tensor:
        with torch.no_grad():
            return fast(x)

    with ThreadPoolExecutor(4) as pool:
        found = [*pool.map(answer, many)]
    with torch.no_grad():
        expected = torch.stack([net(x) for x in many])
        torch.testing.assert_close(torch.stack(found), expected, rtol=1e-4, atol=1e-5)
        twin = copy.deepcopy(fast)
        assert not plans(twin)
        torch.testing.assert_close(twin(many[0]), expected[0], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_mirrored_evaluation_and_others() -> None:
    net, x = network(), images()[0]
    torch.testing.assert_close(planned(Mirrored(net))(x), Mirrored(net)(x), rtol=1e-4, atol=1e-5)
    plain = nn.Linear(1, 1)
    assert planned(plain) is plain


def test_what_the_classifier_reads_is_seen() -> None:
    net, x = network(), images()[0]
    with evaluation._read_by_last_linear(net) as read, torch.no_grad():
        Planned(net)(x)
        (features,) = read[net.classifier]
    with evaluation._read_by_last_linear(net) as read, torch.no_grad():
        net(x)
    torch.testing.assert_close(features, read[net.classifier][0], rtol=1e-4, atol=1e-5)
