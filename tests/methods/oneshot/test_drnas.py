"""DrNAS: draws from the Dirichlet distribution, and their pathwise gradient."""

import torch

from edarts import SearchConfig
from edarts.methods.oneshot import driver as oneshot
from edarts.methods.oneshot import drnas


def test_draws_have_the_mean_and_variance() -> None:
    torch.manual_seed(0)
    c = torch.tensor([0.5, 1.0, 2.5])
    draws = drnas.draw(c.expand(40_000, 3))
    mean = c / c.sum()
    torch.testing.assert_close(draws.sum(-1), torch.ones(40_000))
    torch.testing.assert_close(draws.mean(0), mean, atol=0.01, rtol=0)
    torch.testing.assert_close(draws.var(0), mean * (1 - mean) / (c.sum() + 1), atol=0.01, rtol=0)


def test_pathwise_gradient_is_that_of_the_expectation() -> None:
    """E[w . s] = c . s / sum(c); its gradient by calculus against the average of draws."""
    torch.manual_seed(1)
    c = torch.tensor([0.7, 1.2, 2.0], dtype=torch.float64).requires_grad_()
    slope = torch.tensor([1.0, -0.5, 0.25], dtype=torch.float64)
    (mine,) = torch.autograd.grad((drnas.draw(c.expand(60_000, 3)) @ slope).mean(), c)
    (exact,) = torch.autograd.grad((c @ slope) / c.sum(), c)
    torch.testing.assert_close(mine, exact, atol=5e-3, rtol=0)


def test_first_concentrations_follow_the_attention() -> None:
    config, space, _ = oneshot.resolve_config(
        SearchConfig("drnas", attention="sep_conv_3x3=4,skip_connect=1"), 50_000, 10
    )
    method = drnas.PLUGIN(space, config, torch.device("cpu"))
    weights = method.weights(training=False)["normal"]
    torch.testing.assert_close(weights.mean(0), torch.tensor([0.8, 0.2]), atol=1e-2, rtol=0)
    torch.testing.assert_close(
        method.concentrations()["normal"].sum(-1), torch.full((14,), 2.0), atol=1e-2, rtol=0
    )
