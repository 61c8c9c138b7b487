"""Architecture parameters under a softmax: what the differentiable methods share.

alpha is one (E, K) tensor for each kind of cell: E edges of the space, K operations.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from edarts.config import SearchConfig, given, parse_attention
from edarts.errors import UsageError
from edarts.genotype import KINDS, Edge, Genotype
from edarts.loop import accuracy, cross_entropy
from edarts.methods import Batch
from edarts.space import KEPT, Space
from edarts.supernet import Supernet

NOISE = 1e-3  # standard deviation of the first alphas (DARTS' code)


class Alphas:
    """alpha and its optimizer: Adam with betas (0.5, 0.999) and L2 decay (DARTS' code).

    `attention`: share of each operation in the first weights; alpha starts at its logarithm plus
    noise drawn from torch's generator. Raises UsageError unless the shares name the operations.
    """

    def __init__(
        self,
        space: Space,
        *,
        lr: float,
        weight_decay: float,
        attention: Mapping[str, float] | None = None,
        betas: tuple[float, float] = (0.5, 0.999),
    ) -> None:
        shares = dict.fromkeys(space.operations, 1.0) if attention is None else attention
        if set(shares) != set(space.operations):
            raise UsageError("attention and operations must name the same operations")
        start = torch.tensor([shares[name] for name in space.operations]).log()
        self.values: dict[str, Tensor] = {
            kind: (
                start + NOISE * torch.randn(len(space.topology(kind)), len(space.operations))
            ).requires_grad_()
            for kind in KINDS
        }
        self.optimizer = torch.optim.Adam(
            self.values.values(), lr=lr, betas=betas, weight_decay=weight_decay
        )

    @classmethod
    def of(cls, space: Space, config: SearchConfig, device: torch.device) -> "Alphas":
        """As a resolved `config` says, on `device`; drawn on the CPU, alike for every device."""
        alphas = cls(
            space,
            lr=given(config.arch_lr),
            weight_decay=given(config.arch_weight_decay),
            attention=parse_attention(config.attention),
        )
        for value in alphas.values.values():
            value.data = value.data.to(device)
        return alphas

    def softmax(self) -> dict[str, Tensor]:
        """(E, K) for each kind; rows sum to one. DARTS (Liu et al. 2019), eq. 2."""
        return {kind: value.softmax(dim=-1) for kind, value in self.values.items()}

    def gradient(self, loss: Tensor) -> tuple[Tensor, ...]:
        """d loss / d alpha for each kind; no gradient of any network weight is computed."""
        return torch.autograd.grad(
            loss, list(self.values.values()), allow_unused=True, materialize_grads=True
        )

    def step(self, gradients: tuple[Tensor, ...]) -> None:
        """One Adam step along these gradients; FloatingPointError if one is no number."""
        if not all(bool(gradient.isfinite().all()) for gradient in gradients):
            raise FloatingPointError("gradient of the architecture")
        for value, gradient in zip(self.values.values(), gradients, strict=True):
            value.grad = gradient
        self.optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        """Copies of alpha, and the optimizer's state."""
        values = {kind: value.detach().clone() for kind, value in self.values.items()}
        return {"values": values, "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        for kind, value in self.values.items():
            value.data.copy_(state["values"][kind])
        self.optimizer.load_state_dict(state["optimizer"])


def valid_loss(
    net: Supernet, weights: Mapping[str, Tensor], batch: Batch
) -> tuple[Tensor, dict[str, float]]:
    """The loss of a validation batch, and what an architecture step reports of it."""
    images, labels = batch
    logits = net(images, weights)
    loss = cross_entropy(logits, labels)
    return loss, {"valid_loss": loss.item(), "valid_accuracy": accuracy(logits, labels)}


def strongest(space: Space, weights: Mapping[str, Tensor]) -> Genotype:
    """DARTS' discretisation of (E, K) weights (Liu et al. 2019, section 2.4).

    Each edge is as strong as its strongest operation other than `none`; every node keeps its two
    strongest edges, each with that operation. On a fixed topology, where no node has more than
    two, this is the argmax of every edge.
    """
    columns = [space.operations.index(name) for name in space.searchable]
    edges: dict[str, list[Edge]] = {}
    for kind in KINDS:
        best, place = weights[kind].detach().cpu()[:, columns].max(dim=-1)
        topology = space.topology(kind)
        edges[kind] = [
            Edge(space.searchable[int(place[row])], *topology[row])
            for rows in space.incoming(kind).values()
            for row in sorted(rows, key=lambda r: -float(best[r]))[:KEPT]
        ]
    return space.genotype(edges)


def entropy(weights: Mapping[str, Tensor]) -> dict[str, float]:
    """Mean entropy of the rows for each kind, as a share of its maximum log K: 1 is undecided."""
    result = {}
    for kind, matrix in weights.items():
        share = matrix.detach() / matrix.detach().sum(dim=-1, keepdim=True).clamp_min(1e-12)
        bits = -(share * share.clamp_min(1e-12).log()).sum(dim=-1).mean()
        operations = matrix.shape[-1]
        full = torch.tensor(float(operations)).log().item() if operations > 1 else 1.0
        result[kind] = float(bits) / full
    return result
