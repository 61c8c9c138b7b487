"""Every method beside its authors' code, and that a method which strays from it is found out."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from edarts import registry
from edarts.methods.oneshot import darts, fair_darts, gdas, snas
from edarts.methods.oneshot.derive import strongest
from edarts.testing import golden, oneshot
from edarts.testing.others import Skipped
from golden.conftest import LARGEST

DOCS = Path(__file__).parents[2] / "docs" / "methods.md"
LOSS = {"logits", "loss and its terms", "gradients of the weights"}
SEARCH = LOSS | {"gradients of alpha", "learning rates", "40 derived cells"}
DRAWS = {"decisions", "log probabilities", "entropies", "loss", "gradients of the weights"}
# What a file must at least hold of what is compared.
COMPARED = {
    "darts": SEARCH | {"gradients of alpha of the second order"},
    "network_darts_v2": LOSS | {"logits of the auxiliary head", "logits in evaluation"},
    "pc_darts": SEARCH | {"gradients of beta", "first epoch of the architecture"},
    "network_pc_darts": LOSS | {"logits of the auxiliary head", "logits in evaluation"},
    "p_darts": SEARCH - {"40 derived cells"}
    | {"40 derived cells with caps of 0 to 8 skips", "operations kept from stage to stage"},
    "fair_darts": SEARCH | {"threshold"},
    "gdas": SEARCH | {"temperatures", "logits as published"},
    "drnas": SEARCH,
    "drnas_k1": LOSS | {"gradients of alpha"},
    "snas": SEARCH | {"temperatures", "costs", "gradients of the cost"},
    "proxyless": LOSS | {"gradients of alpha", "edges that learn", "alphas after a step"},
    "enas": DRAWS,
}
# Of 40 cells, how many differ, and a word of the reason.
ON_PURPOSE = {
    "fair_darts": (9, "without inputs"),
    "gdas": (30, "one edge twice"),
    "drnas": (27, "mean of the distribution"),
    "snas": (10, "without inputs"),
}


@pytest.mark.parametrize("name", golden.COMPARISONS)
def test_ours_is_the_authors(name: str, record_property: Callable[[str, float], None]) -> None:
    found = golden.compare(name)
    largest = max(one.difference for one in found)
    record_property(LARGEST, largest)
    assert COMPARED[name] <= {one.what for one in found}
    assert largest < 1e-10
    assert torch.get_default_dtype() == torch.float32  # nothing else is computed in float64
    reasons = "; ".join(one.on_purpose for one in found)
    counts = [int(count) for count in re.findall(r"(\d+) of 40 cells", reasons)]
    if name in ON_PURPOSE:
        count, word = ON_PURPOSE[name]
        assert counts == [count] and word in reasons
    else:
        assert counts == []


def test_every_file_is_compared() -> None:
    there = {path.stem for path in golden.FOLDER.glob("*.npz")}
    assert there == set(golden.COMPARISONS) == set(COMPARED)
    text = (golden.FOLDER / "README.md").read_text(encoding="utf-8")
    for name in there:
        for part in re.findall(r"[0-9a-f]{40}", golden.Golden(name).text("source")):
            assert part in text, name


def test_methods_without_numbers_are_those_without_code() -> None:
    without = {name for name in registry.names("methods") if not golden.files_of(name)}
    assert without == {"edarts", "random_ws"}
    with pytest.raises(Skipped, match="no numbers of its authors' code"):
        oneshot.check_golden("edarts")
    assert re.fullmatch(r"largest difference \de-1\d", oneshot.check_golden("pc_darts"))


STRAYS = {
    "gdas": (gdas, "COLDEST", 0.2, "temperatures"),
    "snas": (snas, "FACTORS", snas.FACTORS | {"mild": 1e-3}, "loss and its terms"),
    "fair_darts": (fair_darts, "zero_one_loss", lambda _: 0.0, "loss and its terms"),
    "darts": (
        darts,
        "cross_entropy",
        lambda logits, labels: logits.sum(),
        "gradients of alpha of the second",
    ),
}


@pytest.mark.parametrize("name", STRAYS)
def test_a_method_that_strays_is_found_out(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, attribute, value, what = STRAYS[name]
    monkeypatch.setattr(owner, attribute, value)
    with pytest.raises(AssertionError, match=f"{name}: {what}"):
        golden.compare.__wrapped__(name)


def test_another_rule_of_derivation_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    rule = strongest

    def weakest(space: object, weights: dict[str, torch.Tensor]) -> object:
        return rule(space, {kind: -w for kind, w in weights.items()})

    monkeypatch.setattr("edarts.methods.oneshot.alphas.strongest", weakest)
    with pytest.raises(AssertionError, match="darts: 40 derived cells differ"):
        golden.compare.__wrapped__("darts")


def test_the_document_has_the_table() -> None:
    """All but the figures, which rounding changes from machine to machine."""
    figures = re.compile(r"\| \de[-+]\d\d \|")
    text = DOCS.read_text(encoding="utf-8")
    for row in golden.table():
        assert figures.sub("", row) in figures.sub("", text), f"docs/methods.md lacks: {row}"
