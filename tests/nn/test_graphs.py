"""What is recorded and when, by a recording that records nothing; test_cuda.py has real ones."""

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn

from edarts.nn.kernels import Recorder, graphs


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Tensor, ...]]:
    """The tensors of each recording."""
    made: list[tuple[Tensor, ...]] = []

    def record(
        function: graphs.Function, net: nn.Module, tensors: tuple[Tensor, ...]
    ) -> graphs.Function:
        made.append(tensors)
        return function

    rule = graphs.recordable
    monkeypatch.setattr(graphs, "_record", record)
    monkeypatch.setattr(graphs, "_room", lambda device: True)
    monkeypatch.setattr(
        graphs, "recordable", lambda net, x: net.training and torch.is_grad_enabled()
    )
    assert not rule(nn.Linear(2, 2), torch.ones(1, 2))  # on the CPU nothing ever is
    return made


def test_the_fourth_call_of_a_form_is_recorded(recorded: list[tuple[Tensor, ...]]) -> None:
    net, recorder = nn.Linear(3, 2), Recorder()
    for call in range(6):
        x = torch.randn(4, 3)
        torch.testing.assert_close(recorder(net, net, None, x), net(x))
        assert len(recorder) == len(recorded) == (call >= 3)


def test_other_forms_are_recorded_by_themselves(recorded: list[tuple[Tensor, ...]]) -> None:
    net, recorder = nn.Linear(3, 2), Recorder()

    def calls(x: Tensor, constants: object = None) -> int:
        for _ in range(4):
            recorder(net, net, constants, x)  # type: ignore[arg-type]
        return len(recorded)

    assert calls(torch.ones(4, 3)) == 1
    assert calls(torch.ones(4, 3)) == 1
    assert calls(torch.ones(5, 3)) == 2  # another shape
    assert calls(torch.ones(4, 3, requires_grad=True)) == 3
    assert calls(torch.ones(4, 3), "other") == 4
    assert len(recorder) == 4
    net.bias.requires_grad_(False)
    assert calls(torch.ones(4, 3)) == 5  # what learns
    assert len(recorder) == graphs.HELD  # the oldest has gone
    net.bias.requires_grad_(True)
    assert calls(torch.ones(4, 3)) == 6


def test_what_is_not_trained_is_not_recorded(recorded: list[tuple[Tensor, ...]]) -> None:
    net, recorder, x = nn.Linear(3, 2), Recorder(), torch.ones(4, 3)
    for _ in range(5):
        with torch.no_grad():
            recorder(net, net, None, x)
    net.eval()
    for _ in range(5):
        recorder(net, net, None, x)
    assert not recorded


def test_forms_that_do_not_come_again_are_forgotten(
    recorded: list[tuple[Tensor, ...]],
) -> None:
    net, recorder, x = nn.Linear(3, 2), Recorder(), torch.ones(4, 3)
    for number in range(3 * graphs.REMEMBERED):
        recorder(net, net, number, x)
    assert not recorded
    assert len(recorder._calls) <= graphs.REMEMBERED


def test_modules_of_others_are_not_recorded(recorded: list[tuple[Tensor, ...]]) -> None:
    class Other(nn.Linear):
        """It might wait for the GPU."""

    net, recorder = nn.Sequential(nn.Linear(3, 3), Other(3, 2)), Recorder()
    for _ in range(6):
        recorder(net, net, None, torch.ones(4, 3))
    assert not recorded


def test_gradients_of_a_replay_that_is_gone_are_refused(
    recorded: list[tuple[Tensor, ...]],
) -> None:
    net, recorder, x = nn.Linear(3, 2), Recorder(), torch.ones(4, 3)
    for _ in range(4):
        first = recorder(net, net, None, x)
    first.sum().backward()
    first = recorder(net, net, None, x)
    second = recorder(net, net, None, x)
    second.sum().backward()
    with pytest.raises(RuntimeError, match="replayed before their gradients were taken"):
        first.sum().backward()


@pytest.mark.usefixtures("recorded")
def test_copies_begin_anew() -> None:
    net, recorder = nn.Linear(3, 2), Recorder()
    for _ in range(4):
        recorder(net, net, None, torch.ones(4, 3))
    assert len(recorder) == 1
    assert len(copy.deepcopy(recorder)) == len(pickle.loads(pickle.dumps(recorder))) == 0
