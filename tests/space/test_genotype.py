"""Genotypes: reading, writing, canonical order, refusals."""

import json
import random
from pathlib import Path

import pytest

from edarts import DartsSpace, EdartsError, Edge, Genotype, UsageError
from edarts.space import zoo

V2 = zoo.get("darts.v2").genotype


def test_json_round_trip_and_hash() -> None:
    for seed in range(20):
        genotype = DartsSpace().sample(random.Random(seed))
        again = Genotype.parse(genotype.to_json())
        assert again == genotype
        assert hash(again) == hash(genotype)


def test_short_form_and_order() -> None:
    fields = {
        "normal": [["sep_conv_3x3", 1], ["skip_connect", 0]],
        "reduce": [["skip_connect", 0], ["skip_connect", 1]],
    }
    genotype = Genotype.from_dict(fields)
    assert genotype.normal == (Edge("skip_connect", 0, 2), Edge("sep_conv_3x3", 1, 2))
    fields["normal"].reverse()
    assert Genotype.from_dict(fields) == genotype
    assert genotype.normal_concat == (2,)


def test_the_text_that_darts_prints() -> None:
    text = (
        "Genotype(normal=[('sep_conv_3x3', 0), ('skip_connect', 1)], normal_concat=range(2, 3),"
        " reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1)], reduce_concat=list(range(2, 3)))"
    )
    assert Genotype.parse(text).describe("normal") == "2:sep3(0)+skip(1)"


def test_the_text_that_describe_writes() -> None:
    fields = V2.to_dict() | {kind: V2.describe(kind) for kind in ("normal", "reduce")}
    assert Genotype.from_dict(fields) == V2


def test_a_missing_node_takes_its_edges_along() -> None:
    # node 3 has no edges, so node 4 has none either
    cell = "2:sep3(0) 4:skip(3) 5:skip(4)+sep5(0)+sep5(0)"
    genotype = Genotype.from_dict({"normal": cell, "reduce": cell, "normal_concat": [2, 5]})
    assert genotype.describe("normal") == "2:sep3(0) 5:sep5(0)+sep5(0)"
    with pytest.raises(UsageError, match="output node 4 has no edges"):
        Genotype.from_dict({"normal": cell, "reduce": cell, "normal_concat": [2, 4, 5]})


def test_none_makes_a_node_zero_or_vanishes() -> None:
    cell = "2:sep3(0)+none(1) 3:none(1)+none(0) 4:skip(3)"
    genotype = Genotype.from_dict({"normal": cell, "reduce": cell})
    assert genotype.describe("normal") == "2:sep3(0) 3:none(0) 4:skip(3)"
    assert genotype.normal_concat == (2, 3, 4)
    assert Genotype.parse(genotype.to_json()) == genotype


def test_loose_ends() -> None:
    cell = "2:sep3(1)+sep3(1) 3:max3(1)+avg3(1) 4:sep5(1)+sep5(3)"
    fields = {"normal": cell, "reduce": cell, "normal_concat": "loose ends"}
    genotype = Genotype.from_dict(fields)
    assert genotype.normal_concat == (0, 2, 4)
    assert genotype.reduce_concat == (2, 3, 4)


def test_preprocessing_is_kept() -> None:
    genotype = Genotype.from_dict(V2.to_dict() | {"preprocessing": "enas"})
    assert genotype != V2
    assert Genotype.parse(genotype.to_json()) == genotype
    assert "preprocessing" not in V2.to_dict()
    assert Genotype.from_dict(V2.to_dict() | {"plumbing": "enas"}) == genotype  # its old name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"normal": [["sep_conv_3x4", 0, 2]]}, "did you mean sep_conv_3x3"),
        ({"normal": [["skip_connect", 3, 2]]}, "forward"),
        ({"normal": [["skip_connect", 2, 3]]}, "no edges"),
        ({"normal": [["none", 0, 2]]}, "none"),
        ({"normal": []}, "no edges"),
        ({"normal": [["skip_connect"]]}, "entry 0"),
        ({"normal": "skip"}, "no list"),
        ({"normal": "2:skip(0)+sep3"}, "nor a text such as"),
        ({"normal": "2:sep33(0)"}, "unknown short name of an operation 'sep33'; did you mean sep3"),
        ({"normal": 3}, "no list"),
        ({"preprocessing": "dart"}, "unknown preprocessing 'dart'; did you mean darts"),
        ({"normal_concat": [9]}, "output node 9"),
        ({"normal_concat": "all"}, "no list of nodes"),
    ],
)
def test_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Genotype.from_dict(V2.to_dict() | change)


def test_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "g.json"
    for text in ("{", "[]", "__import__('os')", json.dumps({"normal": 1})):
        path.write_text(text)
        with pytest.raises(EdartsError, match=r"g\.json: damaged genotype"):
            Genotype.load(path)
    with pytest.raises(EdartsError, match="no such file"):
        Genotype.load(tmp_path / "absent.json")
