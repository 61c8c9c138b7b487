"""A Session does nothing; a Runtime opens the device once; precisions."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from edarts import EdartsError
from edarts.errors import UsageError
from edarts.runs.progress import Progress
from edarts.runs.stop import Stop
from edarts.runtime import Session
from edarts.training import device
from edarts.training.device import PRECISIONS, autocast, open_device, place

PASSIVE = """
import os, sys
os.environ |= {"WORLD_SIZE": "2", "RANK": "1"}
import torch
def touched(*a, **k): sys.exit("a session did something")
torch.set_flush_denormal = torch.cuda.is_available = torch.manual_seed = touched
from edarts import Session
Session(seed=1, device="cuda", precision="fp16", compile=True, workers=3)
for name in ("accelerate", "numba", "ray", "edarts.training.device", "edarts.nn"):
    assert name not in sys.modules, name
assert not torch.distributed.is_initialized()
"""


def test_a_session_is_passive() -> None:
    """It compiles nothing, sets no flag, joins no group and asks for no device."""
    done = subprocess.run(
        [sys.executable, "-c", PASSIVE], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_session_refuses_what_cannot_be() -> None:
    with pytest.raises(UsageError, match="workers must be at least 1, got 0"):
        Session(workers=0)
    with pytest.raises(UsageError, match="'bf61'; did you mean bf16"):
        Session(precision="bf61")  # type: ignore[arg-type]


def test_runtime_is_the_session_carried_out() -> None:
    progress, stop = Progress(), Stop()
    session = Session(seed=3, device="cpu", precision="bf16", compile=True, progress=progress)
    made = device.runtime(session, None, stop)
    assert made.device == torch.device("cpu")
    assert (made.seed, made.run, made.precision, made.compile) == (3, None, "bf16", True)
    assert made.progress is progress and made.stop is stop
    assert torch.tensor(1e-40).mul(1.0).item() == 0, "denormal numbers are flushed"


def test_what_is_not_here_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "cuda", SimpleNamespace(is_available=lambda: False))
    for session, words in (
        (Session(device="cuda"), "device cuda is not here; this machine has: .*cpu"),
        (Session(device="tpu"), "device tpu is not here"),
        (Session(device="cpu", precision="fp16"), "fp16 needs a GPU"),
    ):
        with pytest.raises(EdartsError, match=words):
            device.runtime(session)


def test_auto_takes_what_there_is() -> None:
    assert open_device("auto").type in ("cuda", "mps", "cpu")


def test_precision() -> None:
    cpu = torch.device("cpu")
    x = torch.randn(8, 8)
    with autocast(cpu, "bf16"):
        assert (x @ x).dtype == torch.bfloat16
    with autocast(cpu, "fp32"):
        assert (x @ x).dtype == torch.float32
    with pytest.raises(UsageError, match="fp16 needs a GPU"), autocast(cpu, "fp16"):
        pass
    with pytest.raises(UsageError, match="precision"), autocast(cpu, "bf61"):
        pass
    assert list(PRECISIONS) == ["fp32", "bf16", "fp16"]
    with autocast(cpu, "auto"):
        assert (x @ x).dtype == torch.float32


def test_a_weight_that_changes_inside_the_block_counts() -> None:
    """A whole training is one block: weights that were cast once must not be taken again."""
    weight = torch.zeros(2, 2, requires_grad=True)
    x = torch.ones(2, 2)
    with autocast(torch.device("cpu"), "bf16"):
        before = (x @ weight).sum()
        with torch.no_grad():
            weight.fill_(3.0)
        after = (x @ weight).sum()
    assert (before.item(), after.item()) == (0.0, 24.0)


def test_a_network_is_placed_once() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4))
    assert place(net, torch.device("cpu")) is net
    weights = [net[0].weight, net[1].weight]
    assert all(w.is_contiguous(memory_format=torch.channels_last) for w in weights)
    before = [tensor.data_ptr() for tensor in net.state_dict().values()]
    place(net, torch.device("cpu"))
    assert [tensor.data_ptr() for tensor in net.state_dict().values()] == before
    net[1].weight.data = torch.randn(4, 4, 3, 3)
    place(net, torch.device("cpu"))
    assert net[1].weight.is_contiguous(memory_format=torch.channels_last)
    assert place(net, torch.device("meta"))[0].weight.device.type == "meta"
