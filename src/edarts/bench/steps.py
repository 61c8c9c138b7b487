"""`edarts bench`: this project's steps against the textbook's, timed in turn in one process.

The textbook formulation lies in benchmarks/textbook.py of the repository. Both sides get the same
weights and the same batch; logits and gradients must agree before anything is timed: to 1e-4, where
float32 allows it. In deep networks it does not: ReLUs and max pools that rounding decides part the
textbook from its own float64 by more. There ours must be no farther from that float64 than ten
times. A mistake shows on any images, a rounding that decides only on some: one of a few draws has
to agree. Memory is measured in processes of its own, one for each side, and so is each epoch of a
search.
"""

import copy
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from edarts.bench import textbook
from edarts.config import SearchConfig, given
from edarts.data.dataset import Dataset
from edarts.errors import EdartsError, unknown
from edarts.methods.oneshot import driver as oneshot
from edarts.methods.oneshot.base import Alphas
from edarts.methods.oneshot.darts import second_order
from edarts.nn.cells import Cell
from edarts.nn.network import Network
from edarts.nn.operations import count_flops
from edarts.nn.supernet import Supernet
from edarts.runs import memory
from edarts.runs.environment import processor
from edarts.runs.progress import Progress
from edarts.seeds import seed_all
from edarts.space import zoo
from edarts.space.darts import Space
from edarts.space.genotype import KINDS
from edarts.training.device import open_device, place
from edarts.training.optim import cross_entropy, descend, frozen, sgd

CLASSES = 10
CIFAR = 50_000  # training images of CIFAR-10
TOLERANCE = 1e-4  # relative, of logits and gradients in float32
CHECKED = 8  # images that both sides are compared on
DRAWS = 4  # of so many images, until they agree
ROUNDING = 10  # times the textbook's own distance from float64

Step = Callable[[], object]
Triple = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Row:
    """One comparison: medians of seconds per step, what a step takes at its peak in MiB, ratios.

    `max_relative_error`: ours to the textbook's; `rounding`: the textbook's to its own float64.
    `images_per_second` and `gflops` (two per multiply-add of convolutions and linear layers) are
    ours.
    """

    what: str
    textbook_s: float
    ours_s: float
    time_ratio: float
    textbook_mib: float
    ours_mib: float
    memory_ratio: float
    max_relative_error: float
    rounding: float
    images_per_second: float
    gflops: float


@dataclass
class Pair:
    """Both sides of a comparison: what to time, and what must agree.

    `agree(images)`, a slice of the batch -> triples of tensors (ours, textbook's, textbook's in
    float64). `flops` of one step, two per multiply-add.
    """

    ours: Step
    textbook: Step
    agree: Callable[[slice], list[Triple]]
    batch: int
    flops: int


# -- the same weights on both sides ---------------------------------------------------------------


def pair_parameters(ours: nn.Module, book: nn.Module) -> list[tuple[nn.Parameter, nn.Parameter]]:
    """Give the textbook's supernet or network our weights; pairs of (our, its) parameters.

    A supernet's edges are read row by row of the weights; `none` has no parameters.
    """
    pairs: list[Any] = [(ours.stem, book.stem), (ours.classifier, book.classifier)]
    for mine, its in zip(ours.cells, book.cells, strict=True):  # type: ignore[arg-type]
        assert isinstance(mine, Cell)
        pairs += [(mine.preprocess[0], its.pre0), (mine.preprocess[1], its.pre1)]
        flat = [
            op for edge in its.edges for op in (edge if isinstance(edge, nn.ModuleList) else [edge])
        ]
        for slot, operation in zip(mine.slots, flat, strict=True):
            if slot is not None:
                pairs.append((mine.operations[slot], operation))
    if hasattr(book, "auxiliary"):
        pairs.append((ours.auxiliary, book.auxiliary))
    found = []
    for one, other in pairs:
        leaves = [_leaves(module) for module in (one, other)]
        for a, b in zip(*leaves, strict=True):
            b.load_state_dict(a.state_dict())
            found += list(zip(a.parameters(), b.parameters(), strict=True))
    if len(found) != len(list(book.parameters())):
        raise AssertionError("the two sides differ in their parameters")
    return found


def _leaves(module: nn.Module) -> list[nn.Module]:
    """Modules with parameters of their own, in the order both sides build them."""
    return [m for m in module.modules() if any(True for _ in m.parameters(recurse=False))]


# -- what is compared -----------------------------------------------------------------------------


def supernet_pair(
    kind: str, space: Space, cells: int, channels: int, batch: int, where: torch.device
) -> Pair:
    """`kind`: weight, arch or second_order."""
    book = textbook
    seed_all(0, "bench")
    net = Supernet(space, cells=cells, channels=channels, classes=CLASSES)
    rows = {k: space.topology(k) for k in KINDS}
    plain = book.TextbookSupernet(space.operations, rows, cells, channels, CLASSES)
    parameters = pair_parameters(net, plain)
    place(net, where)
    plain.to(where)
    images = [torch.randn(batch, 3, 32, 32, device=where) for _ in range(2)]
    labels = [torch.randint(CLASSES, (batch,), device=where) for _ in range(2)]
    dense = [x.contiguous(memory_format=torch.channels_last) for x in images]
    config, _, _ = oneshot.resolve_config(
        SearchConfig(method="darts", operations=",".join(space.operations)), CIFAR, CLASSES
    )
    alphas = Alphas.of(space, config, where)
    their_alphas = {k: v.detach().clone().requires_grad_() for k, v in alphas.values.items()}
    optimizer = sgd(net, 0.025, 0.9, 3e-4)
    theirs = book.TextbookSearch(plain, their_alphas)

    def weight_step() -> None:
        fixed = {k: v.detach() for k, v in alphas.softmax().items()}
        descend(cross_entropy(net(dense[0], fixed), labels[0]), optimizer, 5.0, "bench")

    def arch_step() -> None:
        with frozen(net):
            loss = cross_entropy(net(dense[0], alphas.softmax()), labels[0])
        alphas.step(alphas.gradient(loss))

    def second_order_step() -> None:
        batches = list(zip(dense, labels, strict=True))
        gradient, _ = second_order(net, alphas, batches[1], batches[0], optimizer)
        alphas.step(gradient)

    def agree(part: slice) -> list[Triple]:
        exact = copy.deepcopy(plain).double()
        exact_alphas = {k: v.detach().double().requires_grad_() for k, v in their_alphas.items()}
        sides = (
            (net, alphas.values, dense[0], [a for a, _ in parameters]),
            (plain, their_alphas, images[0], [b for _, b in parameters]),
            (exact, exact_alphas, images[0].double(), _like(exact, plain, parameters)),
        )
        found: list[list[Tensor]] = [[], [], []]
        for side, values, x, leaves in sides:
            logits = side(x[part], {k: v.softmax(-1) for k, v in values.items()})
            loss = cross_entropy(logits, labels[0][part])
            gradients = torch.autograd.grad(loss, [*leaves, *values.values()])
            split = len(leaves)
            for held, tensor in zip(
                found, (logits, _join(gradients[:split]), _join(gradients[split:])), strict=True
            ):
                held.append(tensor)
        return [(a, b, c) for a, b, c in found]

    fixed = {k: v.detach() for k, v in alphas.softmax().items()}
    forward = 2 * batch * count_flops(net, net.image, fixed)
    both = (images[0], labels[0], images[1], labels[1])
    # Passes over the network: forward, back to the inputs, back to the weights.
    steps: dict[str, tuple[Step, Step, int]] = {
        "weight": (weight_step, lambda: theirs.weight_step(*both[:2]), 3),
        "arch": (arch_step, lambda: theirs.arch_step(*both[:2]), 2),
        "second_order": (second_order_step, lambda: theirs.second_order_step(*both), 3 + 3 + 2 + 2),
    }
    ours, its, passes = steps[kind]
    return Pair(ours, its, agree, batch, passes * forward)


def network_pair(
    cells: int, channels: int, batch: int, auxiliary: bool, where: torch.device
) -> Pair:
    """A training step of DARTS_V2's network."""
    book = textbook
    genotype = zoo.get("darts.v2").genotype
    seed_all(0, "bench")
    net = Network(genotype, cells=cells, channels=channels, classes=CLASSES, auxiliary=auxiliary)
    edges = {k: genotype.edges(k) for k in KINDS}
    concat = {k: genotype.concat(k) for k in KINDS}
    plain = book.TextbookNetwork(edges, concat, cells, channels, CLASSES, auxiliary)
    parameters = pair_parameters(net, plain)
    place(net, where)
    plain.to(where)
    images = torch.randn(batch, 3, 32, 32, device=where)
    labels = torch.randint(CLASSES, (batch,), device=where)
    dense = images.contiguous(memory_format=torch.channels_last)
    optimizer = sgd(net, 0.025, 0.9, 3e-4)
    theirs = book.TextbookTraining(plain, 0.025)

    def ours(x: Tensor) -> list[Tensor]:
        return list(net(x, auxiliary=True)) if auxiliary else [net(x)]

    def loss(outputs: list[Tensor], target: Tensor) -> Tensor:
        first, *second = (cross_entropy(logits, target) for logits in outputs)
        return first + 0.4 * second[0] if second else first

    def agree(part: slice) -> list[Triple]:
        exact = copy.deepcopy(plain).double()
        found: list[list[Tensor]] = [[], []]
        for side, x, leaves in (
            (ours, dense, [a for a, _ in parameters]),
            (plain, images, [b for _, b in parameters]),
            (exact, images.double(), _like(exact, plain, parameters)),
        ):
            outputs = side(x[part])
            gradients = torch.autograd.grad(loss(outputs, labels[part]), leaves)
            found[0].append(outputs[0])
            found[1].append(_join(gradients))
        return [(a, b, c) for a, b, c in found]

    return Pair(
        lambda: descend(loss(ours(dense), labels), optimizer, 5.0, "bench"),
        lambda: theirs.step(images, labels),
        agree,
        batch,
        3 * 2 * batch * count_flops(net, net.image, auxiliary),
    )


def _like(
    copied: nn.Module, original: nn.Module, parameters: list[tuple[nn.Parameter, nn.Parameter]]
) -> list[nn.Parameter]:
    """The parameters of a copy, in the order of the pairs' second ones."""
    place = {id(p): q for p, q in zip(original.parameters(), copied.parameters(), strict=True)}
    return [place[id(b)] for _, b in parameters]


def _join(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([t.flatten() for t in tensors])


def _edarts_space() -> tuple[Space, SearchConfig]:
    config, space, _ = oneshot.resolve_config(SearchConfig(), CIFAR, CLASSES)
    return space, config


def make(what: str, where: torch.device) -> Pair:
    """The comparison called `what`; raises UsageError with the nearest names."""
    if what.startswith("darts_"):
        kind = what.removeprefix("darts_").removesuffix("_step")
        return supernet_pair(kind, Space(), 8, 16, 64, where)
    if what.startswith("edarts_"):
        space, config = _edarts_space()
        kind = what.removeprefix("edarts_").removesuffix("_step")
        cells, channels, batch = (
            given(getattr(config, n)) for n in ("cells", "channels", "batch_size")
        )
        return supernet_pair(kind, space, cells, channels, batch, where)
    if what == "shallow_train_step":
        return network_pair(5, 16, 128, False, where)
    if what == "full_train_step":
        return network_pair(20, 36, 16, True, where)
    raise unknown("comparison", what, [w for group in GROUPS.values() for w in group])


GROUPS: dict[str, tuple[str, ...]] = {
    "step": (
        "darts_weight_step",
        "darts_arch_step",
        "darts_second_order_step",
        "edarts_weight_step",
        "edarts_arch_step",
    ),
    "train": ("shallow_train_step", "full_train_step"),
}


def bench(group: str, rounds: int, device: str, progress: Progress) -> dict[str, Any]:
    """Run a group of comparisons: step, train or search. Returns `rows`, `scaling`, `machine`."""
    where = open_device(device)
    rows = []
    scaling: list[dict[str, Any]] = []
    if group == "search":
        progress.say("bench: one epoch of the default search, on noise shaped like CIFAR-10")
        scaling = list(scale(where, progress))
        rows = [search_row(rounds, where)]
    for what in GROUPS.get(group, ()):
        progress.say(f"bench: {what}")
        rows.append(compare(what, rounds, where))
    return {"rows": [asdict(row) for row in rows], "scaling": scaling, "machine": machine(where)}


# -- a whole search -------------------------------------------------------------------------------


def noise(images: int) -> Dataset:
    """Random images shaped like CIFAR-10's."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (images, 32, 32, 3), dtype=torch.uint8, generator=generator)
    return Dataset(pixels, torch.arange(images) % CLASSES, tuple(map(str, range(CLASSES))), "noise")


def epoch_seconds(images: int, where: torch.device, **changes: Any) -> float:
    """`measure_epoch` in a process of its own, as a search has one: without the textbook's heap."""
    return alone(f"measure_epoch({images}, {str(where)!r}, **{changes!r})")


def measure_epoch(images: int, device: str, **changes: Any) -> float:
    """Wall time of one epoch of the default eDARTS search with `changes`, everything included."""
    where, data = open_device(device), noise(images)
    config = SearchConfig(epochs=1, **changes)
    config, space, _ = oneshot.resolve_config(config, len(data), CLASSES)
    start = time.perf_counter()
    oneshot.one_shot(data, config, space, device=str(where))
    return time.perf_counter() - start


def search_row(rounds: int, where: torch.device) -> Row:
    """A default eDARTS search of CIFAR-10 beside DARTS' first-order search in textbook form.

    Ours: seconds of one epoch, the median of `rounds`, times its 50 epochs. The textbook's: medians
    of its steps times the 50 epochs of 390 steps of both kinds that DARTS takes.
    """
    weight, arch = (compare(f"darts_{kind}_step", rounds, where) for kind in ("weight", "arch"))
    ours = compare("edarts_weight_step", rounds, where)
    steps = 50 * (CIFAR // 2 // 64)
    theirs = steps * (weight.textbook_s + arch.textbook_s)
    _, default = _edarts_space()
    epochs = [epoch_seconds(CIFAR, where) for _ in range(rounds)]
    mine = given(default.epochs) * statistics.median(epochs)
    peak_theirs = max(weight.textbook_mib, arch.textbook_mib)
    return Row(
        "edarts_search",
        round(theirs, 1),
        round(mine, 1),
        round(theirs / mine, 1),
        peak_theirs,
        ours.ours_mib,
        round(peak_theirs / ours.ours_mib, 2),
        max(row.max_relative_error for row in (weight, arch, ours)),
        max(row.rounding for row in (weight, arch, ours)),
        ours.images_per_second,
        ours.gflops,
    )


def scale(where: torch.device, progress: Progress) -> Iterator[dict[str, Any]]:
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
        taken = epoch_seconds(images, where, data_fraction=1.0, **changes)
        torch.set_num_threads(threads)
        yield {"what": name, "value": value, "epoch_s": round(taken, 2)}


# -- measuring ------------------------------------------------------------------------------------


def compare(what: str, rounds: int, where: torch.device) -> Row:
    """Check that both sides agree, then time them in turn: A B A B ..., medians of `rounds`.

    Raises EdartsError if they do not agree.
    """
    pair = make(what, where)
    error, rounding = disagreement(what, pair)
    pair.ours()  # the first step compiles, and fills the optimizer's state
    pair.textbook()
    times: dict[str, list[float]] = {"textbook": [], "ours": []}
    for _ in range(rounds):
        times["textbook"].append(seconds(pair.textbook, where))
        times["ours"].append(seconds(pair.ours, where))
    theirs, mine = (statistics.median(times[side]) for side in ("textbook", "ours"))
    peaks = [peak(what, side, where) for side in ("textbook", "ours")]
    return Row(
        what,
        round(theirs, 5),
        round(mine, 5),
        round(theirs / mine, 2),
        round(peaks[0], 1),
        round(peaks[1], 1),
        round(peaks[0] / max(peaks[1], 1e-9), 2),
        float(f"{error:.2e}"),
        float(f"{rounding:.2e}"),
        round(pair.batch / mine, 1),
        round(pair.flops / mine / 1e9, 1),
    )


def disagreement(what: str, pair: Pair) -> tuple[float, float]:
    """Largest relative difference of the two sides, and of the textbook to its own float64.

    Raises EdartsError if on every draw the first is neither below the tolerance nor rounding.
    """
    least = float("inf")
    for start in range(0, min(DRAWS * CHECKED, pair.batch), CHECKED):
        triples = pair.agree(slice(start, start + CHECKED))
        errors = [relative_error(ours, book) for ours, book, _ in triples]
        roundings = [relative_error(book, exact) for _, book, exact in triples]
        if all(
            error <= TOLERANCE or relative_error(ours, exact) <= ROUNDING * rounding
            for (ours, _, exact), error, rounding in zip(triples, errors, roundings, strict=True)
        ):
            return max(errors), max(roundings)
        least = min(least, max(errors))
    raise EdartsError(f"{what}: the two sides differ by {least:.1e}, more than {TOLERANCE:g}")


def relative_error(ours: Tensor, textbook: Tensor) -> float:
    """Norm of the difference over the norm of the textbook's."""
    difference, size = (ours - textbook).detach().norm(), textbook.detach().norm()
    return float(difference / size.clamp_min(1e-30))


def seconds(step: Step, where: torch.device) -> float:
    """Wall time of one step."""
    start = time.perf_counter()
    step()
    if where.type == "cuda":
        torch.cuda.synchronize(where)
    return time.perf_counter() - start


def peak(what: str, side: str, where: torch.device) -> float:
    """MiB that two steps of one side take at their peak, above what the idle process holds."""
    return alone(f"measure_peak({what!r}, {side!r}, {str(where)!r})")


def alone(call: str) -> float:
    """What a function of this module returns in a process of its own, on as many threads.

    Raises EdartsError.
    """
    code = (
        f"import torch; torch.set_num_threads({torch.get_num_threads()});"
        f" from edarts import bench; print(bench.{call})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        raise EdartsError(f"{call}: measuring failed: {done.stderr.strip()[-200:]}")
    return float(done.stdout.split()[-1])


def measure_peak(what: str, side: str, device: str) -> float:
    """The peak of two steps in MiB; to be called in a process of its own."""
    where = open_device(device)
    pair = make(what, where)
    step = pair.ours if side == "ours" else pair.textbook
    if where.type == "cuda":
        torch.cuda.reset_peak_memory_stats(where)
        step()
        step()
        return torch.cuda.max_memory_allocated(where) / 2**20
    memory.reset_peak()
    before = memory.mib("VmRSS")
    step()
    step()
    return memory.mib("VmHWM") - before


def matrix_product(where: torch.device) -> float:
    """GFLOP/s (two per multiply-add) of a 2048 x 2048 matrix product: what the machine can do."""
    a = torch.randn(2048, 2048, device=where)
    times = [seconds(lambda: a @ a, where) for _ in range(8)]
    return 2 * 2048**3 / statistics.median(times) / 1e9


def machine(where: torch.device) -> dict[str, Any]:
    """What the figures were taken on."""
    import numba
    import numpy

    name = torch.cuda.get_device_name(where) if where.type == "cuda" else processor() or "unknown"
    return {
        "device": name,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "numba": numba.__version__,
        "numpy": numpy.__version__,
        "python": platform.python_version(),
        "matrix_product_gflops": round(matrix_product(where), 1),
    }
