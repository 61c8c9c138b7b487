"""Measuring time and memory, and naming the machine.

Memory is measured in processes of their own, one for each side, and so is each epoch of a search.
"""

import platform
import statistics
import subprocess
import sys
import time
from dataclasses import asdict
from typing import Any

import torch

from edarts.bench.comparisons import make
from edarts.bench.pairs import Comparison, Step
from edarts.bench.report import Machine
from edarts.errors import EdartsError
from edarts.runs import memory
from edarts.runs.environment import processor
from edarts.training.device import open_device

WARM = 4  # steps after which all is compiled, and taped or recorded


def seconds(step: Step, device: torch.device) -> float:
    """Wall time of one step, until the device has done it."""
    start = time.perf_counter()
    step()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def peak(comparison: Comparison, side: str, device: torch.device) -> float:
    """MiB that a few steps of one side, `ours` or `textbook`, take at their peak.

    They are counted from what the process holds before the steps, network and batch included.
    """
    return alone("edarts.bench.measure:measure_peak", asdict(comparison), side, str(device))


def measure_peak(comparison: dict[str, Any], side: str, device: str) -> float:
    """The peak of a few steps in MiB; to be called in a process of its own."""
    where = open_device(device)
    pair = make(Comparison(**comparison), where)
    step = pair.ours if side == "ours" else pair.textbook
    if where.type == "cuda":
        torch.cuda.reset_peak_memory_stats(where)
        for _ in range(WARM + 1):
            step()
        return torch.cuda.max_memory_allocated(where) / 2**20
    memory.reset_peak()
    before = memory.mib("VmRSS")
    for _ in range(WARM + 1):
        step()
    return memory.mib("VmHWM") - before


def alone(function: str, *arguments: Any, **options: Any) -> float:
    """What a function, `module:name`, returns in a process of its own, on as many threads.

    Arguments are handed over as Python writes them. Raises EdartsError if the process fails.
    """
    code = (
        f"import torch; torch.set_num_threads({torch.get_num_threads()});"
        f" from edarts.registry import locate;"
        f" print(locate({function!r})(*{arguments!r}, **{options!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        raise EdartsError(f"{function}: measuring failed: {done.stderr.strip()[-200:]}")
    return float(done.stdout.split()[-1])


def matrix_product(device: torch.device) -> float:
    """GFLOP/s (two per multiply-add) of a 2048 x 2048 matrix product: what the machine can do."""
    a = torch.randn(2048, 2048, device=device)
    times = [seconds(lambda: a @ a, device) for _ in range(8)]
    return 2 * 2048**3 / statistics.median(times) / 1e9


def machine(device: torch.device) -> Machine:
    """The machine and the versions of this process; takes a moment for the matrix product."""
    import numba
    import numpy

    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor() or "unknown"
    return Machine(
        device=name,
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        numba=numba.__version__,
        numpy=numpy.__version__,
        python=platform.python_version(),
        matrix_product_gflops=round(matrix_product(device), 1),
    )
