"""`edarts bench profile`: operations and bytes counted by hand; a step is accounted for."""

import numpy as np
import pytest
import torch

from edarts import EdartsError
from edarts.bench import profile as profiling
from edarts.bench.pairs import Comparison
from edarts.bench.report import Roofs
from edarts.nn.kernels.compiled import load_loops
from edarts.runs.progress import Progress


def empty(*shape: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.empty(shape, np.float32)


def test_work_of_a_separable_stage() -> None:
    """2 images of 8 x 8, 4 channels in, 6 out, 3 x 3: 128 pixels with 36 + 24 multiply-adds."""
    shape, y, weights = (2, 8, 8, 4), empty(2, 8, 8, 6), (empty(4, 3, 3), empty(6, 4))
    call = (np.zeros(1), shape, None, *weights, 1, 1, y, None)
    assert profiling.work("separable", call) == (2 * 128 * 60, 4 * 128 * (4 + 6))
    grad, fresh = empty(2, 8, 8, 6), np.array([False])
    back = (*call[:8], grad, None, np.zeros(1), fresh, empty(4, 3, 3), empty(6, 4), None)
    flops, moved = profiling.work("separable_gradient", back)
    assert flops == 2 * 128 * (60 + 60 + 36)  # to the source, to the weights, computed again
    assert moved == 4 * 128 * (4 + 6 + 6 + 2 * 4)  # the source's gradient is read and written


def test_work_of_a_pass() -> None:
    out, addresses = empty(1280), np.zeros(3, np.int64)
    assert profiling.work("weighted_sum", (addresses, None, out, True)) == (0, 4 * 1280 * 4)
    assert profiling.work("weighted_sum", (addresses, None, out, False)) == (0, 4 * 1280 * 5)
    assert profiling.work("product_sums", (out, addresses, None, None, None)) == (0, 4 * 1280 * 4)
    x, y = empty(1, 4, 4, 8), empty(1, 2, 2, 8)
    assert profiling.work("max_pool", (x, 3, 2, y, y, True, True)) == (0, 4 * (128 + 32))


def test_a_step_is_accounted_for() -> None:
    comparison, loops = Comparison("tiny", "weight", 2, 4, 2), load_loops()
    plain, threads = loops.separable, torch.get_num_threads()
    found = profiling.profile(comparison, 2, torch.device("cpu"), Roofs(100.0, 10.0))
    assert loops.separable is plain
    names = [row.what for row in found.rows]
    assert {"separable", "separable_gradient", "operators of PyTorch"} <= {*names}
    assert 0.8 < found.known < 1.5  # the watched step is another one than the timed
    assert found.known == pytest.approx(
        sum(row.seconds for row in found.rows) / found.seconds, 0.05
    )
    assert all(row.calls > 0 for row in found.rows if row.roofline is not None)
    assert all((row.threads is None) == (row.roofline is None) for row in found.rows)
    assert all(row.threads is None or row.threads > 0.1 for row in found.rows)
    assert load_loops() is loops and torch.get_num_threads() == threads
    assert found.pages >= 0 and found.pages_seconds == pytest.approx(0, abs=found.seconds)
    assert found.summary().splitlines()[0].startswith("tiny: 0.")


def test_what_a_page_takes() -> None:
    assert 1e-8 < profiling.seconds_of_page() < 1e-3


def test_a_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiling, "open_device", lambda *_: torch.device("cuda"))
    with pytest.raises(EdartsError, match="it needs --device cpu"):
        profiling.bench_profile(1, "cuda", Progress())
