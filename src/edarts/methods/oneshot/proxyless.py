"""ProxylessNAS: binary gates, so that one path at a time is in memory (Cai et al., ICLR 2019).

The gates and their gradient are the authors' (methods.md section 8), with two sampled paths in an
architecture step; here on DARTS' cell space, since the paper's tree space has no cells. So a node
keeps two edges, by DARTS' rule on the probabilities. From their ImageNet code is when the
architecture learns: at every fifth step, after 40 of 160 epochs of warm-up and one more epoch;
0.006 as its learning rate is CIFAR's [M: methods.md]. What else concerns the weights is DARTS': one
cosine, where their code has one for the warm-up and one after it. No latency term: the paper's
CIFAR search has none [M]. Differences: docs/methods.md, section 23.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from edarts.config import SearchConfig
from edarts.methods.oneshot.alphas import Alphas, valid_loss
from edarts.methods.oneshot.base import DARTS, Batch, OneShot, Weights
from edarts.methods.oneshot.derive import strongest
from edarts.space.base import Architecture, SearchSpace
from edarts.training.optim import frozen, gradients


class Proxyless(OneShot):
    """alpha (E, K) for each group; weights are gates: one on every edge is open, drawn by softmax.

    The weights of a path that was not drawn rest, as the authors have it: neither momentum nor
    decay moves them.
    """

    RESTS: ClassVar[bool] = True
    PLANTED: ClassVar[Mapping[str, Any]] = {"arch_lr": 0.1, "epochs": 20, "arch_every": 1}
    DEFAULTS: ClassVar[Mapping[str, Any]] = DARTS | {
        "epochs": 160,
        "warm_up": 41 / 160,
        "arch_every": 5,
        "arch_lr": 0.006,
        "arch_weight_decay": 0.0,
        "lr_min": 0.0,
    }
    PAPER: ClassVar[Mapping[str, Any]] = {"nesterov": True}

    def __init__(self, space: SearchSpace, config: SearchConfig, device: torch.device) -> None:
        super().__init__(space, config, device)
        self.alphas = Alphas.of(space, config, device, betas=(0.0, 0.999), by_edge=True)

    def weights(self, training: bool) -> Weights:
        """In training (E, K) one-hot gates, a draw; else the probabilities softmax(alpha)."""
        probabilities = self.alphas.softmax()
        if not training:
            return probabilities
        return {group: one_hot(draw(p, 1), p) for group, p in probabilities.items()}

    def arch_step(
        self,
        net: nn.Module,
        train_batch: Batch,
        valid_batch: Batch,
        weight_optimizer: torch.optim.Optimizer,
    ) -> dict[str, float]:
        """Adam on two drawn paths of every edge; the probabilities of the others stay.

        Of the two, one is drawn to be open. An edge whose open path is `none` learns nothing, and
        Adam's state for it stands still.
        """
        paths, gates, needs_grad = {}, {}, {}
        for group, p in self.alphas.softmax().items():
            paths[group] = draw(p.detach(), min(2, p.shape[1]))  # (E, 2)
            pair = self.alphas.values[group].detach().gather(1, paths[group]).softmax(dim=-1)
            opened = paths[group].gather(1, draw(pair, 1))
            gates[group] = one_hot(opened, p).requires_grad_()
            needs_grad[group] = one_hot(paths[group], p).bool()
        with frozen(net):
            loss, metrics = valid_loss(net, gates, valid_batch, needs_grad)
        gate_gradients = gradients(loss, list(gates.values()))
        before, steps, learns = {}, [], []
        for group, gradient in zip(gates, gate_gradients, strict=True):
            before[group] = self.alphas.values[group].detach().gather(1, paths[group])
            learned = path_gradient(gradient.gather(1, paths[group]), before[group])
            names = self.space.candidates(group)
            closed = [column for column, name in enumerate(names) if name != "none"]
            learns.append(gates[group].detach()[:, closed].any(dim=1))
            steps.append(torch.zeros_like(gradient).scatter(1, paths[group], learned))
        self.alphas.step(steps, learns)
        for group, old in before.items():
            value = self.alphas.values[group].data
            value.scatter_(1, paths[group], rescaled(value.gather(1, paths[group]), old))
        return metrics

    def architecture(self) -> Architecture:
        """DARTS' rule on the probabilities."""
        return self.space.derive(strongest(self.space, self.weights(training=False)))

    def state_dict(self) -> dict[str, Any]:
        return self.alphas.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.alphas.load_state_dict(state)


def draw(probabilities: Tensor, count: int) -> Tensor:
    """(E, count) columns drawn without replacement; on the CPU, alike for every device."""
    likely = probabilities.detach().cpu().clamp_min(1e-20)  # two can be drawn even of a sure one
    return torch.multinomial(likely, count).to(probabilities.device)


def one_hot(columns: Tensor, like: Tensor) -> Tensor:
    """(E, n) columns -> (E, K) with ones there."""
    return torch.zeros_like(like).detach().scatter(1, columns, 1.0)


def path_gradient(gate_gradient: Tensor, alpha: Tensor) -> Tensor:
    """d L / d alpha (E, n) from d L / d gate (E, n): sum_j dL/dg_j p_j (delta_ij - p_i).

    p = softmax(alpha) over the n drawn paths.
    """
    p = alpha.softmax(dim=-1)
    return p * (gate_gradient - (gate_gradient * p).sum(dim=-1, keepdim=True))


def rescaled(new: Tensor, old: Tensor) -> Tensor:
    """`new` (E, n) with the sum of exp of `old`, so that other paths keep their probability."""
    shift = torch.logsumexp(new, -1, keepdim=True) - torch.logsumexp(old, -1, keepdim=True)
    return new - shift


PLUGIN = Proxyless
