"""Fast CPU paths, each equal to its plain PyTorch twin; `compiled` has the rules that pick them."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from edarts.nn.kernels.compiled import eager, enabled, fast, few_pixels, load_loops, now
from edarts.nn.kernels.first import compile_beside
from edarts.nn.kernels.graphs import Recorder
from edarts.nn.kernels.layout import concat
from edarts.nn.kernels.nodes import NodeFunction
from edarts.nn.kernels.plans import Plan, Unplanned
from edarts.nn.kernels.pools import average_pool2d, global_mean, max_pool2d
from edarts.nn.kernels.tapes import Tapes, hooked
from edarts.nn.kernels.terms import FeatureMap, SeparableStage, Term
from edarts.nn.kernels.together import together, worthwhile

__all__ = [
    "FeatureMap",
    "Plan",
    "Recorder",
    "SeparableStage",
    "Tapes",
    "Term",
    "Unplanned",
    "average_pool2d",
    "concat",
    "eager",
    "enabled",
    "global_mean",
    "hooked",
    "max_pool2d",
    "node",
    "plain_node",
    "plain_term",
    "pointwise_conv2d",
    "together",
    "warm_up",
    "worthwhile",
]


def warm_up(say: Callable[[str], None] | None = None) -> None:
    """Load the compiled loops, before anything else is computed; compile them if they never were.

    Otherwise a run and its resumed half differ: the last bit of PyTorch's own results has been seen
    to change when Numba is first loaded (numba 0.68, torch 2.13). `say`: told about a compilation,
    and about threads that are slow for want of OpenMP.
    """
    if not enabled():
        return
    loops = load_loops(say)
    if _warm:
        return
    _warm.append(True)
    if not loops.prepare():
        if say is not None:
            say("compiling the fast loops for this machine, once: some seconds")
        compile_beside()
        loops.prepare()
    exercise()
    if say is not None and torch.get_num_threads() > 1 and loops.without_openmp():
        say(
            "the fast loops find no OpenMP and take up to twice the time; Debian and Ubuntu:"
            " apt-get install libgomp1, macOS: brew install libomp"
        )


def exercise() -> None:
    """Run all loops once, on next to nothing."""
    with torch.enable_grad():
        x = torch.ones(2, 1, 2, 2, requires_grad=True)
        wide, narrow = (torch.ones(1, 1, k, k, requires_grad=True) for k in (5, 1))
        norms = [nn.BatchNorm2d(channels) for channels in (1, 1, 1, 2)]
        stages = (SeparableStage(wide, narrow), SeparableStage(wide, narrow, norm=norms[0]))
        halving = (SeparableStage(None, narrow, shifted=narrow.clone()),)
        source = FeatureMap.shared(x)
        terms = [Term(source, stages, norms[1]), Term(source, norm=norms[2])]
        y = node(terms, [torch.ones((), requires_grad=True)] * 2)
        results = [
            node([Term(source, halving, norms[3])]),
            *(part.x for part in FeatureMap(y).halves),
            max_pool2d(y, 3, 1),
            average_pool2d(y, 3, 1),
            *FeatureMap(y).means(rectified=True),
        ]
        total = torch.stack([result.sum() for result in results]).sum()
        total.backward()


_warm: list[bool] = []  # whether the loops have run in this process


def node(terms: Sequence[Term], weights: Sequence[Tensor] | None = None) -> Tensor:
    """Sum over the terms of weight * norm(stages(x)): (B, C, H, W).

    `weights`: a scalar for each term; None: all one.
    """
    if weights is None and len(terms) == 1 and not terms[0].stages and terms[0].norm is None:
        return terms[0].source.x
    if now.plan is not None:
        return now.plan.node(terms, weights)  # type: ignore[no-any-return]
    if not _fast(terms):
        return plain_node(terms, weights)
    reads = [term.reads() for term in terms]
    pairs = [pair for read in reads for pair in zip(read.parts, read.sums, strict=True)]
    parts = {id(x): (x, total) for x, total in pairs}
    number = {key: place for place, key in enumerate(parts)}
    places = [[number[id(x)] for x in read.parts] for read in reads]
    sums = {number[key]: total for key, (_, total) in parts.items() if total is not None}
    begins = [term.stages[0].norm if term.stages else term.norm for term in terms]
    firsts = [
        None if norm is None else term.source.normed(norm)
        for term, norm in zip(terms, begins, strict=True)
    ]
    held = {id(p): p for term in terms for p in term.parameters()}
    vector = None
    if weights is not None:
        vector = (torch.stack if now.tape is None else now.tape.vector)(list(weights))
    bare = [term._replace(source=FeatureMap()) for term in terms]  # else its memory is kept twice
    tensors = [x for x, _ in parts.values()]
    return NodeFunction.apply(vector, bare, places, firsts, sums, *tensors, *held.values())  # type: ignore[no-any-return, no-untyped-call]


def _fast(terms: Sequence[Term]) -> bool:
    """The rule for nodes: in training, and more than one row to norm."""
    return (
        fast(*(x for t in terms for x in t.source.parts))
        and all(_pixels(t) > 1 for t in terms)
        and all(norm.training for t in terms for norm in t.norms())
    )


def _pixels(term: Term) -> int:
    """Rows of the term's result."""
    batch, _, height, width = term.source.parts[0].shape
    for stage in term.stages:
        stride = stage.stride if stage.shifted is None else 2
        height, width = -(-height // stride), -(-width // stride)
    return int(batch * height * width)


def plain_node(terms: Sequence[Term], weights: Sequence[Tensor] | None = None) -> Tensor:
    """What `node` computes, in plain PyTorch."""
    total: Tensor | None = None
    for index, term in enumerate(terms):
        y = plain_term(term)
        if weights is None:
            total = y if total is None else total + y
        else:
            total = weights[index] * y if total is None else torch.addcmul(total, weights[index], y)
    assert total is not None
    return total


def plain_term(term: Term) -> Tensor:
    """norm(stages(x)) in plain PyTorch."""
    if term.stages and term.stages[0].shifted is not None:
        return _plain_halving(term)
    y = term.source.x
    for number, stage in enumerate(term.stages):
        if stage.norm is not None:
            y = torch.relu(stage.norm(y))
        else:
            y = term.source.relu if number == 0 else torch.relu(y)
        if stage.depthwise is not None:
            wide, dilation = stage.depthwise, stage.dilation
            padding = dilation * (wide.shape[-1] - 1) // 2
            y = functional.conv2d(y, wide, None, stage.stride, padding, dilation, wide.shape[0])
        y = pointwise_conv2d(y, stage.pointwise)
    if term.norm is None:
        return y
    return term.norm(y) if term.stages else term.source.plain_normed(term.norm)


def _plain_halving(term: Term) -> Tensor:
    """`plain_term` of a term whose one stage is shifted."""
    (stage,) = term.stages
    assert stage.shifted is not None and stage.norm is None
    pairs = zip(term.source.halves, (stage.pointwise, stage.shifted), strict=True)
    y = concat([pointwise_conv2d(half.relu, weight) for half, weight in pairs])
    return y if term.norm is None else term.norm(y)


def pointwise_conv2d(x: Tensor, weight: Tensor) -> Tensor:
    """(B, C, H, W) and (D, C, 1, 1) -> (B, D, H, W): a 1 x 1 convolution.

    On few pixels it is computed as the matrix product that it is.
    """
    if few_pixels(x):
        return functional.linear(x.permute(0, 2, 3, 1), weight.flatten(1)).permute(0, 3, 1, 2)
    return functional.conv2d(x, weight)
