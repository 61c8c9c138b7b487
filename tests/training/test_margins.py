"""Margins: by hand, over processes, and planted wrong labels that are found."""

from dataclasses import replace

import pytest
import torch

import edarts
from edarts.config import TrainConfig
from edarts.runtime import Session
from edarts.space import named
from edarts.training import device, distributed, fit
from edarts.training.margins import Margins


def test_the_mean_of_label_minus_the_largest_other() -> None:
    margins = Margins(torch.tensor([0, 2, 5]))
    logits = torch.tensor([[1.0, 4.0, 2.0], [0.0, -1.0, 3.0]])
    margins.add(torch.tensor([2, 0]), logits, torch.tensor([1, 0]))
    margins.add(torch.tensor([2]), torch.tensor([[9.0, 1.0, 5.0]]), torch.tensor([1]))
    found = margins.of(6)
    assert found[0] == -3.0  # 0 - 3
    assert found[5] == ((4 - 2) + (1 - 9)) / 2
    assert found[[1, 2, 3, 4]].isnan().all()  # held out, or not yet seen
    again = Margins(torch.tensor([0, 2, 5]))
    again.load_state_dict(margins.state_dict())
    assert torch.equal(again.of(6)[[0, 5]], found[[0, 5]])


def test_processes_put_their_parts_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each fills in its rows, and the sum over the processes holds all but the image left over."""
    whole, parts = torch.arange(1.0, 12.0)[:, None], []
    monkeypatch.setattr(distributed, "average", lambda tensors: tensors)
    for rank in range(2):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", "2")
        (mine,) = distributed.shard(whole)
        parts.append(distributed.gathered(mine, 11) / 2)
    assert torch.equal(sum(parts)[:10], whole[:10])  # type: ignore[index]
    assert sum(parts)[10] == 0  # type: ignore[index]


@pytest.mark.parametrize("name", ["resnet", "convnet"])
def test_twenty_swapped_labels_among_a_thousand_are_found(name: str) -> None:
    """By the training that find does, augmentation and all: 16 or more in the first 40."""
    data = edarts.load("digits")
    data = data.subset(torch.arange(1000))
    swapped = torch.randperm(1000, generator=torch.Generator().manual_seed(0))[:20]
    labels = data.labels.clone()
    labels[swapped] = (labels[swapped] + 1 + swapped % 9) % 10
    data = replace(data, labels=labels)
    design = named.architecture(name)
    config = fit.resolve_config(TrainConfig(valid_fraction=0.05), len(data), whole=True)
    runtime = device.runtime(Session(device="cpu"))
    fitted = fit.fit(fit.build(design, config, data, 0), data, config, runtime)
    assert fitted.margins is not None
    assert int(fitted.margins.isnan().sum()) == 50  # those held out
    order = fitted.margins.nan_to_num(torch.inf).argsort()
    seen = {*swapped.tolist()} - {*torch.nonzero(fitted.margins.isnan()).flatten().tolist()}
    found = {*order[:40].tolist()} & seen
    assert len(seen) >= 18
    assert len(found) >= 16
