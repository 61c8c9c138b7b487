"""ProxylessNAS' trees: the formula of a tree and of a block, parsing, refusals."""

import pytest
import torch

from edarts import Size, UsageError
from edarts.nn import operations as ops
from edarts.nn.trees import Block, ProxylessTrees, Tree, TreeBlock, build

LINE = "18 7(d,i) m(7,m) 5(5,5) d(a,3)"


def test_block_text() -> None:
    block = Block.parse(LINE)
    assert block.width == 18
    assert block.children[0] == ("7", "d", "i")
    assert str(block) == LINE


@pytest.mark.parametrize("name", ["3", "5", "7", "d"])
def test_separable_size(name: str) -> None:
    c, k = 6, {"d": 3}.get(name) or int(name)
    assert ops.count_parameters(build(name, c)) == c * k * k + c * c + 2 * c
    assert build(name, c)(torch.randn(2, c, 5, 4)).shape == (2, c, 5, 4)


def test_tree_equals_its_formula() -> None:
    """Sum over halves x of x + norm(sum over children of leaf1(edge(x)) + leaf2(edge(x)))."""
    torch.manual_seed(0)
    tree = Tree(Block.parse("4 3(i,a) m(5,d) i(i,i) 7(m,3)"))
    for norm in tree.norms:
        torch.nn.init.normal_(norm.weight)
    x = torch.randn(2, 8, 6, 6)
    expected = torch.zeros(2, 4, 6, 6)
    for half, norm in enumerate(tree.norms):
        part = x[:, 4 * half : 4 * half + 4]
        inner = torch.zeros_like(part)
        for child in (2 * half, 2 * half + 1):
            edge, leaf1, leaf2 = tree.branches[child].operations
            inner = inner + leaf1(edge(part)) + leaf2(edge(part))
        expected = expected + part + norm(inner)
    torch.testing.assert_close(tree(x), expected)
    # a child of identities doubles its input
    same = torch.randn(1, 4, 3, 3)
    torch.testing.assert_close(tree.branches[2](same), 2 * same)


def test_block_shortcut() -> None:
    """With the last norm's scale at zero only the shortcut is left: pooled, padded with zeros."""
    block = TreeBlock(6, Block.parse("4 i(i,i) i(i,i) i(i,i) i(i,i)"), stride=2)
    torch.nn.init.zeros_(block.after[3].weight)
    x = torch.randn(2, 6, 8, 8)
    y = block(x)
    assert y.shape == (2, 16, 4, 4)
    torch.testing.assert_close(y[:, :6], torch.nn.functional.avg_pool2d(x, 2))
    assert not y[:, 6:].any()


@pytest.mark.parametrize("image", [(1, 8, 8), (3, 9, 13), (3, 100, 64)])
def test_any_image_halved_twice(image: tuple[int, int, int]) -> None:
    trees = ProxylessTrees((Block.parse("4 3(i,a) m(5,d) i(i,i) 7(m,3)"),) * 6)
    network = trees.build(Size(), image, 4)
    assert network(torch.randn(2, *image)).shape == (2, 4)
    strides = [part.before[4].stride[0] for part in network.features if type(part) is TreeBlock]
    assert strides == [1, 1, 2, 1, 2, 1]


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        (["18 7(d,i) m(7,m) 5(5,5)"], "give a width and four children"),
        (["18 7(d,i) m(7,m) 5(5,5) x(a,3)"], "with the operations i, a, m"),
        ([LINE], "3, 6, 9, ... blocks, got 1"),
        ([LINE.replace("18", "17")] * 3, "must be even"),
        ([LINE, LINE, LINE.replace("18", "16")], "not shrink"),
        (LINE, "a list 'blocks'"),
        ([1], "a list 'blocks'"),
    ],
)
def test_refused(blocks: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ProxylessTrees.from_dict({"blocks": blocks})
