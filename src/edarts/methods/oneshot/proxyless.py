"""ProxylessNAS: binary gates, so that one path at a time is in memory (Cai et al., ICLR 2019).

The gates and their gradient are the authors' (methods.md section 8), with two sampled paths in an
architecture step; here on DARTS' cell space, since the paper's tree space has no cells. So a node
keeps two edges, by DARTS' rule on the probabilities. The schedule is that of their ImageNet code
(40 of 160 epochs warm up); 0.006 as learning rate of the architecture is CIFAR's [M: methods.md];
what else concerns the weights is DARTS'. No latency term: the paper's CIFAR search has none [M].
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from edarts.config import SearchConfig
from edarts.methods.oneshot.base import Alphas, strongest, valid_loss
from edarts.methods.oneshot.registry_ import Batch, OneStage
from edarts.nn.supernet import Supernet
from edarts.space.darts import Space
from edarts.space.genotype import Genotype
from edarts.training.optim import frozen, gradients

DEFAULTS: dict[str, Any] = {
    "epochs": 160,
    "warm_up": 40 / 160,
    "batch_size": 64,
    "cells": 8,
    "channels": 16,
    "operations": "all",
    "topology": "all",
    "attention": "none",
    "data_fraction": 1.0,
    "arch_update": "step",
    "arch_lr": 0.006,
    "arch_weight_decay": 0.0,
    "lr": 0.025,
    "lr_min": 0.0,
    "momentum": 0.9,
    "weight_decay": 3e-4,
    "clip": 5.0,
}


class Proxyless(OneStage):
    """alpha (E, K) for each kind; weights are gates: one on every edge is open, drawn by softmax.

    The weights of a path that was not drawn get no gradient, so neither momentum nor decay moves
    them (the driver sets gradients to None, and the supernet computes what is open only).
    """

    def __init__(self, space: Space, config: SearchConfig, device: torch.device) -> None:
        super().__init__(config)
        self.space = space
        self.alphas = Alphas.of(space, config, device, betas=(0.0, 0.999))

    def weights(self, training: bool) -> dict[str, Tensor]:
        """In training (E, K) one-hot gates, a draw; else the probabilities softmax(alpha)."""
        probabilities = self.alphas.softmax()
        if not training:
            return probabilities
        return {kind: one_hot(draw(p, 1), p) for kind, p in probabilities.items()}

    def arch_step(
        self,
        net: Supernet,
        train_batch: Batch,
        valid_batch: Batch,
        weight_optimizer: torch.optim.Optimizer,
    ) -> dict[str, float]:
        """Adam on two drawn paths of every edge; the probabilities of the others stay.

        Of the two, one is drawn to be open. An edge whose open path is `none` learns nothing.
        """
        paths, gates, wanted = {}, {}, {}
        for kind, p in self.alphas.softmax().items():
            paths[kind] = draw(p.detach(), min(2, p.shape[1]))  # (E, 2)
            pair = self.alphas.values[kind].detach().gather(1, paths[kind]).softmax(dim=-1)
            opened = paths[kind].gather(1, draw(pair, 1))
            gates[kind] = one_hot(opened, p).requires_grad_()
            wanted[kind] = one_hot(paths[kind], p).bool()
        with frozen(net):
            loss, metrics = valid_loss(net, gates, valid_batch, wanted)
        gate_gradients = gradients(loss, list(gates.values()))
        before, steps = {}, []
        for kind, gradient in zip(gates, gate_gradients, strict=True):
            before[kind] = self.alphas.values[kind].detach().gather(1, paths[kind])
            learned = path_gradient(gradient.gather(1, paths[kind]), before[kind])
            if "none" in self.space.operations:
                none = self.space.operations.index("none")
                learned = learned * (gates[kind].detach()[:, none, None] == 0)
            steps.append(torch.zeros_like(gradient).scatter(1, paths[kind], learned))
        self.alphas.step(steps)
        for kind, old in before.items():
            value = self.alphas.values[kind].data
            value.scatter_(1, paths[kind], rescaled(value.gather(1, paths[kind]), old))
        return metrics

    def genotype(self) -> Genotype:
        """DARTS' rule on the probabilities."""
        return strongest(self.space, self.weights(training=False))

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
