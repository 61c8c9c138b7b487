"""Operations: what an edge of a cell may carry, by name, and what each of them costs.

Nothing here imports torch, so that reading a genotype is quick; modules are built by
`edarts.nn.operations.build`. C channels; `side`: the height and width, in pixels, of the square
map that an operation returns; stride s, so that the map it reads is s * side wide.

To add an operation, define an `Operation` and name it as an entry point of the group
`edarts.operations`, or hand the object to `registry.add("operations", ...)`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from edarts import registry
from edarts.errors import unknown

if TYPE_CHECKING:
    from torch import nn

GROUP = "operations"
BUILDERS = "edarts.nn.operations:BUILDERS"


class Resources(NamedTuple):
    """What one operation takes for one image.

    `size`: parameters, those of norms left out. `flops`: multiply-adds of its convolutions; of a
    pool, the k * k numbers that each number of its result is made of. `memory`: accesses, which are
    the numbers that each convolution or pool reads, those it writes, and its weights (SNAS' code).
    """

    size: int
    flops: int
    memory: int


NOTHING = Resources(0, 0, 0)

Cost = Callable[[int, int, int], Resources]
"""(channels, side, stride) -> Resources."""


@dataclass(frozen=True)
class Operation:
    """One operation that an edge may carry.

    `short`: its name in drawings and progress lines, made of letters, digits and underscores.
    `build`: makes the module from (channels, stride, affine, channels of the source), or is the
    path `package.module:name` of what does; None if the operation is zero and has no module. The
    module maps (B, C', H, W) to (B, C, ceil(H / s), ceil(W / s)); with `affine` false its norms
    have neither scale nor shift, as in a supernet.
    `parameter_free`: whether it has no convolution; a cell full of such operations is a sign that
    the search has collapsed.
    `resources`: (channels, side, stride) -> what it costs; None if it is not known, and then a
    method that weighs costs refuses the operation.
    """

    name: str
    short: str
    build: "str | Callable[[int, int, bool, int], nn.Module] | None"
    parameter_free: bool = False
    resources: Cost | None = None


# -- what they cost -------------------------------------------------------------------------------


class _Conv(NamedTuple):
    """A convolution by its numbers: channels and pixels that it reads and writes."""

    channels_in: int
    channels_out: int
    pixels_in: int
    pixels_out: int
    kernel_area: int = 1
    groups: int = 1

    def resources(self) -> Resources:
        """Its weights; a multiply-add of each weight per result pixel; input, output, weights."""
        size = self.kernel_area * self.channels_in * self.channels_out // self.groups
        volumes = self.channels_in * self.pixels_in + self.channels_out * self.pixels_out
        return Resources(size, size * self.pixels_out, volumes + size)


def _sum(convolutions: Iterable[_Conv]) -> Resources:
    costs = [convolution.resources() for convolution in convolutions]
    return Resources(*(sum(column) for column in zip(*costs, strict=True)))


def _none(channels: int, side: int, stride: int) -> Resources:
    return NOTHING


def _pool(kernel: int) -> Cost:
    def cost(channels: int, side: int, stride: int) -> Resources:
        volume = channels * side**2
        return Resources(0, kernel**2 * volume, (stride**2 + 1) * volume)

    return cost


def _skip(channels: int, side: int, stride: int) -> Resources:
    """The source itself, read and written; at stride 2 a factorized reduction.

    Each of its two convolutions writes half of the channels, and is counted as if it read the whole
    source (SNAS' code).
    """
    if stride == 1:
        return Resources(0, 0, 2 * channels * side**2)
    pixels = stride**2 * side**2
    halves = (channels // 2, channels - channels // 2)
    return _sum(_Conv(channels, half, pixels, side**2) for half in halves)


def _separable(kernel: int, times: int) -> Cost:
    """Depthwise and 1 x 1 convolution, `times` in a row; the first depthwise one has the stride."""

    def cost(channels: int, side: int, stride: int) -> Resources:
        c, y, layers = channels, side**2, []
        for number in range(times):
            read = stride**2 * y if number == 0 else y
            layers += [_Conv(c, c, read, y, kernel**2, groups=c), _Conv(c, c, y, y)]
        return _sum(layers)

    return cost


def _conv_1x1(channels: int, side: int, stride: int) -> Resources:
    return _Conv(channels, channels, stride**2 * side**2, side**2).resources()


def _conv_7x1_1x7(channels: int, side: int, stride: int) -> Resources:
    c, y = channels, side**2
    return _sum([_Conv(c, c, stride**2 * y, stride * y, 7), _Conv(c, c, stride * y, y, 7)])


def _bottleneck(*kernels: tuple[int, int]) -> Cost:
    """1 x 1 to C / 4, these kernels (rows, columns), 1 x 1 back; see nn.operations."""

    def cost(channels: int, side: int, stride: int) -> Resources:
        inner, pixels = max(1, channels // 4), stride**2 * side**2
        layers = [_Conv(channels, inner, pixels, pixels)]
        for rows, columns in kernels:
            read = pixels
            pixels //= (stride if rows > 1 else 1) * (stride if columns > 1 else 1)
            layers.append(_Conv(inner, inner, read, pixels, rows * columns))
        return _sum([*layers, _Conv(inner, channels, pixels, pixels)])

    return cost


# -- the built-in ones ----------------------------------------------------------------------------


def _built_in(name: str, short: str, resources: Cost, parameter_free: bool = False) -> Operation:
    build = None if name == "none" else f"{BUILDERS}.{name}"
    return Operation(name, short, build, parameter_free, resources)


_DARTS = (
    _built_in("none", "none", _none, parameter_free=True),
    _built_in("max_pool_3x3", "max3", _pool(3), parameter_free=True),
    _built_in("avg_pool_3x3", "avg3", _pool(3), parameter_free=True),
    _built_in("skip_connect", "skip", _skip, parameter_free=True),
    _built_in("sep_conv_3x3", "sep3", _separable(3, times=2)),
    _built_in("sep_conv_5x5", "sep5", _separable(5, times=2)),
    _built_in("dil_conv_3x3", "dil3", _separable(3, times=1)),
    _built_in("dil_conv_5x5", "dil5", _separable(5, times=1)),
)

# What published cells of other spaces hold (methods.md sections 0.2 and 11). No space takes them
# unless it is told to.
_OTHERS = (
    _built_in("sep_conv_7x7", "sep7", _separable(7, times=2)),
    # AmoebaNet-B's. Dilated by 2, as its name says; the released code ignores that.
    _built_in("dil_sep_conv_5x5", "dsep5", _separable(5, times=2)),
    _built_in("max_pool_2x2", "max2", _pool(2), parameter_free=True),
    _built_in("conv_1x1", "conv1", _conv_1x1),
    _built_in("conv_3x3", "conv3", _bottleneck((3, 3))),
    _built_in("conv_1x7_7x1", "conv1x7", _bottleneck((1, 7), (7, 1))),
    _built_in("conv_7x1_1x7", "conv7x1", _conv_7x1_1x7),
)

CANDIDATES: tuple[str, ...] = tuple(operation.name for operation in _DARTS)
"""DARTS' eight candidates, in the order of the columns of its alpha."""

BUILT_IN: dict[str, Operation] = {operation.name: operation for operation in (*_DARTS, *_OTHERS)}


# -- looking one up -------------------------------------------------------------------------------


def names() -> list[str]:
    """All operations: built-in ones in their order, then those of packages and from Python."""
    return registry.names(GROUP)


def get(operation: str | Operation) -> Operation:
    """The operation with this name; an object from Python is taken in under its own name.

    Raises UsageError with the nearest names.
    """
    if operation in BUILT_IN:  # the usual case, asked for each edge of each genotype
        return BUILT_IN[str(operation)]
    found: Operation = registry.get(GROUP, operation)
    return found


def check(name: str) -> str:
    """`name` itself; raises UsageError with the nearest names if no operation is called so."""
    get(name)
    return name


def by_short(text: str) -> str:
    """The name of the operation whose short name is `text`; raises UsageError."""
    shorts = {}
    for name, operation in registry.members(GROUP):
        if operation.short == text:
            return name
        shorts[operation.short] = name
    raise unknown("short name of an operation", text, shorts)


def parameter_free(name: str) -> bool:
    """Whether the operation has no convolution: `none`, pools and skip connections.

    One that is not known here is of a space with modules of its own, and counts as a convolution.
    """
    return (name in BUILT_IN or name in names()) and get(name).parameter_free
