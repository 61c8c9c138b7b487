"""What a GPU's steps gain by calls together and by replays: `python benchmarks/replays.py`.

Times steps of `edarts bench step` and `train`, or those named, on the GPU beside the textbook's: as
they would be without both, with terms that read one source computed together, with the passes
recorded as a CUDA graph, and with both, which is how they are. Prints a line of JSON for each:
median milliseconds, and the peak of the GPU's memory in MiB.
"""

import json
import statistics
import sys

import torch

from edarts.bench import comparisons
from edarts.bench.measure import seconds
from edarts.nn import cells
from edarts.nn.kernels import graphs
from edarts.training.device import open_device

NAMES = ("edarts_weight_step", "edarts_arch_step", "darts_weight_step", "darts_arch_step",
         "shallow_train_step", "full_train_step")  # fmt: skip
FIRST, ROUNDS = 6, 10  # steps before it is timed, of which the fourth is recorded; timed ones


def main(names: list[str]) -> None:
    """Print a line for each way of each comparison."""
    device, rules = open_device("cuda"), (cells.worthwhile, graphs.recordable)
    print(json.dumps({"gpu": torch.cuda.get_device_name(), "torch": torch.__version__}))
    for name in names or NAMES:
        comparison = comparisons.find(name)
        for way in ("textbook", "plain", "together", "replayed", "both"):
            together, replayed = way in ("together", "both"), way in ("replayed", "both")
            cells.worthwhile = rules[0] if together else lambda x: False  # type: ignore[assignment]
            graphs.recordable = rules[1] if replayed else lambda net, x: False  # type: ignore
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            pair = comparisons.make(comparison, device)
            step = pair.textbook if way == "textbook" else pair.ours
            taken = [seconds(step, device) for _ in range(FIRST + ROUNDS)][FIRST:]
            found = round(1000 * statistics.median(taken), 2)
            peak = round(torch.cuda.max_memory_allocated() / 2**20)
            row = {"what": name, "way": way, "ms": found, "mib": peak}
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
