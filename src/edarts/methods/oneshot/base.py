"""Architecture parameters under a softmax: what the differentiable methods share.

alpha is one (E, K) tensor for each kind of cell: E edges of the space, K operations.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from edarts.config import SearchConfig, given, parse_attention
from edarts.errors import UsageError
from edarts.methods.oneshot.registry_ import Batch, OneStage
from edarts.nn.supernet import Supernet
from edarts.space.darts import KEPT, Space
from edarts.space.genotype import INPUTS, KINDS, Edge, Genotype
from edarts.training import distributed
from edarts.training.optim import (
    accuracy,
    cross_entropy,
    frozen,
    gradients,
    left_gradients,
    usable,
)

NOISE = 1e-3  # standard deviation of the first alphas (DARTS' code)


class Alphas:
    """alpha and its optimizer: Adam with betas (0.5, 0.999) and L2 decay (DARTS' code).

    `attention`: share of each operation in the first weights; alpha starts at its logarithm plus
    normal noise of standard deviation `noise` around `mean`, drawn from torch's generator.
    `clip`: largest norm of the gradient. Raises UsageError unless the shares name the operations,
    and for a space of pairs, whose output only a whole cell defines.
    """

    def __init__(
        self,
        space: Space,
        *,
        lr: float,
        weight_decay: float,
        attention: Mapping[str, float] | None = None,
        betas: tuple[float, float] = (0.5, 0.999),
        mean: float = 0.0,
        noise: float = NOISE,
        clip: float = float("inf"),
    ) -> None:
        if space.pairs:
            raise UsageError(
                "topology 'enas' needs a method that draws whole cells: enas, random_ws"
            )
        shares = dict.fromkeys(space.operations, 1.0) if attention is None else attention
        if set(shares) != set(space.operations):
            raise UsageError("attention and operations must name the same operations")
        self.start = mean + torch.tensor([shares[name] for name in space.operations]).log()
        self.noise, self.clip = noise, clip
        self.values: dict[str, Tensor] = {
            kind: self._draw(len(space.topology(kind))).requires_grad_() for kind in KINDS
        }
        self.optimizer = torch.optim.Adam(
            self.values.values(), lr=lr, betas=betas, weight_decay=weight_decay
        )

    def _draw(self, edges: int) -> Tensor:
        """First values (edges, K), on the CPU."""
        return self.start + self.noise * torch.randn(edges, len(self.start))

    def redraw(self) -> None:
        """Begin again: new first values, and an optimizer that has forgotten the old ones."""
        for kind in KINDS:
            self.values[kind].data.copy_(self._draw(len(self.values[kind])))
        self.optimizer.state.clear()

    def add(self, name: str, value: Tensor) -> Tensor:
        """Give the optimizer one more parameter, which has a gradient from then on."""
        like = next(iter(self.values.values()))
        self.values[name] = value.to(like.device).requires_grad_()
        self.optimizer.param_groups[0]["params"].append(self.values[name])
        return self.values[name]

    @classmethod
    def of(
        cls, space: Space, config: SearchConfig, device: torch.device, **changes: Any
    ) -> "Alphas":
        """As a resolved `config` says, on `device`; drawn on the CPU, alike for every device.

        `changes`: further arguments of the constructor.
        """
        alphas = cls(
            space,
            lr=given(config.arch_lr),
            weight_decay=given(config.arch_weight_decay),
            attention=parse_attention(config.attention),
            **changes,
        )
        for value in alphas.values.values():
            value.data = value.data.to(device)
        return alphas

    def softmax(self) -> dict[str, Tensor]:
        """(E, K) for each kind; rows sum to one. DARTS (Liu et al. 2019), eq. 2."""
        return {kind: self.values[kind].softmax(dim=-1) for kind in KINDS}

    def gradient(self, loss: Tensor) -> tuple[Tensor, ...]:
        """d loss / d alpha for each kind; no gradient of any network weight is computed."""
        return gradients(loss, list(self.values.values()))

    def step(self, gradients: Sequence[Tensor]) -> None:
        """One Adam step along these gradients; FloatingPointError if one is NaN or infinite.

        Of many processes each brings its own; the step is along their mean. In fp16 a gradient that
        has overflowed skips the step.
        """
        means = distributed.average(gradients)
        if not usable(means):
            return
        for value, gradient in zip(self.values.values(), means, strict=True):
            value.grad = gradient
        if self.clip < float("inf"):
            torch.nn.utils.clip_grad_norm_(self.values.values(), self.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def state_dict(self) -> dict[str, Any]:
        """Copies of alpha, and the optimizer's state."""
        values = {kind: value.detach().clone() for kind, value in self.values.items()}
        return {"values": values, "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        for kind, value in self.values.items():
            value.data.copy_(state["values"][kind])
        self.optimizer.load_state_dict(state["optimizer"])


class FirstOrder(OneStage):
    """DARTS' search at the current weights (Liu et al. 2019, eq. 6 with xi = 0), one supernet.

    What a method that builds on it changes, it overrides.
    """

    def __init__(
        self, space: Space, config: SearchConfig, device: torch.device, **changes: Any
    ) -> None:
        """`changes`: see `Alphas.of`."""
        super().__init__(config)
        self.space = space
        self.alphas = Alphas.of(space, config, device, **changes)

    def weights(self, training: bool) -> dict[str, Tensor]:
        """softmax(alpha), in training and out of it."""
        return self.alphas.softmax()

    def penalty(self, net: Supernet, weights: Mapping[str, Tensor]) -> Tensor | float:
        """What the architecture's loss has beside the cross entropy."""
        return 0.0

    def arch_step(
        self,
        net: Supernet,
        train_batch: Batch,
        valid_batch: Batch,
        weight_optimizer: torch.optim.Optimizer,
    ) -> dict[str, float]:
        """Adam on the validation loss at the current weights."""
        weights = self.weights(training=True)
        with frozen(net):
            loss, metrics = valid_loss(net, weights, valid_batch)
        self.alphas.step(self.alphas.gradient(loss + self.penalty(net, weights)))
        return metrics

    def joint_step(self) -> None:
        """Adam along the gradients that a loss of the weights' step has left."""
        self.alphas.step(left_gradients([*self.alphas.values.values()]))

    def genotype(self) -> Genotype:
        """Two strongest edges into each node, strongest operation on each."""
        return strongest(self.space, self.weights(training=False))

    def state_dict(self) -> dict[str, Any]:
        return self.alphas.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.alphas.load_state_dict(state)


def gumbel(shape: torch.Size) -> Tensor:
    """Standard Gumbel noise -log(-log U), drawn on the CPU, alike for every device."""
    return -torch.empty(shape).exponential_().log()


def valid_loss(
    net: Supernet,
    weights: Mapping[str, Tensor],
    batch: Batch,
    wanted: Mapping[str, Tensor] | None = None,
) -> tuple[Tensor, dict[str, float]]:
    """The loss of a validation batch, and what an architecture step reports of it."""
    images, labels = batch
    logits = net(images, weights) if wanted is None else net(images, weights, wanted)
    loss = cross_entropy(logits, labels)
    found = {"valid_loss": loss.item(), "valid_accuracy": accuracy(logits, labels)}
    return loss, distributed.average_values(found)


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


def weights_of(space: Space, genotype: Genotype, device: torch.device) -> dict[str, Tensor]:
    """(E, K) for each kind: how often `genotype`, which the space holds, has each candidate.

    With them the supernet computes that genotype.
    """
    weights = {}
    for kind in KINDS:
        topology = space.topology(kind)
        weights[kind] = torch.zeros(len(topology), len(space.operations))
        for operation, *pair in genotype.edges(kind):
            weights[kind][topology.index(tuple(pair)), space.operations.index(operation)] += 1
    return {kind: w.to(device) for kind, w in weights.items()}


def connected(space: Space, edges: Mapping[str, Sequence[Edge]], otherwise: Genotype) -> Genotype:
    """The genotype of those `edges` that come from an input or from a node that has edges.

    A kind of cell of which nothing is left is that of `otherwise`.
    """
    result = {}
    for kind in KINDS:
        reached, kept = set(range(INPUTS)), []
        for edge in sorted(edges[kind], key=lambda e: e.node):
            if edge.source in reached:
                kept.append(edge)
                reached.add(edge.node)
        result[kind] = kept or otherwise.edges(kind)
    return space.genotype(result)


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
