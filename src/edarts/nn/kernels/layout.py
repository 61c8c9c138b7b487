"""How tensors lie in memory: what the loops are handed, and a twin of torch.cat.

Autograd gives the parts of a concatenation views of its gradient, and every operation that meets
such a tensor then takes its slow path; `concat` gives gradients that stay channels-last and
contiguous.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edarts.nn.kernels.compiled import eager, load_loops, now

Floats = NDArray[np.float32]


class ConcatFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *parts: Tensor) -> Tensor:
        ctx.sizes = [part.shape[1] for part in parts]
        return torch.cat(parts, dim=1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, ...]:
        return tuple(
            part.contiguous(memory_format=torch.channels_last) for part in g.split(ctx.sizes, dim=1)
        )


def concat(parts: list[Tensor]) -> Tensor:
    """(B, C_i, H, W) each -> (B, sum of C_i, H, W)."""
    if now.plan is not None:
        return now.plan.join(parts)  # type: ignore[no-any-return]
    if torch.is_grad_enabled() and eager():
        return ConcatFunction.apply(*parts)  # type: ignore[no-any-return, no-untyped-call]
    return torch.cat(parts, dim=1)


def dense(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, H, W, C), contiguous; a view of channels-last memory."""
    return x.detach().permute(0, 2, 3, 1).contiguous()


def pixels(x: Tensor) -> int:
    """Rows of (N, H, W, C)."""
    return x.numel() // x.shape[-1]


def addresses(tensors: Sequence[Tensor]) -> NDArray[np.int64]:
    """Where contiguous tensors lie."""
    return np.array([x.data_ptr() for x in tensors], np.int64)


def empty(*shape: int) -> Tensor:
    """Memory for any numbers; that of a tape, if one is made, which holds it for the next pass."""
    return torch.empty(shape) if now.tape is None else now.tape.empty(*shape)


def flat(x: Tensor) -> Floats:
    """The numbers of a contiguous tensor, not copied."""
    return x.view(-1).numpy()


@cache
def no_norm(channels: int) -> Floats:
    """`loops.norm` of what changes nothing, (4, C); not to be written to."""
    return np.repeat(np.array([[0], [1], [1], [0]], np.float32), channels, axis=1)


def add_to(total: Tensor, more: Tensor, fresh: bool = False) -> None:
    """Add to (N, H, W, C), contiguous, in place; `fresh`: it has no numbers yet."""
    norms = no_norm(total.shape[-1])[None]
    load_loops().weighted_sum(addresses([more]), norms, flat(total), fresh)
