"""The same code on a GPU: equal to the CPU's, in every precision, compiled or not."""

import copy
import math

import pytest
import torch

from edarts import DartsSpace, Supernet, TrainConfig
from edarts.bench.comparisons import find
from edarts.bench.rows import compare
from edarts.methods.oneshot import driver as oneshot
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


def test_supernet_equals_the_cpus() -> None:
    """Logits, gradients of weights and of the architecture."""
    torch.manual_seed(0)
    cpu = Supernet(DartsSpace(), cells=3, channels=8, classes=10)
    gpu = copy.deepcopy(cpu)
    x, labels = torch.randn(16, 3, 32, 32), torch.arange(16) % 10
    found = []
    for net, name in ((cpu, "cpu"), (gpu, DEVICE)):
        device = open_device(name)
        place(net, device)
        weights = {
            kind: torch.full((14, 8), 1 / 8, device=device, requires_grad=True) for kind in KINDS
        }
        logits = net(x.to(device), weights)
        loss = cross_entropy(logits, labels.to(device))
        found.append([logits, *gradients(loss, list(weights.values()))])
    for mine, its in zip(*found, strict=True):
        torch.testing.assert_close(mine.cpu(), its.cpu(), rtol=1e-2, atol=1e-3)


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
