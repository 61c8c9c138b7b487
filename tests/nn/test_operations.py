"""Primitives: sizes and parameters."""

import pytest
import torch

from edarts import UsageError
from edarts.nn import operations as ops
from edarts.space.operations import BUILT_IN

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
    for height, width in ((8, 8), (9, 7)):
        out = module(torch.randn(2, C, height, width))
        assert out.shape == (2, C, -(-height // stride), -(-width // stride))


@pytest.mark.parametrize("name", [name for name in BUILT_IN if name != "none"])
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
    separable, dilated = (
        ops.build(name, C, 1, affine=True) for name in ("sep_conv_3x3", "dil_conv_5x5")
    )
    assert ops.count_flops(separable, (C, y, y)) == 2 * (9 * C + C * C) * y * y
    assert ops.count_flops(dilated, (C, y, y)) == (25 * C + C * C) * y * y
    assert separable.training


def test_unknown_operation() -> None:
    with pytest.raises(UsageError, match="did you mean sep_conv_3x3"):
        ops.build("sep_conv3x3", C, 1, affine=True)
    with pytest.raises(UsageError, match="none"):
        ops.build("none", C, 1, affine=True)


def test_built_by_name_by_path_or_by_a_function() -> None:
    """`BUILDERS` has all built-in operations and no others; an Operation itself builds too."""
    assert set(ops.BUILDERS) == set(BUILT_IN) - {"none"}
    assert isinstance(ops.build(BUILT_IN["conv_1x1"], 4, 1, affine=True), ops.Conv)


def test_average_pool_does_not_count_padding() -> None:
    assert torch.equal(
        ops.build("avg_pool_3x3", 2, 1, affine=True)(torch.ones(1, 2, 4, 4)), torch.ones(1, 2, 4, 4)
    )
