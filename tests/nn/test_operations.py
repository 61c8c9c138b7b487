"""Primitives: sizes and parameters."""

import pytest
import torch

from edarts import Space, UsageError
from edarts.nn import operations as ops

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
        ("sep_conv_7x7", 2, 2 * C * 49 + 2 * C * C + 4 * C),
        ("dil_sep_conv_5x5", 2, 2 * C * 25 + 2 * C * C + 4 * C),
        ("max_pool_2x2", 1, 0),
        ("max_pool_2x2", 2, 0),
        ("conv_1x1", 2, C * C + 2 * C),
        ("conv_7x1_1x7", 2, 14 * C * C + 2 * C),
        # to C / 4 and back, a norm after each convolution
        ("conv_3x3", 2, 2 * C * C // 4 + 9 * (C // 4) ** 2 + 2 * (2 * C // 4 + C)),
        ("conv_1x7_7x1", 2, 2 * C * C // 4 + 14 * (C // 4) ** 2 + 2 * (3 * C // 4 + C)),
    ],
)
def test_parameters_and_shape(name: str, stride: int, parameters: int) -> None:
    module = ops.build(name, C, stride, affine=True)
    assert ops.count_parameters(module) == parameters
    assert ops.cost(name, C, stride, 8)[0] == parameters
    for height, width in ((8, 8), (9, 7)):
        out = module(torch.randn(2, C, height, width))
        assert out.shape == (2, C, -(-height // stride), -(-width // stride))


def test_only_darts_candidates_are_the_default() -> None:
    assert len(ops.OPERATIONS) == 8
    assert Space().operations == Space.parse("all").operations == tuple(ops.OPERATIONS)
    assert "sep_conv_7x7" not in ops.OPERATIONS
    assert len({operation.short for operation in ops.PRIMITIVES.values()}) == len(ops.PRIMITIVES)


@pytest.mark.parametrize("name", [name for name in ops.PRIMITIVES if name != "none"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("affine", [True, False])
def test_a_source_of_another_width(name: str, stride: int, affine: bool) -> None:
    module = ops.build(name, C, stride, affine, channels_in=5)
    assert module(torch.randn(2, 5, 7, 8)).shape == (2, C, -(-7 // stride), -(-8 // stride))


@pytest.mark.parametrize("stride", [1, 2])
def test_small_max_pool(stride: int) -> None:
    x = torch.randn(1, 1, 5, 6)
    y = ops.build("max_pool_2x2", 1, stride, affine=True)(x)
    for i in range(y.shape[2]):
        for j in range(y.shape[3]):
            window = x[0, 0, stride * i : stride * i + 2, stride * j : stride * j + 2]
            assert y[0, 0, i, j] == window.max()


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
