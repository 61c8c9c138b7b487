"""Terms that read one source, computed together: on a GPU fewer and larger calls are faster.

A supernet's source is read by a separable convolution of each kernel on every edge that leaves it.
Those of one shape are one grouped convolution: the channels of the edges lie side by side.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from edarts.nn.kernels.compiled import eager, enabled
from edarts.nn.kernels.terms import FeatureMap, SeparableStage, Term

MOMENTS = ("running_mean", "running_var")


def worthwhile(x: Tensor) -> bool:
    """The rule: on a GPU, where each call costs a start."""
    return x.is_cuda and eager() and enabled()


def together(terms: Mapping[int, Term]) -> dict[int, Term]:
    """Of some terms, by number, those that can be computed together: computed, with no stages left.

    They have one source (B, C, H, W), depthwise convolutions of the same shapes, and norms that
    are alike and in training.
    """
    groups: dict[tuple[Any, ...], list[int]] = {}
    for number, term in terms.items():
        wide = all(stage.depthwise is not None for stage in term.stages)
        learning = all(norm.training and norm.momentum is not None for norm in term.norms())
        if term.stages and wide and learning:
            groups.setdefault(_shape(term), []).append(number)
    found: dict[int, Term] = {}
    for numbers in groups.values():
        if len(numbers) > 1:
            parts = _computed([terms[number] for number in numbers])
            found |= {n: Term(FeatureMap(part)) for n, part in zip(numbers, parts, strict=True)}
    return found


def _shape(term: Term) -> tuple[Any, ...]:
    """What terms must share to be computed together."""
    kinds = []
    for stage in term.stages:
        sizes = tuple(weight.shape for weight in stage.weights)
        kinds.append((sizes, stage.stride, stage.dilation, stage.norm is None))
    norms = [(norm.eps, norm.momentum, norm.affine) for norm in term.norms()]
    return (id(term.source), *kinds, *norms, term.norm is None)


def _computed(terms: Sequence[Term]) -> Sequence[Tensor]:
    """The value (B, D, H, W) of each of the terms, which are of one shape."""
    count = len(terms)
    y = terms[0].source.x
    for number, stages in enumerate(zip(*(term.stages for term in terms), strict=True)):
        first: SeparableStage = stages[0]
        if first.norm is not None:
            y = torch.relu(_normed(y, [stage.norm for stage in stages if stage.norm is not None]))
        elif number == 0:
            y = terms[0].source.relu.repeat(1, count, 1, 1)
        else:
            y = torch.relu(y)
        wide = torch.cat([stage.depthwise for stage in stages if stage.depthwise is not None])
        padding = first.dilation * (wide.shape[-1] - 1) // 2
        y = functional.conv2d(y, wide, None, first.stride, padding, first.dilation, len(wide))
        y = functional.conv2d(y, torch.cat([stage.pointwise for stage in stages]), groups=count)
    last = [term.norm for term in terms if term.norm is not None]
    return (_normed(y, last) if last else y).chunk(count, 1)


def _normed(y: Tensor, norms: Sequence[nn.BatchNorm2d]) -> Tensor:
    """The norms of channels that lie side by side, in one; each one's running moments move."""
    weight, bias = (_beside([getattr(norm, name) for norm in norms]) for name in ("weight", "bias"))
    mean, var = (_beside([getattr(norm, name) for norm in norms]) for name in MOMENTS)
    share = cast(float, norms[0].momentum)
    y = functional.batch_norm(y, mean, var, weight, bias, True, share, norms[0].eps)
    for name, moved in zip(MOMENTS, (mean, var), strict=True):
        if moved is not None:
            own: list[Tensor] = [getattr(norm, name) for norm in norms]
            torch._foreach_copy_(own, list(moved.chunk(len(own))))
    counters = [norm.num_batches_tracked for norm in norms]
    torch._foreach_add_([counter for counter in counters if counter is not None], 1)
    return y


def _beside(vectors: Sequence[Tensor | None]) -> Tensor | None:
    """One vector of all; None if they are None."""
    there = [vector for vector in vectors if vector is not None]
    return torch.cat(there) if there else None
