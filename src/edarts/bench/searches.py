"""A whole search: beside the textbook's, and how an epoch grows with its size."""

import statistics
import time
from collections.abc import Iterator
from typing import Any

import torch

from edarts.bench.comparisons import default_search, find
from edarts.bench.measure import alone
from edarts.bench.pairs import CIFAR, CLASSES
from edarts.bench.report import BenchRow, Scaling
from edarts.bench.rows import compare
from edarts.config import SearchConfig
from edarts.data.dataset import Dataset
from edarts.methods.oneshot import driver as oneshot
from edarts.runs.progress import Progress
from edarts.runtime import Runtime
from edarts.training.device import open_device

DARTS_STEPS = 50 * (CIFAR // 2 // 64)  # of both kinds: 50 epochs of half the images, batches of 64


def noise(images: int) -> Dataset:
    """Random images shaped like CIFAR-10's."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (images, 32, 32, 3), dtype=torch.uint8, generator=generator)
    return Dataset(pixels, torch.arange(images) % CLASSES, tuple(map(str, range(CLASSES))), "noise")


def epoch_seconds(images: int, device: torch.device, **changes: Any) -> float:
    """`measure_epoch` in a process of its own, as a search has one: without the textbook's heap."""
    return alone("edarts.bench.searches:measure_epoch", images, str(device), **changes)


def measure_epoch(images: int, device: str, **changes: Any) -> float:
    """Wall time of one epoch of the default eDARTS search with `changes`, everything included."""
    where, data = open_device(device), noise(images)
    config = SearchConfig(epochs=1, **changes)
    config, space, _ = oneshot.resolve_config(config, len(data), CLASSES)
    start = time.perf_counter()
    oneshot.one_shot(data, config, space, Runtime(where))
    return time.perf_counter() - start


def search_row(rounds: int, device: torch.device) -> BenchRow:
    """A default eDARTS search of CIFAR-10 beside DARTS' first-order search in textbook form.

    Ours: seconds of one epoch, the median of `rounds`, times its 50 epochs. The textbook's: medians
    of its steps times the 50 epochs of 390 steps of both kinds that DARTS takes.
    """
    weight, arch, ours = (
        compare(find(name), rounds, device)
        for name in ("darts_weight_step", "darts_arch_step", "edarts_weight_step")
    )
    theirs = DARTS_STEPS * (weight.textbook_s + arch.textbook_s)
    epochs = [epoch_seconds(CIFAR, device) for _ in range(rounds)]
    mine = default_search().epochs * statistics.median(epochs)
    textbook_mib = max(weight.textbook_mib, arch.textbook_mib)
    return BenchRow(
        what="edarts_search",
        textbook_s=round(theirs, 1),
        ours_s=round(mine, 1),
        time_ratio=round(theirs / mine, 1),
        textbook_mib=textbook_mib,
        ours_mib=ours.ours_mib,
        memory_ratio=round(textbook_mib / ours.ours_mib, 2),
        max_relative_error=max(row.max_relative_error for row in (weight, arch, ours)),
        rounding=max(row.rounding for row in (weight, arch, ours)),
        images_per_second=ours.images_per_second,
        gflops=ours.gflops,
    )


def scale(device: torch.device, progress: Progress) -> Iterator[Scaling]:
    """Seconds of a search epoch against images, cells, channels and threads; one changes at a time.

    The base is 6,000 images, all of them used, 5 cells, 16 channels.
    """
    base = 6_000
    threads = torch.get_num_threads()
    plans: list[tuple[str, int, dict[str, int]]] = [
        *(("images", images, {}) for images in (base // 2, base, 2 * base)),
        *(("cells", cells, {"cells": cells}) for cells in (5, 10, 20)),
        *(("channels", channels, {"channels": channels}) for channels in (8, 16, 32)),
        *(("threads", count, {}) for count in sorted({1, threads})),
    ]
    for name, value, changes in plans:
        progress.say(f"bench: {name} {value}")
        images = value if name == "images" else base
        torch.set_num_threads(value if name == "threads" else threads)
        taken = epoch_seconds(images, device, data_fraction=1.0, **changes)
        torch.set_num_threads(threads)
        yield Scaling(name, value, round(taken, 2))
