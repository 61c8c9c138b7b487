"""The same code on a GPU: equal to the CPU's, in every precision, compiled or not."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from edarts import DartsSpace, Network, Supernet, TrainConfig
from edarts.bench.comparisons import find
from edarts.bench.rows import compare
from edarts.methods.oneshot import driver as oneshot
from edarts.nn.kernels import Recorder
from edarts.runtime import Session
from edarts.space import zoo
from edarts.space.genotype import KINDS
from edarts.testing.problems import tiny_data
from edarts.testing.searches import tiny_config
from edarts.training import fit as train
from edarts.training.device import open_device, place, runtime
from edarts.training.optim import cross_entropy, gradients

DEVICE = "cuda"

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")


def weights_of(device: str) -> dict[str, Tensor]:
    """Drawn from torch's generator of the CPU."""
    return {
        kind: torch.rand(14, 8, dtype=torch.float64).softmax(-1).to(device).requires_grad_()
        for kind in KINDS
    }


@pytest.mark.parametrize("learns", ["weights", "architecture", "both"])
def test_supernet_equals_the_cpus(learns: str) -> None:
    """Logits, gradients, running moments: computed anew, and replayed."""
    torch.manual_seed(0)
    cpu = Supernet(DartsSpace(), cells=3, channels=8, classes=10).double()
    gpu = place(copy.deepcopy(cpu), open_device(DEVICE))
    for net in (cpu, gpu):
        net.requires_grad_(learns != "architecture")
    for call in range(6):
        x, labels = torch.randn(8, 3, 32, 32).double(), torch.arange(8) % 10
        found = []
        for net, device in ((cpu, "cpu"), (gpu, DEVICE)):
            torch.manual_seed(call)
            weights = weights_of(device)
            for value in weights.values():
                value.requires_grad_(learns != "weights")
            logits = net(x.to(device), weights)
            loss = cross_entropy(logits, labels.to(device))
            leaves = [p for p in [*net.parameters(), *weights.values()] if p.requires_grad]
            found.append([logits, *gradients(loss, leaves), *net.buffers()])
        for mine, its in zip(*found, strict=True):
            torch.testing.assert_close(mine.cpu(), its.cpu(), rtol=1e-8, atol=1e-8)
    assert len(gpu.recorder) == 1
    assert len(cpu.recorder) == 0


def test_what_is_never_the_same_is_not_recorded() -> None:
    net = place(Supernet(DartsSpace(), cells=1, channels=4, classes=10), open_device(DEVICE))
    for call in range(8):
        weights = {kind: value.float() for kind, value in weights_of(DEVICE).items()}
        for value in weights.values():
            value.detach_()[:, call] = 0
        net(torch.randn(2, 3, 16, 16, device=DEVICE), weights)
    assert len(net.recorder) == 0


def test_modules_of_others_may_wait_for_the_gpu_and_are_not_recorded() -> None:
    class Waits(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * float(x.sum())

    net, recorder = Waits(3, 2).to(DEVICE), Recorder()
    for _ in range(6):
        x = torch.randn(4, 3, device=DEVICE)
        torch.testing.assert_close(recorder(net, net, None, x), net(x))
    assert len(recorder) == 0


def test_steps_with_drop_path_are_replayed_with_new_draws() -> None:
    genotype = zoo.get("darts.v2").architecture
    net = place(Network(genotype, cells=2, channels=4, classes=10), open_device(DEVICE))
    net.set_drop_path(0.5)
    recorder, x = Recorder(), torch.randn(4, 3, 16, 16, device=DEVICE)
    found = []
    for call in (0, 1, 2, 3, 4, 5, 4):
        torch.manual_seed(call)
        found.append(recorder(net, net, 0.5, x).detach())
    assert len(recorder) == 1
    assert not torch.allclose(found[4], found[5])
    torch.testing.assert_close(found[4], found[6])


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("method", ["edarts", "darts", "pc_darts"])
def test_search_in_every_precision(method: str, precision: str) -> None:
    data, config = tiny_data(), tiny_config(method)
    resolved, space, _ = oneshot.resolve_config(config, len(data), len(data.classes))
    result = oneshot.one_shot(
        data, resolved, space, runtime(Session(device=DEVICE, precision=precision))
    )
    assert all(math.isfinite(line["loss"]) for line in result.history)
    assert result.architecture in space


@pytest.mark.slow
def test_compiled_search() -> None:
    data, config = tiny_data(), tiny_config("edarts")
    resolved, space, _ = oneshot.resolve_config(config, len(data), len(data.classes))
    result = oneshot.one_shot(data, resolved, space, runtime(Session(device=DEVICE, compile=True)))
    assert all(math.isfinite(line["loss"]) for line in result.history)


def test_training_learns() -> None:
    data = tiny_data(96)
    config = TrainConfig(epochs=6, cells=3, channels=4, batch_size=16)
    resolved = train.resolve_config(config, len(data))
    network = train.build(zoo.get("darts.v2").architecture, resolved, data, 0)
    history = train.fit(network, data, resolved, runtime(Session(device=DEVICE))).history
    assert history[-1]["loss"] < history[0]["loss"]


def test_bench_agrees_with_the_textbook() -> None:
    row = compare(find("edarts_weight_step"), 1, open_device(DEVICE))
    assert row.ours_s > 0
    assert row.ours_mib > 0
