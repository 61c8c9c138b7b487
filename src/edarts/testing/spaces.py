"""Contract tests of spaces and baselines: what they return is kept, drawn and built.

Each check takes the class, uses plain asserts, and needs no test framework.
"""

import json
import random
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from edarts.errors import UsageError
from edarts.space import architecture as architectures
from edarts.space.base import Architecture, SearchSpace, Size
from edarts.testing.others import Skipped, weights_of
from edarts.testing.problems import SEED

Check = Callable[[Any], None]
DRAWS = 20
SIZE = Size(3, 4)
IMAGES = (((1, 8, 8), 2), ((3, 9, 12), 5))
"""(C, H, W) and classes."""


def _space(kind: Any) -> SearchSpace:
    made: SearchSpace = kind.of(kind.Options())
    return made


def _drawn(space: SearchSpace, count: int = DRAWS) -> list[Any]:
    draw = random.Random(SEED)
    return [space.sample(draw) for _ in range(count)]


# -- spaces --------------------------------------------------------------------------------------


def check_samples(kind: Any) -> None:
    """Drawn architectures are of the class that it names, lie in it, and are drawn by the seed."""
    space = _space(kind)
    drawn = _drawn(space)
    assert drawn == _drawn(space), "the same seed draws others"
    assert len(set(drawn)) > 1 or space.size() == 1, "all drawn are alike"
    assert space.key() == _space(kind).key(), "`key` is another for the same space"
    for found in drawn:
        assert isinstance(found, kind.Architecture), f"{found} is no {kind.Architecture.__name__}"
        if space.has_supernet:
            assert found in space and space.supports(found), f"{found} lies outside"


def check_tables(kind: Any) -> None:
    """`derive` and `chosen` are inverse to each other; weights count what is chosen."""
    space = _space(kind)
    if not space.has_supernet:
        for derived in (space.derive, space.chosen):
            _refuses(lambda f=derived: f({}))  # type: ignore[misc]
        return
    for group in space.groups:
        rows, columns = space.shape(group)
        assert rows > 0 and columns > 0, f"group {group} is empty"
        assert set(space.eligible(group)) <= set(space.candidates(group))
        assert sorted(r for rows in space.incoming(group).values() for r in rows) == [*range(rows)]
    for found in _drawn(space):
        chosen = space.chosen(found)
        assert set(chosen) == set(space.groups)
        assert space.derive(chosen) == found, f"{found} cannot be derived again"
        for group, weights in space.weights_of(found).items():
            assert weights.shape == space.shape(group), f"{group}: {tuple(weights.shape)}"
            assert int(weights.sum()) == len(chosen[group])
            names = {space.candidates(group)[column] for _, column in chosen[group]}
            assert names <= set(space.eligible(group)), f"{found} carries one that is not eligible"


def _refuses(call: Callable[[], Any]) -> None:
    try:
        call()
    except UsageError:
        return
    raise AssertionError("a space without tables derives from one")


def check_decisions(kind: Any) -> None:
    """Drawn and changed decisions are options and stand for architectures; `encode` inverts."""
    space, draw = _space(kind), random.Random(SEED)
    decisions = space.sample_decisions(draw)
    seen = {str(decisions)}
    for _ in range(DRAWS):
        decisions = space.mutate_decisions(decisions, draw)
        seen.add(str(decisions))
        assert set(decisions) == set(space.decisions()), "other decisions than those of the space"
        for name, option in decisions.items():
            assert option in space.decisions()[name], f"{option} is no option of {name}"
        found = space.decode(decisions)
        try:
            again = space.encode(found)
        except UsageError:
            assert not space.has_supernet, "only a space without a supernet need not encode"
        else:
            assert space.decode(again) == found, f"{found} is encoded as another"
    assert len(seen) > 1 or space.size() == 1, "nothing changes"


def check_kept(kind: Any) -> None:
    """An architecture is read back from its JSON as it was, and can be shown."""
    for found in _drawn(_space(kind), 5):
        kept(found)


def check_networks(kind: Any) -> None:
    """Networks of what is drawn learn from images of several shapes and numbers of classes."""
    for found in _drawn(_space(kind), 2):
        builds(found)


def check_supernet(kind: Any) -> None:
    """With the weights of an architecture the supernet computes what its network computes.

    Parameters of the same shape get the same numbers in both, so this can be told only where both
    have the same shapes. Norms are new and use their running statistics, which do next to nothing,
    as only one of the two may norm its pools.
    """
    space = _space(kind)
    if not space.has_supernet:
        _refuses(lambda: space.supernet(SIZE, (1, 8, 8), 2))
        return
    torch.manual_seed(SEED)
    net = space.supernet(SIZE, (1, 9, 8), 3).eval()
    shapes = _fill(net)
    images = torch.randn(4, 1, 9, 8)
    for found in _drawn(space, 3):
        network = found.build(SIZE, (1, 9, 8), 3).eval()
        if not _fill(network) <= shapes:
            raise Skipped("its networks have parameters of other shapes than its supernet")
        with torch.no_grad():
            logits, wanted = net(images, space.weights_of(found)), network(images)
        difference = float((logits - wanted).norm() / wanted.norm())
        assert difference < 1e-2, f"{found}: the supernet differs by {difference:.2g} of the logits"


def _fill(module: nn.Module) -> set[tuple[int, ...]]:
    """Give every parameter but those of norms numbers that its shape tells; returns the shapes."""
    parameters = weights_of(module)
    for parameter in parameters:
        draw = torch.Generator().manual_seed(hash(tuple(parameter.shape)) % 2**31)
        spread = 2 * parameter[0].numel() ** -0.5
        parameter.data = torch.randn(parameter.shape, generator=draw) * spread
    return {tuple(parameter.shape) for parameter in parameters}


CHECKS: tuple[Check, ...] = (
    check_samples,
    check_tables,
    check_decisions,
    check_kept,
    check_networks,
    check_supernet,
)


# -- baselines -----------------------------------------------------------------------------------


def check_baseline(kind: Any) -> None:
    """It is an architecture that needs no argument, is kept as JSON, and can be shown."""
    assert isinstance(kind(), Architecture), f"{kind.__name__} is no Architecture"
    kept(kind())


def check_baseline_networks(kind: Any) -> None:
    """Its network learns from images of several shapes and numbers of classes."""
    builds(kind())


BASELINES: tuple[Check, ...] = (check_baseline, check_baseline_networks)


# -- architectures -------------------------------------------------------------------------------


def kept(found: Architecture) -> None:
    """The architecture is hashable, survives JSON, and says what it is. Raises AssertionError."""
    fields = json.loads(found.to_json())
    assert fields == json.loads(json.dumps(found.to_dict()))
    assert fields["format"] == found.FORMAT, f"format {fields.get('format')}, not {found.FORMAT}"
    again = architectures.from_dict(fields)
    assert again == found and hash(again) == hash(found), f"{found} is read back as {again}"
    assert again.digest() == found.digest()
    assert found.draw("title").panels, "nothing is drawn"
    for headings in (found.lines(), found.details()):
        assert all("\n" not in text for text in headings.values())
    assert "object at 0x" not in str(found), "`str` says nothing of it"


def builds(found: Architecture) -> None:
    """Its networks return finite logits, and learn by finite gradients. Raises AssertionError."""
    for image, classes in IMAGES:
        torch.manual_seed(SEED)
        network: Any = found.build(SIZE if found.sized else Size(), image, classes)
        network.set_drop_path(0.0)
        assert tuple(network.image) == image
        logits = network(torch.randn(4, *image))
        assert logits.shape == (4, classes), f"{image}: logits {tuple(logits.shape)}"
        assert logits.isfinite().all(), f"{image}: logits are not finite"
        nn.functional.cross_entropy(logits, torch.arange(4) % classes).backward()
        # What belongs to an input that no operation reads gets none.
        gradients = {n: p.grad for n, p in network.named_parameters() if p.grad is not None}
        assert len(gradients) > 1, f"{image}: nothing learns"
        for name, gradient in gradients.items():
            assert gradient.isfinite().all(), f"the gradient of {name} is not finite"
