"""The hub, by a stand-in: no test needs the network."""

import datasets
import pytest

from edarts import EdartsError, load
from support import table


def test_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = {"train": table(15), "test": table(6)}
    monkeypatch.setattr(datasets, "load_dataset", lambda name: hub)
    assert len(load("hf:someone/something")) == 15
    assert len(load("hf:someone/something", "test")) == 6

    def fail(name: str) -> None:
        raise ConnectionError(f"no route to\n{name}")

    monkeypatch.setattr(datasets, "load_dataset", fail)
    with pytest.raises(EdartsError, match="hf:a/b: cannot be loaded: no route to a/b"):
        load("hf:a/b")
