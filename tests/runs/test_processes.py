"""How many processes there are and which one writes, as torchrun tells."""

import pytest

from edarts.runs import processes


def test_one_process_is_the_main_one() -> None:
    assert (processes.world_size(), processes.rank(), processes.is_main()) == (1, 0, True)
    processes.barrier()  # waits for nobody


def test_torchrun_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("RANK", "2")
    assert (processes.world_size(), processes.rank(), processes.is_main()) == (4, 2, False)
