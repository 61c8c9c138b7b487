"""Published cells as networks, beside the authors' networks."""

import json
from collections.abc import Iterator

import torch

from edarts.space.base import Size
from edarts.space.darts import DartsSpace
from edarts.space.genotype import Edge
from edarts.testing.golden import Comparison, Golden
from edarts.training.optim import cross_entropy


def network(golden: Golden) -> Iterator[Comparison]:
    """Logits and loss of both heads, gradients, and the logits of the evaluation mode."""
    edges = json.loads(golden.text("genotype"))
    space = DartsSpace()
    cell = space.genotype({k: [Edge(*edge) for edge in edges[k]] for k in space.groups})
    x, y = golden.batch()
    net = cell.build(Size(4, 4, auxiliary=True), (3, 32, 32), 10)
    golden.put_weights(net)
    logits, auxiliary = net(x, True)
    yield golden.near("logits", logits, "logits")
    yield golden.near("logits of the auxiliary head", auxiliary, "logits_auxiliary")
    entropy = cross_entropy(logits, y)
    second = golden.number("auxiliary_weight") * cross_entropy(auxiliary, y)
    yield golden.near("loss and its terms", entropy, "loss_cross_entropy")
    yield golden.near("loss and its terms", second, "loss_auxiliary")
    yield golden.near("loss and its terms", entropy + second, "loss")
    found = torch.autograd.grad(entropy + second, list(net.parameters()))
    yield golden.weight_gradients(net, found, "grad_w")
    yield golden.near("logits in evaluation", net.eval()(x), "logits_evaluation")
