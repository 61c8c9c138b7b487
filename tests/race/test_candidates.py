"""Who may race: names, sizes, and limits that nobody exceeds and nobody drops silently."""

import random

import pytest

from edarts import EdartsError, UsageError
from edarts.config import CANDIDATES, Budget, TrainConfig
from edarts.nn.costs import costs
from edarts.nn.whole import Whole
from edarts.race.candidates import FOUND, Candidate, Field, candidates, names
from edarts.space import zoo
from edarts.space.base import Size
from edarts.training import fit

IMAGE, CLASSES = (3, 16, 16), 5
CELL = zoo.get("darts.v2").architecture
CONFIG = fit.resolve_config(TrainConfig(cells=3, channels=8), 1000)


def field(budget: Budget | None = None) -> Field:
    return Field(IMAGE, CLASSES, budget or Budget(), CONFIG)


def those(text: str, budget: Budget | None = None) -> list[Candidate]:
    return candidates(names(text), CELL, field(budget))[0]


def test_the_usual_candidates() -> None:
    found = those(CANDIDATES)
    assert [one.name for one in found] == [
        *("found-16", "found-8", "convnet", "resnet8", "mobilenetv2", "linear")
    ]
    assert [one.found for one in found] == [True, True, False, False, False, False]
    sizes = [Size(3, 16, whitening=True), Size(3, 8, whitening=True), *[Size()] * 4]
    assert [one.size for one in found] == sizes
    for one in found:
        network = one.architecture.build(one.size, IMAGE, CLASSES)
        assert costs(network, IMAGE, Budget()) == one.costs


def test_an_image_and_its_mirror_image_cost_twice() -> None:
    once, twice = (
        candidates(["resnet"], None, Field(IMAGE, CLASSES, Budget(), CONFIG, mirrored))[0][0].costs
        for mirrored in (False, True)
    )
    assert (twice.parameters, twice.flops) == (once.parameters, 2 * once.flops)


def test_zoo_names_are_candidates() -> None:
    found = those("resnet.r20,p_darts.cifar10,found")
    assert [(one.name, one.found) for one in found] == [
        ("resnet.r20", False),
        ("p_darts.cifar10", False),
        ("found-16", True),
        ("found-8", True),
    ]
    assert found[1].size == Size(3, 8, whitening=True)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "candidates names nothing"),
        (" , ", "candidates names nothing"),
        ("found,resnet,found", "candidates names found twice"),
        ("found,resnt", "candidates: unknown architecture .* did you mean resnet"),
    ],
)
def test_wrong_names(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        names(text)


def test_pretrained_weights_need_a_network_of_timm() -> None:
    with pytest.raises(UsageError, match="pretrained is for networks named timm:NAME: none of th"):
        names("found,resnet", pretrained="weights.safetensors")
    config = fit.resolve_config(TrainConfig(pretrained="weights.safetensors"), 1000)
    assert {one.training(config).pretrained for one in those(CANDIDATES)} == {""}


def test_how_each_is_trained() -> None:
    cell, half, plain = those("found,resnet")
    assert cell.training(CONFIG) == fit.resolve_config(TrainConfig(cells=3, channels=16), 1000)
    assert half.training(CONFIG) == CONFIG
    assert plain.training(CONFIG) == fit.resolve_config(TrainConfig(), 1000, whole=True)


def random_budget(rng: random.Random) -> Budget:
    """One to three limits, from what nothing fits to what everything does."""
    limits = {
        "max_parameters": int(10 ** rng.uniform(2.5, 6.5)),
        "max_macs": int(10 ** rng.uniform(3, 8)),
        "max_ram": int(10 ** rng.uniform(0.5, 4)),
    }
    chosen = rng.sample(sorted(limits), rng.randint(1, 3))
    kind = rng.choice(["float32", "int8"])
    return Budget(**{name: limits[name] for name in chosen}, ram_type=kind)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(30))
def test_random_limits_hold(seed: int) -> None:
    """None is exceeded, and whoever is left out is named with the limit that it would exceed."""
    budget = random_budget(random.Random(seed))
    wanted = names(CANDIDATES)
    plain = [c.architecture for c in those("convnet,resnet,mobilenetv2,linear")]
    smallest = [
        costs(design.scaled(1).build(Size(), IMAGE, CLASSES), IMAGE, budget)
        for design in plain
        if isinstance(design, Whole)
    ]
    if not any(cost.within(budget) for cost in smallest):
        with pytest.raises(EdartsError, match="nothing fits the limits; the nearest is"):
            candidates(wanted, CELL, field(budget))
        return
    found, notes = candidates(wanted, CELL, field(budget))
    for one in found:
        network = one.architecture.build(one.size, IMAGE, CLASSES)
        assert costs(network, IMAGE, budget).over(budget) == {}, one.name
    left_out = [note.split(" ")[0] for note in notes]
    assert all("--max-" in note for note in notes)
    there = {one.name.split("-")[0] for one in found}
    every = {"resnet8" if name == "resnet" else name for name in wanted}
    assert there | set(left_out) == every and not there & set(left_out)


def test_as_large_as_the_limit_allows() -> None:
    """The next width up would exceed it."""
    budget = Budget(max_parameters=30_000)
    for one in those("found,convnet,resnet", budget):
        if isinstance(one.architecture, Whole):
            wider = one.architecture.scaled(one.architecture.most + 1).build(Size(), IMAGE, CLASSES)
        elif one.name == those(FOUND, budget)[0].name:
            assert one.size.channels is not None
            size = Size(one.size.cells, one.size.channels + 1, whitening=True)
            wider = one.architecture.build(size, IMAGE, CLASSES)
        else:
            continue
        assert one.costs.within(budget) and not costs(wider, IMAGE, budget).within(budget)


def test_fewer_cells_where_the_narrowest_is_too_large() -> None:
    narrow = CELL.build(Size(3, 1, whitening=True), IMAGE, CLASSES)
    most = costs(narrow, IMAGE, Budget()).parameters - 1
    (one,) = those(FOUND, Budget(max_parameters=most))
    assert one.size == Size(2, 1, whitening=True)


def test_nothing_fits() -> None:
    """A resnet8 of one channel: 29 + 22 + 62 + 232 parameters, and 25 for five classes."""
    with pytest.raises(EdartsError) as caught:
        those("found,resnet,linear", Budget(max_parameters=100))
    assert str(caught.value) == (
        "nothing fits the limits; the nearest is resnet8, at its smallest: parameters"
        " 370 with --max-parameters 100"
    )
    assert caught.value.exit_code == 1
