"""Architecture parameters under a softmax: what the differentiable methods share.

alpha is one (E, K) tensor for each group of the space: E edges, K operations.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from edarts.config import SearchConfig, parse_attention
from edarts.errors import UsageError
from edarts.methods.oneshot.base import Batch, OneShot, Weights
from edarts.methods.oneshot.derive import strongest
from edarts.space.base import Architecture, SearchSpace
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
    `clip`: largest norm of the gradient. `by_edge`: whether each edge has an optimizer state of its
    own, which stands still in a step that the edge does not learn from. Values are drawn on the
    CPU, alike for every device, and kept on `device`. Raises UsageError unless the shares name the
    operations, and for a space that is not `relaxable`, whose output only a whole cell defines.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        lr: float,
        weight_decay: float,
        attention: Mapping[str, float] | None = None,
        betas: tuple[float, float] = (0.5, 0.999),
        mean: float = 0.0,
        noise: float = NOISE,
        clip: float = float("inf"),
        by_edge: bool = False,
        device: torch.device | None = None,
    ) -> None:
        if not space.relaxable:
            raise UsageError(
                f"{type(space).__name__} defines whole cells only: it needs a method that draws"
                " them, enas or random_ws"
            )
        self.start: Weights = {}
        for group in space.groups:
            names = space.candidates(group)
            shares = dict.fromkeys(names, 1.0) if attention is None else attention
            if set(shares) != set(names):
                raise UsageError("attention and operations must name the same operations")
            self.start[group] = mean + torch.tensor([shares[name] for name in names]).log()
        self.groups, self.noise, self.clip = space.groups, noise, clip
        self.edges = {group: space.shape(group)[0] for group in space.groups}
        self.values: Weights = {
            group: self._draw(group).to(device).requires_grad_() for group in space.groups
        }
        learned = [*self.values.values()]
        if by_edge:  # rows that share the memory of the values
            learned = [row.requires_grad_() for value in learned for row in value.detach()]
        self.by_edge = by_edge
        self.optimizer = torch.optim.Adam(learned, lr=lr, betas=betas, weight_decay=weight_decay)

    def _draw(self, group: str) -> Tensor:
        """First values (E, K), on the CPU."""
        start = self.start[group]
        return start + self.noise * torch.randn(self.edges[group], len(start))

    def redraw(self) -> None:
        """Begin again: new first values, and an optimizer that has forgotten the old ones."""
        for group in self.groups:
            self.values[group].data.copy_(self._draw(group))
        self.optimizer.state.clear()

    def add(self, name: str, value: Tensor) -> Tensor:
        """Give the optimizer one more parameter, which has a gradient from then on."""
        like = next(iter(self.values.values()))
        self.values[name] = value.to(like.device).requires_grad_()
        self.optimizer.param_groups[0]["params"].append(self.values[name])
        return self.values[name]

    @classmethod
    def of(
        cls, space: SearchSpace, config: SearchConfig, device: torch.device, **changes: Any
    ) -> "Alphas":
        """As a resolved `config` says, on `device`; drawn on the CPU, alike for every device.

        `changes`: further arguments of the constructor.
        """
        return cls(
            space,
            lr=config.arch_lr,
            weight_decay=config.arch_weight_decay,
            attention=parse_attention(config.attention),
            device=device,
            **changes,
        )

    def softmax(self) -> Weights:
        """(E, K) for each group; rows sum to one. DARTS (Liu et al. 2019), eq. 2."""
        return {group: self.values[group].softmax(dim=-1) for group in self.groups}

    def gradient(self, loss: Tensor) -> tuple[Tensor, ...]:
        """d loss / d alpha for each group; no gradient of any network weight is computed."""
        return gradients(loss, list(self.values.values()))

    def step(self, gradients: Sequence[Tensor], learns: Sequence[Tensor] = ()) -> None:
        """One Adam step along these gradients; FloatingPointError if one is NaN or infinite.

        `learns`: (E,) mask for each group of the edges that learn, where there is a state for each.
        Of many processes each brings its own; the step is along their mean. In fp16 a gradient that
        has overflowed skips the step.
        """
        means = distributed.average(gradients)
        if not usable(means):
            return
        parameters = self.optimizer.param_groups[0]["params"]
        found: Sequence[Tensor | None] = means
        if self.by_edge:
            marks = torch.cat([*learns]).tolist()
            rows = [row for mean in means for row in mean]
            found = [row if learn else None for row, learn in zip(rows, marks, strict=True)]
        for value, gradient in zip(parameters, found, strict=True):
            value.grad = gradient
        if self.clip < float("inf"):
            torch.nn.utils.clip_grad_norm_(parameters, self.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def state_dict(self) -> dict[str, Any]:
        """Copies of alpha, and the optimizer's state."""
        values = {name: value.detach().clone() for name, value in self.values.items()}
        return {"values": values, "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        for name, value in self.values.items():
            value.data.copy_(state["values"][name])
        self.optimizer.load_state_dict(state["optimizer"])


class FirstOrder(OneShot):
    """DARTS' search at the current weights (Liu et al. 2019, eq. 6 with xi = 0), one supernet.

    What a method that builds on it changes, it overrides.
    """

    def __init__(
        self, space: SearchSpace, config: SearchConfig, device: torch.device, **changes: Any
    ) -> None:
        """`changes`: see `Alphas.of`."""
        super().__init__(space, config, device)
        self.alphas = Alphas.of(space, config, device, **changes)

    def weights(self, training: bool) -> Weights:
        """softmax(alpha), in training and out of it."""
        return self.alphas.softmax()

    def penalty(self, net: nn.Module, weights: Mapping[str, Tensor]) -> Tensor | float:
        """What the architecture's loss has beside the cross entropy."""
        return 0.0

    def arch_step(
        self,
        net: nn.Module,
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

    def architecture(self) -> Architecture:
        """The strongest edges into each node, the strongest operation on each."""
        return self.space.derive(strongest(self.space, self.weights(training=False)))

    def state_dict(self) -> dict[str, Any]:
        return self.alphas.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.alphas.load_state_dict(state)


def gumbel(shape: torch.Size) -> Tensor:
    """Standard Gumbel noise -log(-log U), drawn on the CPU, alike for every device."""
    return -torch.empty(shape).exponential_().log()


def valid_loss(
    net: nn.Module,
    weights: Mapping[str, Tensor],
    batch: Batch,
    needs_grad: Mapping[str, Tensor] | None = None,
) -> tuple[Tensor, dict[str, float]]:
    """The loss of a validation batch, and what an architecture step reports of it."""
    images, labels = batch
    logits = net(images, weights) if needs_grad is None else net(images, weights, needs_grad)
    loss = cross_entropy(logits, labels)
    found = {"valid_loss": loss.item(), "valid_accuracy": accuracy(logits, labels)}
    return loss, distributed.average_values(found)
