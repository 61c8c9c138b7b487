"""The fast paths against their plain PyTorch twins, and the rule that picks them."""

import copy
import errno
import mmap
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import assume, example, given, settings
from torch import Tensor, nn
from torch.nn import functional

from edarts.nn import kernels
from edarts.nn.kernels import (
    FeatureMap,
    SeparableStage,
    Term,
    compiled,
    concat,
    nodes,
    pointwise_conv2d,
)
from edarts.nn.kernels.compiled import few_pixels, load_loops
from edarts.nn.kernels.pools import halves
from processes import Forked

Draw = torch.Generator


def normal(generator: Draw, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """The same float32 numbers in any type."""
    return torch.randn(*shape, generator=generator).to(dtype)


def norm(
    generator: Draw, channels: int, affine: bool, dtype: torch.dtype = torch.float32
) -> nn.BatchNorm2d:
    made = nn.BatchNorm2d(channels, affine=affine)
    if affine:
        made.weight.data = 1 + 0.5 * normal(generator, channels)
        made.bias.data = normal(generator, channels)
    return made.to(dtype)


def stage(
    generator: Draw,
    channels: int,
    kernel: int,
    stride: int,
    dilation: int,
    before: Any = None,
    dtype: torch.dtype = torch.float32,
) -> SeparableStage:
    wide = normal(generator, channels, 1, kernel, kernel) / kernel
    narrow = normal(generator, channels, channels, 1, 1) / channels**0.5
    weights = (weight.to(dtype).requires_grad_() for weight in (wide, narrow))
    return SeparableStage(*weights, stride, dilation, before)


def terms_of(
    generator: Draw, x: Tensor, kernel: int, stride: int, dilation: int, affine: bool
) -> list[Term]:
    """One node with every sort of term, in the type of x.

    The source, a norm alone, one stage, two, two sources, a source in parts, at stride 2 halves; a
    norm first and none at the end.
    """

    def normed() -> nn.BatchNorm2d:
        return norm(generator, channels, affine, x.dtype)

    def staged(kernel: int, stride: int, dilation: int, before: Any = None) -> SeparableStage:
        return stage(generator, channels, kernel, stride, dilation, before, x.dtype)

    channels = x.shape[1]
    sides = FeatureMap(x, x.sin(), x)  # the same part twice, too
    mixed = normal(generator, channels, 3 * channels, 1, 1).div(channels**0.5).to(x.dtype)
    here, shifted = mixed[: channels // 2].clone(), mixed[channels // 2 :].clone()
    joined = SeparableStage(None, mixed.requires_grad_())
    if stride == 2:
        halves = (here.requires_grad_(), shifted.requires_grad_())
        joined = SeparableStage(None, halves[0], shifted=halves[1])
    first = staged(kernel, stride, dilation)
    second = staged(kernel, 1, 1, normed())
    alone = staged(3, stride, 1)
    outset = normed()
    small = functional.max_pool2d(x, 1, stride)
    return [
        Term(FeatureMap(x), (first, second), normed()),
        Term(FeatureMap(small)),
        Term(FeatureMap(small * 2), norm=normed()),
        Term(FeatureMap(x), (alone,), normed()),
        Term(FeatureMap(small)),
        Term(sides, (joined,), normed()),
        Term(FeatureMap(x), (staged(3, stride, 1, outset),)),
    ]


@settings(max_examples=40, deadline=None)
@given(
    batch=st.integers(2, 5),
    channels=st.integers(2, 20),
    height=st.integers(2, 13),
    width=st.integers(2, 13),
    kernel=st.sampled_from([3, 5, 7]),
    stride=st.integers(1, 2),
    dilation=st.integers(1, 2),
    affine=st.booleans(),
    weighted=st.booleans(),
    layout=st.sampled_from(["contiguous", "channels last", "strided"]),
)
@example(5, 2, 11, 11, 5, 1, 1, True, False, "contiguous")
@example(2, 33, 6, 5, 3, 1, 1, True, False, "contiguous")  # pairs of vectors, and one left over
@example(2, 40, 5, 6, 5, 1, 2, True, True, "channels last")
def test_node_equals_its_plain_twin(
    batch: int,
    channels: int,
    height: int,
    width: int,
    kernel: int,
    stride: int,
    dilation: int,
    affine: bool,
    weighted: bool,
    layout: str,
) -> None:
    """Value, all gradients, running statistics against the plain twin in float64.

    What is left of a cancellation need not be closer than eight times the error of the plain twin
    in float32. Where a ReLU's input is nearly zero, float32 may see it on the other side, so the
    inputs are drawn again then.
    """

    def made(seed: int, dtype: torch.dtype) -> tuple[list[Term], Tensor | None]:
        generator = torch.Generator().manual_seed(seed)
        x = normal(generator, batch, channels, height, width, dtype=dtype)
        if layout == "channels last":
            x = x.contiguous(memory_format=torch.channels_last)
        elif layout == "strided":
            x = normal(generator, batch, channels, 2 * height, width, dtype=dtype)[:, :, ::2]
        terms = terms_of(generator, x.requires_grad_(), kernel, stride, dilation, affine)
        factors = normal(generator, len(terms), dtype=dtype).requires_grad_() if weighted else None
        return terms, factors

    seeds = (1000 * attempt + 20 * batch + channels for attempt in range(20))
    seed = next((seed for seed in seeds if _safe(made(seed, torch.float64)[0])), None)
    assume(seed is not None)
    results = []
    plain = kernels.plain_node
    ways = (kernels.node, torch.float32), (plain, torch.float32), (plain, torch.float64)
    for function, dtype in ways:
        these, factors = made(seed or 0, dtype)
        y = function(these, None if factors is None else list(factors.unbind()))
        assert ("NodeFunction" in str(y.grad_fn)) == (function is kernels.node)
        g = normal(torch.Generator().manual_seed(7), *y.shape, dtype=dtype)
        leaves = [t for term in these for t in term.parameters()]
        leaves += [these[0].source.x] + ([] if factors is None else [factors])
        states = [b for term in these for n in term.norms() for b in n.buffers()]
        results.append([y, *torch.autograd.grad(y, leaves, g), *states])
    # Behind a norm of two rows all is 1 or -1, and gradients are what is left of a cancellation.
    rows = batch * -(-height // stride) * -(-width // stride)
    bound = 2e-5 if rows >= 8 else 2e-3
    for mine, plains, exact in zip(*results, strict=True):
        error, its = ((found - exact).detach().abs().max() for found in (mine, plains))
        size = exact.detach().abs().max()
        assert float(error) <= bound * float(size) + 1e-5 + 8 * float(its), (error, its, size)


def _safe(terms: list[Term]) -> bool:
    """Whether no ReLU behind a norm has an input that float32 may see on the other side of zero.

    Rounding before the norm is as much larger behind it as the norm scales.
    """
    checks = [(terms[0].source, terms[0].stages[:1], terms[0].stages[1].norm)]
    checks.append((terms[6].source, (), terms[6].stages[0].norm))
    with torch.no_grad():
        for source, stages, last in checks:
            assert last is not None
            before = kernels.plain_term(Term(source, stages))
            scale = (before.var((0, 2, 3), unbiased=False) + last.eps).rsqrt()
            after = copy.deepcopy(last)(before)
            if (after.abs() < 1e-5 * (1 + scale[:, None, None])).any():
                return False
    return True


def test_plain_formula() -> None:
    generator = torch.Generator().manual_seed(3)
    x = normal(generator, 2, 3, 5, 4, dtype=torch.float64).requires_grad_()
    made = stage(generator, 3, 3, 2, 1)
    wide = made.depthwise.detach().double().requires_grad_()
    narrow = made.pointwise.detach().double().requires_grad_()
    last = norm(generator, 3, affine=True).double()

    def run(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        return kernels.plain_node(
            [Term(FeatureMap(a), (made._replace(depthwise=b, pointwise=c),), last)]
        )

    assert torch.autograd.gradcheck(run, (x, wide, narrow))


def taken(terms: list[Term]) -> bool:
    """Whether the fast path was taken."""
    return "Node" in str(kernels.node(terms).grad_fn)


def test_the_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    x = normal(generator, 2, 4, 6, 6).requires_grad_()
    term = Term(FeatureMap(x), (stage(generator, 4, 5, 1, 2),), norm(generator, 4, affine=False))
    assert taken([term])
    with torch.no_grad():
        kernels.node([term])
    assert term.norm is not None
    term.norm.eval()
    assert not taken([term])
    term.norm.train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not taken([term])
    double = stage(generator, 4, 5, 1, 2, dtype=torch.float64)
    assert not taken([Term(FeatureMap(x.detach().double()), (double,))])
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        kernels.node([Term(FeatureMap(x[:1, :, :1, :1]), norm=norm(generator, 4, affine=False))])
    empty = kernels.node([Term(FeatureMap(x[:0]), (stage(generator, 4, 3, 2, 1),))])
    assert empty.shape == (0, 4, 3, 3)
    monkeypatch.setenv("EDARTS_KERNELS", "off")
    assert not taken([term])


def test_frozen_parameters_cost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """No gradient of a weight is computed where none is wanted."""
    generator = torch.Generator().manual_seed(0)
    x = normal(generator, 2, 4, 6, 6).requires_grad_()
    made = stage(generator, 4, 5, 1, 1)
    frozen = made._replace(depthwise=made.depthwise.detach(), pointwise=made.pointwise.detach())
    sizes: list[int] = []
    real = load_loops().separable_gradient

    def counted(*arguments: Any) -> None:
        sizes.append(arguments[12].size)  # dd: empty where no gradient of the weights is wanted
        real(*arguments)

    monkeypatch.setattr(load_loops(), "separable_gradient", counted)
    kernels.node([Term(FeatureMap(x), (frozen,))]).sum().backward()
    assert sizes == [0]
    kernels.node([Term(FeatureMap(x), (made,))]).sum().backward()
    assert sizes == [0, made.depthwise.numel()]


def test_nodes_add_up_the_gradient_of_a_shared_source() -> None:
    """Two nodes and a plain operation read it; a pass that ends before it leaves nothing behind."""
    generator = torch.Generator().manual_seed(5)
    x = normal(generator, 3, 4, 6, 6).requires_grad_()
    stages = [stage(generator, 4, 3, 1, 1) for _ in range(3)]
    last = norm(generator, 4, affine=False)
    factors = normal(generator, 4).requires_grad_()

    def loss(source: FeatureMap) -> Tensor:
        weights = factors.unbind()
        first = FeatureMap.shared(kernels.node([Term(source, (stages[0],), last), Term(source)]))
        second = kernels.node([Term(source, (stages[1],)), Term(first)], weights[:2])
        third = kernels.node([Term(first, (stages[2],), last), Term(source)], weights[2:])
        even, odd = source.halves
        pooled = kernels.max_pool2d(source.x, 3, 1, source.sums[0])
        others = source.x.exp().sum() + pooled.square().sum() + (even.x * odd.x).sum()
        return (second * third.sin()).sum() + others

    expected = torch.autograd.grad(loss(FeatureMap(x)), [x, factors])
    made = loss(FeatureMap.shared(x))
    for _ in range(2):
        torch.autograd.grad(made, stages[0].pointwise, retain_graph=True)  # needs no sum over x
        torch.autograd.grad(made, factors, retain_graph=True)
        found = torch.autograd.grad(made, [x, factors], retain_graph=True)
        for mine, its in zip(found, expected, strict=True):
            torch.testing.assert_close(mine, its, rtol=1e-5, atol=1e-5)


def test_a_shared_norm_moves_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Edges that share a pool share its norm: the running moments move once in a step."""
    moved = {}
    for switch in ("on", "off"):
        monkeypatch.setenv("EDARTS_KERNELS", switch)
        generator = torch.Generator().manual_seed(6)
        x = normal(generator, 3, 4, 6, 6).requires_grad_()
        bn, source = nn.BatchNorm2d(4, affine=False), FeatureMap.shared(x)
        y = kernels.node([Term(source, norm=bn), Term(source)])
        z = kernels.node([Term(source, norm=bn), Term(FeatureMap(y))])
        assert int(bn.num_batches_tracked or 0) == 1
        moved[switch] = (z.detach(), bn.running_var, *torch.autograd.grad(z.square().sum(), x))
    for mine, its in zip(*moved.values(), strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-5, atol=1e-5)


def test_results_do_not_depend_on_threads() -> None:
    threads, results = torch.get_num_threads(), []
    for count in (1, 2):
        torch.set_num_threads(count)
        generator = torch.Generator().manual_seed(0)
        x = normal(generator, 33, 8, 9, 9).contiguous(memory_format=torch.channels_last)
        terms = terms_of(generator, x.requires_grad_(), 5, 1, 2, affine=True)
        factors = normal(generator, len(terms)).requires_grad_()
        y = kernels.node(terms, list(factors.unbind()))
        leaves = [x, factors, *(t for term in terms for t in term.parameters())]
        results.append([y, *torch.autograd.grad(y, leaves, normal(generator, *y.shape))])
    torch.set_num_threads(threads)
    for one, two in zip(*results, strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize("together", [1, 3])
def test_sums_in_groups_are_those_of_all_at_once(
    together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node adds up its terms, and their products with its gradient, a few at a time."""
    results = []
    for count in (together, 1000):
        generator = torch.Generator().manual_seed(0)
        x = normal(generator, 3, 8, 9, 9).contiguous(memory_format=torch.channels_last)
        terms = terms_of(generator, x.requires_grad_(), 3, 1, 1, affine=True)
        assert len(terms) % 3 > 0  # a group is not full
        monkeypatch.setattr(nodes, "TOGETHER", count * 4 * x.numel())
        factors = normal(generator, len(terms)).requires_grad_()
        y = kernels.node(terms, list(factors.unbind()))
        leaves = [x, factors, *(t for term in terms for t in term.parameters())]
        results.append([y, *torch.autograd.grad(y, leaves, normal(generator, *y.shape))])
    for some, all_of_them in zip(*results, strict=True):
        torch.testing.assert_close(some, all_of_them, rtol=1e-5, atol=1e-5)


FIRST_RUN = Path(__file__).with_name("first_run.py")
KEPT = Path(sys.prefix) / "first_run.txt"
"""What `make loops` computed as it compiled."""


def kept() -> bool:
    """Whether what was computed is what would be computed now."""
    sources = [FIRST_RUN, *Path(kernels.__file__).parents[1].rglob("*.py")]
    return KEPT.exists() and KEPT.stat().st_mtime > max(p.stat().st_mtime for p in sources)


@pytest.mark.processes
@pytest.mark.timeout(300)
def test_first_run_equals_those_after_it(tmp_path: Path) -> None:
    """Freshly compiled loops and those read from the cache give the same bits."""
    first = KEPT
    if not kept():
        first = tmp_path / "first_run.txt"
        environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
        command = [sys.executable, str(FIRST_RUN), str(first)]
        subprocess.run(command, env=environment, check=True)
    for _ in range(2):  # the cache beside the sources may be empty the first time
        later = Forked([str(FIRST_RUN)], tmp_path)
        assert later.wait() == 0, later.err
    assert later.out == first.read_text(encoding="utf-8") + "\n"
    assert len(later.out.split()) == 12


LOADED = """
from edarts.nn.kernels.compiled import load_loops
loops = load_loops()
parts = *loops.passes.examples(), *loops.stages.examples()
print([len(function.overloads) for function, _ in parts])
"""


@pytest.mark.processes
def test_parts_are_read_before_the_loops_that_call_them() -> None:
    """Else those use copies of their own, which may take twice the time."""
    kernels.warm_up()
    done = subprocess.run(
        [sys.executable, "-c", LOADED], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[1, 1, 1, 1, 1]\n"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_narrow_vectors(tmp_path: Path) -> None:
    """The same tests pass with vectors of eight numbers, as without AVX-512."""
    here = Path(__file__)
    tests = [f"{here}::{name}" for name in NARROW] + [str(here.with_name("test_planned.py"))]
    command = [sys.executable, str(here.with_name("narrow.py")), *tests]
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


NARROW = (
    "test_node_equals_its_plain_twin",
    "test_nodes_add_up_the_gradient_of_a_shared_source",
    "test_halves_equal_slices",
    "test_max_pool_equals_its_plain_twin",
    "test_average_pool_equals_its_plain_twin",
    "test_pixel_means_equal_their_plain_twin",
    "test_moments_far_from_zero",
)


def test_moments_far_from_zero() -> None:
    """No cancellation: the variance of numbers around 1000."""
    x = 1000 + 0.1 * normal(torch.Generator().manual_seed(0), 5000, 3)
    moments = torch.empty(2, 3)
    load_loops().moments(x.view(-1).numpy(), moments.numpy())
    expected = x.double().var(0, unbiased=False).float()
    torch.testing.assert_close(moments[1], expected, rtol=1e-3, atol=0)


def test_layout_twins() -> None:
    x = torch.randn(3, 4, 7, 6, dtype=torch.float64, requires_grad=True)
    y = torch.randn(3, 2, 7, 6, dtype=torch.float64, requires_grad=True)
    assert torch.equal(concat([x, y]), torch.cat([x, y], 1))
    assert torch.autograd.gradcheck(lambda a, b: concat([a, b]), (x, y))


@pytest.mark.parametrize("sides", [(8, 6), (7, 6), (8, 5), (7, 5), (1, 1)])
@pytest.mark.parametrize("channels", [3, 16])
def test_halves_equal_slices(channels: int, sides: tuple[int, int]) -> None:
    """Zeros stand past the end of odd sides."""
    height, width = sides
    x = torch.randn(3, channels, *sides, requires_grad=True)
    g = torch.randn(2, 3, channels, -(-height // 2), -(-width // 2))
    parts = halves(x)
    padded = functional.pad(x, (0, width % 2, 0, height % 2))
    slices = [padded[:, :, offset::2, offset::2] for offset in (0, 1)]
    for half, plain_half in zip(parts, slices, strict=True):
        assert torch.equal(half, plain_half)
    (mine,) = torch.autograd.grad(parts, x, list(g))
    (plain,) = torch.autograd.grad(slices, x, list(g))
    assert torch.equal(mine, plain)
    with torch.no_grad():
        assert torch.equal(halves(x)[1], parts[1])


def test_no_path_is_chosen_by_size_while_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    """The matrix product is for few pixels; a trace must hold for many."""
    weight = torch.randn(5, 6, 1, 1)

    def kinds(side: int) -> set[str]:
        x = torch.randn(2, 6, side, side)
        traced = torch.jit.trace(lambda x: pointwise_conv2d(x, weight), (x,), check_trace=False)
        return {node.kind() for node in traced.graph.nodes()}

    assert kinds(4) == kinds(60)
    assert "aten::linear" not in kinds(4)
    x = torch.randn(2, 6, 4, 4)
    assert few_pixels(x)
    assert not few_pixels(torch.randn(2, 6, 60, 60))
    monkeypatch.setenv("EDARTS_KERNELS", "off")
    assert not few_pixels(x)


@pytest.mark.parametrize("side", [4, 40])
def test_pointwise_equals_plain(side: int) -> None:
    x, w = torch.randn(4, 6, side, side), torch.randn(5, 6, 1, 1)
    torch.testing.assert_close(
        pointwise_conv2d(x, w), functional.conv2d(x, w), rtol=1e-4, atol=1e-5
    )


@settings(max_examples=30, deadline=None)
@given(
    shape=st.tuples(*(st.integers(1, n) for n in (3, 20, 9, 9))),
    kernel=st.sampled_from([3, 5]),
    stride=st.integers(1, 2),
    ties=st.booleans(),
)
def test_max_pool_equals_its_plain_twin(
    shape: tuple[int, int, int, int], kernel: int, stride: int, ties: bool
) -> None:
    x = normal(torch.Generator().manual_seed(sum(shape)), *shape)
    x = (x.round() if ties else x).requires_grad_()
    y = kernels.max_pool2d(x, kernel, stride)
    assert "MaxPoolFunctionBackward" in str(y.grad_fn)
    plain = functional.max_pool2d(x, kernel, stride, kernel // 2)
    assert torch.equal(y, plain)
    g = normal(torch.Generator().manual_seed(1), *y.shape)
    mine, its = (torch.autograd.grad(z, x, g)[0] for z in (y, plain))
    torch.testing.assert_close(mine, its)


@settings(max_examples=30, deadline=None)
@given(
    shape=st.tuples(*(st.integers(1, n) for n in (3, 20, 9, 9))),
    kernel=st.sampled_from([1, 3, 5]),
    stride=st.integers(1, 2),
)
def test_average_pool_equals_its_plain_twin(
    shape: tuple[int, int, int, int], kernel: int, stride: int
) -> None:
    """What lies beyond the edge does not count."""
    x = normal(torch.Generator().manual_seed(sum(shape)), *shape).requires_grad_()
    y = kernels.average_pool2d(x, kernel, stride)
    assert "AveragePoolFunctionBackward" in str(y.grad_fn)
    exact = x.double()
    plain = functional.avg_pool2d(exact, kernel, stride, kernel // 2, count_include_pad=False)
    torch.testing.assert_close(y.double(), plain, rtol=1e-5, atol=1e-6)
    g = normal(torch.Generator().manual_seed(1), *y.shape)
    mine, its = (torch.autograd.grad(z, x, h)[0] for z, h in ((y, g), (plain, g.double())))
    torch.testing.assert_close(mine, its, rtol=1e-5, atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(shape=st.tuples(*(st.integers(1, n) for n in (3, 20, 5, 5))), rectified=st.booleans())
def test_pixel_means_equal_their_plain_twin(
    shape: tuple[int, int, int, int], rectified: bool
) -> None:
    """Of a source whose gradient others add to, before and after."""
    x = normal(torch.Generator().manual_seed(sum(shape)), *shape).requires_grad_()
    source = FeatureMap.shared(x)
    (y,) = source.means(rectified)
    assert "MeanFunctionBackward" in str(y.grad_fn)
    exact = torch.relu(x.double()) if rectified else x.double()
    plain = exact.mean((2, 3))
    torch.testing.assert_close(y.double(), plain, rtol=1e-5, atol=1e-6)
    (again,) = source.means(rectified)
    g = normal(torch.Generator().manual_seed(1), *y.shape)
    mine = torch.autograd.grad((y * g + 2 * again * g).sum() + source.x.sum(), x)[0]
    its = torch.autograd.grad((3 * plain * g.double()).sum() + x.double().sum(), x)[0]
    torch.testing.assert_close(mine, its, rtol=1e-5, atol=1e-5)


def test_loops_are_not_loaded_without_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """LLVM would end the process, whatever it was doing."""
    compiled.check_room()

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(mmap, "mmap", full)
    with pytest.raises(MemoryError):
        compiled.check_room()


def test_threads_without_openmp_are_told_of() -> None:
    script = (
        "import torch; torch.set_num_threads(2)\n"
        "from edarts.nn.kernels import warm_up\n"
        "warm_up(lambda text: print(text))"
    )

    def said(**variables: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", script],
            env=os.environ | variables,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    assert "apt-get install libgomp1" in said(NUMBA_THREADING_LAYER="workqueue")


@pytest.mark.parametrize("broken", ["pointwise", "x"])
def test_what_is_no_number_is_not_hidden(broken: str) -> None:
    """A ReLU of it is no number either, as PyTorch has it."""
    torch.manual_seed(0)
    x = torch.randn(2, 16, 8, 8)
    norm, first, second = (nn.BatchNorm2d(16) for _ in range(3))
    wide, narrow = torch.randn(16, 1, 3, 3), torch.randn(16, 16, 1, 1)
    (x if broken == "x" else narrow).mul_(torch.nan)
    stages = (SeparableStage(wide, narrow, 1, 1, norm), SeparableStage(wide, narrow, 1, 1, first))
    assert kernels.node([Term(FeatureMap(x), stages, second)]).isnan().all()
