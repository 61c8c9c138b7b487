"""Primitives: sizes and parameters."""

import pytest
import torch

from edarts import UsageError, ops

C = 12


@pytest.mark.parametrize(
    ("name", "stride", "parameters"),
    [
        ("max_pool_3x3", 1, 0),
        ("avg_pool_3x3", 2, 0),
        ("skip_connect", 1, 0),
        ("skip_connect", 2, C * C + 2 * C),
        ("sep_conv_3x3", 1, 2 * C * 9 + 2 * C * C + 4 * C),
        ("sep_conv_5x5", 2, 2 * C * 25 + 2 * C * C + 4 * C),
        ("dil_conv_3x3", 1, C * 9 + C * C + 2 * C),
        ("dil_conv_5x5", 2, C * 25 + C * C + 2 * C),
    ],
)
def test_parameters_and_shape(name: str, stride: int, parameters: int) -> None:
    module = ops.build(name, C, stride, affine=True)
    assert ops.count_parameters(module) == parameters
    assert ops.cost(name, C, stride, 8)[0] == parameters
    for height, width in ((8, 8), (9, 7)):
        out = module(torch.randn(2, C, height, width))
        assert out.shape == (2, C, -(-height // stride), -(-width // stride))


def test_flops_are_multiply_adds() -> None:
    y = 8
    assert ops.cost("sep_conv_3x3", C, 1, y)[1] == 2 * (9 * C + C * C) * y * y
    assert ops.cost("dil_conv_5x5", C, 2, y)[1] == (25 * C + C * C) * y * y // 4


def test_unknown_operation() -> None:
    with pytest.raises(UsageError, match="did you mean sep_conv_3x3"):
        ops.build("sep_conv3x3", C, 1, affine=True)
    with pytest.raises(UsageError, match="none"):
        ops.build("none", C, 1, affine=True)


def test_average_pool_does_not_count_padding() -> None:
    assert torch.equal(
        ops.build("avg_pool_3x3", 2, 1, affine=True)(torch.ones(1, 2, 4, 4)), torch.ones(1, 2, 4, 4)
    )
