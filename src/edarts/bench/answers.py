"""`edarts bench answer`: what a trained network takes for one image on one thread."""

import logging
import statistics
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from edarts.bench.measure import machine
from edarts.bench.report import AnswerReport, AnswerRow
from edarts.errors import EdartsError, one_line
from edarts.nn.network import Network
from edarts.nn.planned import Planned
from edarts.runs.progress import Progress
from edarts.runs.seeds import seed_all
from edarts.space import zoo
from edarts.training.device import place

CELLS, CHANNELS, CLASSES, IMAGE = 5, 16, 10, (3, 32, 32)
STEMS = {"plain stem": False, "whitening stem": True}
AT_ONCE = 50  # images that a side answers before it is the other's turn

Answer = Callable[[], Any]


def bench_answers(rounds: int, progress: Progress) -> AnswerReport:
    """Median milliseconds of DARTS' second-order cells in the shallow size, each side in turn.

    Beside `Planned` stand the network itself, evaluated, and onnxruntime on its export. Raises
    EdartsError without the extra `export`, or if the answers differ.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        rows = []
        for name, whitening in STEMS.items():
            progress.say(f"bench: an image, {name}")
            rows.append(_row(name, whitening, rounds))
        return AnswerReport(machine(torch.device("cpu")), tuple(rows))
    finally:
        torch.set_num_threads(threads)


@torch.no_grad()
def _row(name: str, whitening: bool, rounds: int) -> AnswerRow:
    seed_all(0, "bench")
    network = Network(
        zoo.get("darts.v2").genotype,
        cells=CELLS, channels=CHANNELS, classes=CLASSES, image=IMAGE, whitening=whitening,
    ).eval()  # fmt: skip
    x = torch.randn(1, *IMAGE)
    theirs = exported(network, x)
    place(network, torch.device("cpu"))
    dense, fast = x.contiguous(memory_format=torch.channels_last), Planned(network)
    error = float((fast(dense) - torch.from_numpy(theirs()[0])).abs().max())
    if error > 1e-4:
        raise EdartsError(f"{name}: ours and onnxruntime's answers differ by {error:.0e}")
    sides = {"network": lambda: network(dense), "ours": lambda: fast(dense), "theirs": theirs}
    taken = in_turn(sides, rounds)
    return AnswerRow(
        name,
        network_ms=taken["network"],
        onnxruntime_ms=taken["theirs"],
        ours_ms=taken["ours"],
        ratio=round(taken["theirs"] / taken["ours"], 2),
        error=error,
    )


def exported(network: Network, x: Tensor) -> Callable[[], list[Any]]:
    """onnxruntime's answer to x, on one thread. Raises EdartsError without the extra."""
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  (torch.onnx needs it)
    except ImportError as error:
        raise EdartsError(
            "bench answer needs onnxscript and onnxruntime (in a clone:"
            f" pip install -c constraints.txt -e '.[export]'): {one_line(error)}"
        ) from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    before = logging.root.manager.disable
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        path = str(Path(folder, "network.onnx"))
        try:
            torch.onnx.export(network, (x,), path, dynamo=True, verbose=False)
            session = onnxruntime.InferenceSession(
                path, options, providers=["CPUExecutionProvider"]
            )
        finally:
            logging.disable(before)
    feed = {session.get_inputs()[0].name: x.numpy()}
    return lambda: list(session.run(None, feed))


def in_turn(sides: Mapping[str, Answer], rounds: int) -> dict[str, float]:
    """Median milliseconds of each side."""
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds + 1):
        for name, answer in sides.items():
            for _ in range(AT_ONCE):
                start = time.perf_counter()
                answer()
                taken[name].append(time.perf_counter() - start)
    return {
        name: round(1000 * statistics.median(some[AT_ONCE:]), 4) for name, some in taken.items()
    }
