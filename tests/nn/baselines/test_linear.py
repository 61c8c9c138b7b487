"""The linear classifier: logistic regression, and nothing else."""

import torch

from edarts.nn.baselines.linear import Linear
from edarts.space.base import Size


def test_it_is_a_matrix_product() -> None:
    network = Linear().build(Size(), (2, 3, 5), 4)
    x, weight = torch.randn(6, 2, 3, 5), torch.randn(4, 30)
    assert torch.equal(network(x), torch.zeros(6, 4))
    network.classifier.weight.data.copy_(weight)
    torch.testing.assert_close(network(x), x.reshape(6, 30) @ weight.T)
    assert sum(p.numel() for p in network.parameters()) == 4 * 30 + 4
