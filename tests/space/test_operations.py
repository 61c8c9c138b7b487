"""Operations: names, what each costs against its module, and operations from elsewhere."""

import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn

from edarts import DartsSpace, Genotype, Supernet, UsageError
from edarts.nn.operations import (
    DilConv,
    FactorizedReduce,
    Pooling,
    SepConv,
    build,
    count_flops,
)
from edarts.space import operations
from edarts.space.operations import BUILT_IN, CANDIDATES, Operation, Resources


def test_darts_candidates_come_first() -> None:
    assert tuple(BUILT_IN)[:8] == CANDIDATES
    assert (
        *("none", "max_pool_3x3", "avg_pool_3x3", "skip_connect"),
        *("sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5"),
    ) == CANDIDATES
    assert DartsSpace().operations == DartsSpace.parse("all").operations == CANDIDATES
    assert all(operation.name == name for name, operation in BUILT_IN.items())
    assert len({operation.short for operation in BUILT_IN.values()}) == len(BUILT_IN)


def test_no_torch() -> None:
    """Who reads a genotype waits for no torch."""
    code = (
        "import sys;"
        "from edarts.space.genotype import Genotype; from edarts.space.darts import DartsSpace;"
        "Genotype.from_dict({'normal': '2:sep3(0)', 'reduce': '2:max2(1)'});"
        "DartsSpace.parse('SS1');"
        "assert 'torch' not in sys.modules and 'numba' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", BUILT_IN)
def test_look_up(name: str) -> None:
    operation = operations.get(name)
    assert operation is BUILT_IN[name]
    assert operations.check(name) == name
    assert operations.by_short(operation.short) == name
    if name != "none":
        convolves = any(isinstance(m, nn.Conv2d) for m in build(name, 4, 1, True).modules())
        assert operations.parameter_free(name) == (not convolves)


def test_unknown_names() -> None:
    with pytest.raises(UsageError, match="unknown operation 'sep_conv3x3'; did you mean sep_conv"):
        operations.check("sep_conv3x3")
    with pytest.raises(UsageError, match="unknown short name of an operation 'spe3'; did you mean"):
        operations.by_short("spe3")


# -- costs ----------------------------------------------------------------------------------------


def authors_formulas(name: str, channels: int, side: int, stride: int) -> Resources:
    """methods.md section 3, for DARTS' eight."""
    size, y2c, wide = 0, side**2 * channels, stride == 2
    if name.endswith(("3x3", "5x5")) and "conv" in name:
        size = int(name[-1]) ** 2 * channels + channels**2
    if name == "none":
        return Resources(0, 0, 0)
    if "pool" in name:
        return Resources(0, 9 * y2c, (5 if wide else 2) * y2c)
    if name == "skip_connect" and not wide:
        return Resources(0, 0, 2 * y2c)
    if name == "skip_connect":
        size = channels**2
        return Resources(size, size * side**2, 9 * y2c + size)
    if name.startswith("sep"):
        return Resources(2 * size, 2 * size * side**2, (11 if wide else 8) * y2c + 2 * size)
    return Resources(size, size * side**2, (7 if wide else 4) * y2c + size)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", CANDIDATES)
def test_costs_of_darts_candidates_are_the_authors(name: str, stride: int) -> None:
    for channels in (2, 6, 16, 64):
        for side in (1, 4, 7, 32):
            cost = operations.get(name).resources
            assert cost is not None
            assert cost(channels, side, stride) == authors_formulas(name, channels, side, stride)


class Counter:
    """Adds up what the convolutions and pools of a forward pass read, write and hold."""

    def __init__(self, module: nn.Module) -> None:
        self.size = self.flops = self.memory = 0
        for part in module.modules():
            if isinstance(part, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
                part.register_forward_hook(self.count)

    def count(self, module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        if isinstance(module, nn.Conv2d):
            weights = module.weight.numel()
            self.size += weights
            self.flops += module.weight[0].numel() * output.numel()
            self.memory += inputs[0].numel() + output.numel() + weights
        else:
            kernel = module.kernel_size
            assert isinstance(kernel, int)
            self.flops += kernel**2 * output.numel()
            self.memory += inputs[0].numel() + output.numel()


def plain(module: nn.Module, stride: int) -> nn.Module:
    """The same operation of hooked convolutions alone: the fast path calls none of them.

    Both halves of a factorized reduction read the whole source.
    """
    if isinstance(module, DilConv):
        return nn.Sequential(module.depthwise, module.pointwise)
    if isinstance(module, SepConv):
        return nn.Sequential(plain(module.first, stride), plain(module.second, 1))
    if isinstance(module, FactorizedReduce):

        class Halves(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.convolutions = nn.ModuleList(
                    nn.Conv2d(*half.weight.shape[1::-1], 1, 2, bias=False)
                    for half in (module.here, module.shifted)
                )

            def forward(self, x: Tensor) -> Tensor:
                return torch.cat([convolution(x) for convolution in self.convolutions], 1)

        return Halves()
    if isinstance(module, Pooling):
        pool = module.pool
        if isinstance(pool, nn.Sequential):  # the source is counted without its padding
            return nn.MaxPool2d(2, stride, ceil_mode=stride == 1)
        return pool if isinstance(pool, nn.AvgPool2d) else nn.MaxPool2d(3, stride, 1)
    return module


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("channels", [3, 8, 18])
@pytest.mark.parametrize("name", [name for name in BUILT_IN if name != "none"])
def test_costs_are_the_modules(name: str, channels: int, stride: int) -> None:
    side = 6
    module = build(name, channels, stride, affine=False)
    cost = operations.get(name).resources
    assert cost is not None
    stated = cost(channels, side, stride)
    convolutions = [part for part in module.modules() if isinstance(part, nn.Conv2d)]
    assert stated.size == sum(part.weight.numel() for part in convolutions)
    if convolutions:
        assert stated.flops == count_flops(module, (channels, stride * side, stride * side))
    x = torch.zeros(1, channels, stride * side, stride * side)
    shape, bare = module(x).shape, plain(module, stride)
    counter = Counter(bare)
    y = bare(x)
    if name == "max_pool_2x2" and stride == 1:
        expected = Resources(0, 4 * x.numel(), 2 * x.numel())
    elif name == "skip_connect" and stride == 1:
        expected = Resources(0, 0, x.numel() + y.numel())
    else:
        assert y.shape == shape
        expected = Resources(counter.size, counter.flops, counter.memory)
    assert stated == expected


# -- operations from elsewhere --------------------------------------------------------------------


@pytest.fixture
def square() -> Operation:
    """An operation of somebody else's: a module that knows nothing of edarts."""

    def made(channels: int, stride: int, affine: bool, channels_in: int) -> nn.Module:
        return nn.Conv2d(channels_in, channels, 2 + stride, stride, 1, bias=False)

    operation = Operation("test_square", "tsquare", made)
    return operations.get(operation)


def test_an_operation_from_python(square: Operation) -> None:
    assert operations.get("test_square") is square
    assert operations.names()[-1] == "test_square"
    assert not operations.parameter_free("test_square")
    space = DartsSpace(("skip_connect", "test_square"), ((0, 2), (1, 2)), ((0, 2), (1, 2)))
    net = Supernet(space, cells=3, channels=4, classes=3)
    weights = {kind: torch.full((2, 2), 0.5) for kind in ("normal", "reduce")}
    assert net(torch.randn(2, 3, 8, 8), weights).shape == (2, 3)
    genotype = Genotype.from_dict({"normal": "2:tsquare(0)+skip(1)", "reduce": "2:tsquare(1)"})
    assert genotype.count("normal", "test_square") == 1
    assert Genotype.parse(genotype.to_json()) == genotype
    assert genotype.describe("reduce") == "2:tsquare(1)"
    with pytest.raises(UsageError, match="another operation is called sep_conv_3x3"):
        operations.get(Operation("sep_conv_3x3", "x", None))
