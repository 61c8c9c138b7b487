"""A decoded split: subsets that copy no image, looked at in parts, sent without the others."""

import pickle

import pytest
import torch

from edarts.data import dataset
from edarts.data.dataset import Dataset


@pytest.fixture
def data() -> Dataset:
    """Images of 5 x 4 in two channels, all different."""
    pixels = torch.randint(0, 256, (40, 5, 4, 2), generator=torch.Generator().manual_seed(0))
    return Dataset(pixels.byte(), torch.arange(40) % 3, ("a", "b", "c"))


def test_a_subset_copies_no_image(data: Dataset) -> None:
    index = torch.tensor([7, 3, 30, 31, 9])
    some = data.subset(index)
    assert some.pixels is data.pixels and data.images is data.pixels
    assert some.shape == data.shape == (2, 5, 4)
    assert len(some) == 5 and torch.equal(some.labels, index % 3)
    assert torch.equal(some.images, data.pixels[index])
    fewer = some.subset(torch.tensor([4, 0]))
    assert fewer.pixels is data.pixels
    assert torch.equal(fewer.images, data.pixels[[9, 7]]) and fewer.labels.tolist() == [0, 1]
    assert torch.equal(some.at(torch.tensor([2, 2])), data.pixels[[30, 30]])
    assert torch.equal(data.at(torch.tensor([2, 5])), data.pixels[[2, 5]])


@pytest.mark.parametrize("size", [1, 4, 100, None])
def test_chunks_are_all_images_in_order(size: int | None, data: Dataset) -> None:
    for one in (data, data.subset(torch.randperm(40)[:21])):
        chunks = list(one.chunks(size))
        assert torch.equal(torch.cat(chunks), one.images)
        assert max(map(len, chunks)) <= (size or 40)


def test_statistics_are_those_of_all_whatever_is_looked_at_together(
    data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = data.subset(torch.arange(5, 38))
    whole = Dataset(some.images, some.labels, some.classes).statistics()
    monkeypatch.setattr(dataset, "AT_ONCE", 100)
    assert len(list(some.chunks())) == 17
    assert some.statistics() == whole
    assert whole[0] == pytest.approx((some.images.double() / 255).mean(dim=(0, 1, 2)).tolist())


def test_on_another_device_lie_no_other_images(data: Dataset) -> None:
    assert data.to(torch.device("cpu")) is data
    some = data.subset(torch.arange(6)).to(torch.device("meta"))
    assert some.pixels.device.type == some.labels.device.type == "meta"
    assert some.pixels.shape == (6, 5, 4, 2) and some.rows is None


def test_to_another_process_go_no_other_images(data: Dataset) -> None:
    some = data.subset(torch.tensor([11, 2]))
    some.statistics()
    sent = pickle.loads(pickle.dumps(some))
    assert sent.pixels.shape == (2, 5, 4, 2) and torch.equal(sent.images, some.images)
    assert torch.equal(sent.labels, some.labels) and sent.statistics() == some.statistics()
    assert (sent.classes, sent.name, sent.shape) == (some.classes, some.name, some.shape)
