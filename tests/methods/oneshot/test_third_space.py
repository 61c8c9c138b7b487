"""A space that no file of the project knows is searched, trained, evaluated, drawn and read."""

import ast
import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import edarts
from edarts import SearchConfig, Session, Size, TrainConfig, UsageError, registry
from edarts.config import is_black_box
from edarts.nn.mirrored import Mirrored
from edarts.reporting.reports import BlackBoxReport
from edarts.space import architecture
from edarts.space.cell_picture import short_name
from edarts.testing import blackbox, oneshot, spaces
from edarts.testing.problems import tiny_data
from nas_bench_201 import EDGES, OPERATIONS, Cell201, NasBench201, Supernet, a_cell

TINY = {"epochs": 2, "batch_size": 8, "cells": 3, "channels": 4}
ONE_SHOT: dict[str, dict[str, Any]] = {
    "darts": {},
    "edarts": {},
    "gdas": {},
    "snas": {"constraint": "none"},
    "proxyless": {},
    "random_ws": {"samples": 5},
    "drnas": {"channel_fraction": 1.0},
    "pc_darts": {"channel_fraction": 1.0},
}
BLACK_BOX: dict[str, dict[str, Any]] = {
    "random_search": {"trials": 3},
    "regularized_evolution": {"trials": 5, "population": 2, "tournament": 2},
    "optuna:TPESampler": {"trials": 3},
}


@pytest.fixture(autouse=True)
def known(nothing_handed_in: None) -> None:
    registry.add("spaces", NasBench201)


def config(method: str) -> SearchConfig:
    own = ONE_SHOT[method] if method in ONE_SHOT else BLACK_BOX[method]
    return SearchConfig.of(method, space=NasBench201, **TINY, **own)


def session(folder: Path) -> Session:
    return Session(out=folder, device="cpu")


@pytest.mark.parametrize("method", [*ONE_SHOT, *BLACK_BOX])
def test_a_search_leaves_all_that_a_run_has(method: str, tmp_path: Path) -> None:
    found = edarts.search(tiny_data(), config(method), session(tmp_path))
    assert isinstance(found.genotype, Cell201)
    assert found.genotype in NasBench201()
    assert architecture.load(tmp_path / "genotype.json") == found.genotype
    assert found.to_dict()["genotype"] == found.genotype.to_dict()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert len(lines) == (BLACK_BOX[method]["trials"] if is_black_box(method) else TINY["epochs"])
    assert all(line["genotype"]["format"] == Cell201.FORMAT for line in lines)
    drawing = (tmp_path / "cell.svg").read_text()
    assert all(
        drawing.count(f">{short_name(name)}<") == found.genotype.names.count(name)
        for name in OPERATIONS
    )
    assert ">input<" in drawing
    assert (tmp_path / "cell.png").exists()
    page = (tmp_path / "report.html").read_text()
    assert "<svg" in page
    assert "nor_conv" in page or "nor_conv" not in str(found.genotype)
    before = (tmp_path / "metrics.jsonl").read_bytes()
    again = edarts.search(tiny_data(), config(method), session(tmp_path))
    assert again.genotype == found.genotype
    assert (tmp_path / "metrics.jsonl").read_bytes() == before


def test_what_is_found_is_trained_evaluated_and_loaded(tmp_path: Path) -> None:
    edarts.search(tiny_data(), config("darts"), session(tmp_path / "search"))
    data, out = tiny_data(), tmp_path / "train"
    recipe = TrainConfig(epochs=2, batch_size=8, cells=3, channels=4)
    trained = edarts.train(str(tmp_path / "search"), data, recipe, session(out))
    assert isinstance(trained.genotype, Cell201)
    model = edarts.load_model(out)
    assert model.architecture == trained.genotype
    network = model.architecture.build(model.size, model.image, len(model.classes))
    assert isinstance(model.network, Mirrored)
    network.load_state_dict(model.network.network.state_dict())
    x = torch.randn(3, *model.image)
    assert torch.equal(network.eval()(x), model.network.network.eval()(x))
    again = edarts.train(trained.genotype, data, recipe, session(tmp_path / "object"))
    assert again.parameters == trained.parameters
    report = (out / "report.html").read_text()
    assert "<svg" in report


def test_find_searches_it_too(folder: Path, tmp_path: Path) -> None:
    recipe = TrainConfig(epochs=2, batch_size=8, cells=3, channels=4)
    out = tmp_path / "found"
    # Alone: the images tell the classes apart by chance, so who would win a race is chance too.
    found = edarts.find(str(folder), config("darts"), recipe, session(out), candidates="found")
    assert isinstance(found.genotype, Cell201)
    assert 0 <= found.test_accuracy <= 1
    evaluated = edarts.evaluate(out, session=Session(device="cpu"))
    assert evaluated.genotype == found.genotype
    assert evaluated.test_accuracy == found.test_accuracy


def test_a_supernet_of_it_scores_for_black_box_methods(tmp_path: Path) -> None:
    edarts.search(tiny_data(), config("darts"), session(tmp_path / "net"))
    score = f"supernet:{tmp_path / 'net'}"
    judged = SearchConfig.of("random_search", space=NasBench201, trials=4, score=score)
    found = edarts.search(tiny_data(), judged, session(tmp_path / "judged"))
    assert isinstance(found.genotype, Cell201)
    assert isinstance(found, BlackBoxReport)
    assert 0 <= found.score <= 1


def test_a_study_compares_methods_on_it(folder: Path, tmp_path: Path) -> None:
    """Two methods, each beside a cell drawn from the space that it searched."""
    recipe = TrainConfig(epochs=1, batch_size=8, cells=3, channels=4, valid_fraction=0.2)
    found = edarts.compare(
        str(folder),
        SearchConfig.of_many(space=NasBench201, **TINY, trials=2),
        recipe,
        session(tmp_path / "study"),
        seeds=1,
        methods="darts,random_search",
        random_cells=1,
    )
    assert len(found.rows) == 3  # searches of one space share the cells drawn from it
    assert all(isinstance(row.genotype, Cell201) for row in found.rows)
    assert "<svg" in (tmp_path / "study" / "report.html").read_text()


@pytest.mark.parametrize("seed", range(3))
def test_one_hot_weights_are_the_network(seed: int) -> None:
    torch.manual_seed(seed)
    space, cell = NasBench201(), a_cell(seed)
    size, image = Size(4, 4), (3, 12, 12)
    supernet = space.supernet(size, image, 5)
    assert isinstance(supernet, Supernet)
    network = cell.build(size, image, 5)
    shared = {k: v for k, v in supernet.state_dict().items() if k in network.state_dict()}
    network.load_state_dict(shared)
    weights = space.weights_of(cell)
    assert torch.equal(weights["cell"].sum(-1), torch.ones(len(EDGES)))
    x = torch.randn(6, *image)
    torch.testing.assert_close(supernet(x, weights), network(x))


def test_the_tables_and_the_decisions() -> None:
    space = NasBench201()
    assert space.size() == 15_625
    assert space.shape("cell") == (6, 5)
    assert space.incoming("cell") == {1: [0], 2: [1, 2], 3: [3, 4, 5]}
    for seed in range(20):
        cell, draw = a_cell(seed), random.Random(seed)
        assert cell in space
        assert space.decode(space.encode(cell)) == cell
        assert space.derive(space.chosen(cell)) == cell
        assert architecture.from_dict(cell.to_dict()) == cell
        changed = space.mutate(cell, draw)
        assert sum(a != b for a, b in zip(cell.names, changed.names, strict=True)) <= 1
    with pytest.raises(UsageError, match="no cell of nas_bench_201"):
        Cell201(("none",))


def test_what_cannot_search_it_says_why() -> None:
    for method, reason in {
        "enas": "needs --space enas",
        "fair_darts": "leave out operation 'none'",
        "p_darts": "this space cannot",
        "snas": "states no costs of its operations: --constraint none",
        "pc_darts": "passes all channels",
    }.items():
        with pytest.raises(UsageError, match=reason):
            oneshot.run_search(
                oneshot.tiny_config(method, space=NasBench201, epochs=3), tiny_data()
            )


@pytest.mark.parametrize(
    "check",
    [oneshot.check_seeds, oneshot.check_seam, oneshot.check_resume, oneshot.check_planted_cell],
)
def test_the_contract_of_methods_holds_on_it(check: Any) -> None:
    check("darts", space=NasBench201)


@pytest.mark.parametrize("check", spaces.CHECKS)
def test_the_contract_of_spaces_holds_for_it(check: Any) -> None:
    check(NasBench201)


@pytest.mark.parametrize("check", [blackbox.check_ledger_seeds, blackbox.check_ledger_plain])
def test_the_contract_of_samplers_holds_on_it(check: Any) -> None:
    check("random_search", space=NasBench201)


# -- the rule that keeps it so --------------------------------------------------------------------

WORDS = {"KINDS", "INPUTS"}


def test_no_file_outside_of_the_space_knows_the_cell_space() -> None:
    """KINDS and INPUTS of the genotype are the space's own; `pairs` of a space is gone."""
    root = Path(edarts.__file__).parent
    found = [
        f"{file.relative_to(root)}: {name}"
        for file in sorted(root.rglob("*.py"))
        if file.parent.name != "space"
        for name in uses(ast.parse(file.read_text(encoding="utf-8")))
    ]
    assert found == []


def uses(tree: ast.Module) -> list[str]:
    """The forbidden names that a module takes from others."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("edarts"):
            found += [alias.name for alias in node.names if alias.name in WORDS]
        elif isinstance(node, ast.Attribute) and node.attr in {*WORDS, "pairs"}:
            found.append(node.attr)
        elif isinstance(node, ast.keyword) and node.arg == "pairs":
            found.append("pairs=")
    return found


def test_the_rule_can_be_broken() -> None:
    assert uses(ast.parse("from edarts.space.genotype import KINDS, Edge")) == ["KINDS"]
    assert uses(ast.parse("genotype.INPUTS + len(space.pairs)")) == ["INPUTS", "pairs"]
    assert uses(ast.parse("Space(pairs=True)")) == ["pairs="]
    assert issubclass(Supernet, nn.Module)
