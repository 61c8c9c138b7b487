"""The registry: names, objects, collisions, and what was taken from elsewhere."""

from importlib import metadata
from pathlib import Path

import pytest

from edarts import registry
from edarts.config import SearchConfig, TrainConfig
from edarts.errors import EdartsError, UsageError
from edarts.methods.oneshot.darts import Darts
from edarts.space import operations
from edarts.space.operations import Operation


def entry(monkeypatch: pytest.MonkeyPatch, group: str, name: str, value: str) -> None:
    """An entry point of a package that is not installed."""
    found = {name: metadata.EntryPoint(name, value, f"edarts.{group}")}
    known = registry._entry_points
    monkeypatch.setattr(registry, "_entry_points", lambda g: found if g == group else known(g))


def test_built_in_members_are_the_files_that_define_a_plugin() -> None:
    for group, what in registry.GROUPS.items():
        home, _, table = what.home.partition(":")
        if table:
            continue
        folder = Path(registry.__file__).parent.joinpath(*home.split(".")[1:])
        defining = [f.stem for f in sorted(folder.glob("*.py")) if "\nPLUGIN = " in f.read_text()]
        assert registry.names(group)[: len(defining)] == defining
        assert defining


def test_every_built_in_member_knows_its_name() -> None:
    for group in registry.GROUPS:
        for name, plugin in registry.members(group):
            assert registry.name_of(group, plugin) == name
    assert registry.used() == {}


def test_an_unknown_name_is_told_with_the_nearest_ones() -> None:
    with pytest.raises(
        registry.UnknownPlugin, match="unknown method 'dart'; did you mean darts"
    ) as e:
        registry.get("methods", "dart")
    assert (e.value.group, e.value.name) == ("methods", "dart")
    assert isinstance(e.value, UsageError)


class Handed(Darts):
    """A method of this test."""


def test_an_object_stands_for_itself_and_its_name_for_it() -> None:
    assert registry.get("methods", Handed) is Handed
    assert registry.get("methods", "Handed") is Handed
    assert registry.names("methods")[-1] == "Handed"
    assert registry.used() == {"methods Handed": "an object handed in from Python"}
    assert registry.get("methods", Handed) is Handed  # again: the same is no other


def test_a_built_in_object_is_not_taken_for_a_new_one() -> None:
    assert registry.get("methods", Darts) is Darts
    assert "Darts" not in registry.names("methods")
    assert registry.used() == {}


def test_a_name_that_is_taken_is_refused() -> None:
    registry.add("operations", Operation("mine", "mine", None))
    with pytest.raises(UsageError, match="another operation is called mine; give yours another"):
        registry.add("operations", Operation("mine", "yours", None))
    with pytest.raises(UsageError, match="another operation is called conv_1x1"):
        operations.get(Operation("conv_1x1", "other", None))


def test_objects_can_stand_in_configs() -> None:
    assert SearchConfig(method=Handed).method == "Handed"  # type: ignore[arg-type]
    assert SearchConfig.of(Handed, order=2).plugins()[0] is Handed

    class Quick(registry.get("recipes", "shallow")):  # type: ignore[misc]
        """A recipe of this test."""

    assert TrainConfig.of(Quick).recipe == "Quick"


def test_a_member_of_a_package_is_imported_when_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entry(monkeypatch, "methods", "far", "edarts.methods.oneshot.darts:Darts")
    assert registry.names("methods")[-1] == "far"
    assert registry.used() == {}
    assert registry.get("methods", "far") is Darts
    assert registry.used() == {"methods far": "edarts.methods.oneshot.darts:Darts"}


def test_a_member_that_cannot_be_imported_is_named_and_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entry(monkeypatch, "recipes", "gone", "no_such_package:Recipe")
    text = "recipe gone of package .* cannot be imported: ModuleNotFoundError: No module named"
    with pytest.raises(EdartsError, match=text):
        registry.get("recipes", "gone")
    assert [name for name, _ in registry.members("recipes")] == ["darts", "fast", "shallow"]
    (problem,) = registry.problems()
    assert problem.startswith("recipe gone of package")


def test_a_package_cannot_take_the_place_of_a_built_in_member() -> None:
    assert not {*registry._built_in("methods")} & {*registry._entry_points("methods")}


def test_locate_finds_parts_of_objects_and_tables() -> None:
    assert registry.locate("edarts.methods.oneshot.darts:Darts.SPACE") == "darts"
    assert registry.locate("edarts.space.operations:BUILT_IN.none").name == "none"
