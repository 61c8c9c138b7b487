"""`edarts check`: what it finds, what it says, and that all that is built in passes."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from torch import nn

import lab_plugins
from edarts import registry
from edarts.cli.main import main
from edarts.errors import UsageError
from edarts.space.base import Chosen
from edarts.space.operations import Operation, Resources
from edarts.testing import check as testing
from edarts.testing import others, spaces, trainings
from edarts.testing.check import Checked, CheckReport, check, checked, members
from support import grey, save_npz, write_images

QUICK = ("operations", "baselines", "exports", "studies", "spaces", "recipes")


MEMBERS = [(group, name) for group in QUICK for name in registry.names(group)]


@pytest.mark.parametrize(("group", "name"), MEMBERS)
def test_what_is_built_in_passes(group: str, name: str) -> None:
    if (group, name) == ("exports", "onnx"):
        for extra in ("onnx", "onnxruntime", "onnxscript"):
            pytest.importorskip(extra)
    assert [str(one) for one in checked(group, name) if one.outcome == "failed"] == []


@pytest.mark.parametrize("group", ["methods", "samplers", "sources"])
def test_options_of_what_is_built_in_pass(group: str) -> None:
    for _, plugin in registry.members(group):
        others.check_options(group, plugin)


def test_sources_pass_with_data_of_their_own(tmp_path: Path) -> None:
    examples = {
        "digits": None,
        "folder": str(write_images(tmp_path / "animals", {"ant": 4, "bee": 4})),
        "npz": save_npz(tmp_path / "a.npz", images=grey(8), labels=[0, 1] * 4),
    }
    for name, data in examples.items():
        for one in others.SOURCES:
            one(registry.get("sources", name), data)


def test_a_name_of_several_groups_is_checked_in_each() -> None:
    assert members("darts") == [(group, "darts") for group in ("methods", "spaces", "recipes")]
    assert members("spaces.darts") == [("spaces", "darts")]
    for name in ("optuna:TPESampler", "optuna", "samplers.optuna"):
        assert members(name) == [("samplers", "optuna:TPESampler")]
    with pytest.raises(UsageError, match="unknown plug-in 'dartz'; did you mean darts"):
        members("dartz")
    with pytest.raises(UsageError, match="unknown recipe 'rapid'; known: darts, fast, shallow"):
        members("recipes.rapid")


def test_the_report_has_a_line_for_each_check() -> None:
    report = CheckReport(
        (
            Checked("recipes.fast", "options", "passed"),
            Checked("recipes.fast", "learns", "failed", "the loss goes from 1 to 2"),
            Checked("recipes.fast", "resume", "skipped", "it cannot"),
        )
    )
    assert report.summary().splitlines() == [
        "passed   recipes.fast  options",
        "failed   recipes.fast  learns: the loss goes from 1 to 2",
        "skipped  recipes.fast  resume: it cannot",
        "1 of 3 checks passed, 1 skipped",
    ]
    assert report.exit_code == 1
    assert report.to_dict()["passed"] is False
    assert report.to_dict()["checks"][0] == {
        "plugin": "recipes.fast",
        "check": "options",
        "outcome": "passed",
        "reason": "",
    }
    assert CheckReport(report.checks[::2]).exit_code == 0


def test_the_verb_prints_it_and_exits_by_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["check", "conv_1x1", "--json"]) == 0
    *lines, total, last = capsys.readouterr().out.splitlines()
    assert total == "6 of 6 checks passed"
    assert len(json.loads(last)["checks"]) == len(lines) == 6
    registry.add("operations", replace(lab_plugins.SQUARE, name="bad", short="skip"))
    assert main(["check", "operations.bad"]) == 1
    printed = capsys.readouterr().out
    assert "failed   operations.bad  names: skip_connect has the short name skip too" in printed


def test_the_plugins_of_a_user_pass() -> None:
    registry.add("operations", lab_plugins.SQUARE)  # which its space names
    for group, plugin in {
        "operations": lab_plugins.SQUARE,
        "spaces": lab_plugins.ChainSpace,
        "baselines": lab_plugins.Plain,
        "sources": lab_plugins.Stripes(),
        "recipes": lab_plugins.Brisk,
        "studies": lab_plugins.Widths,
        "exports": lab_plugins.Numbers,
    }.items():
        registry.add(group, plugin)
        others.check_options(group, plugin)
        for one in registry.locate(testing.CHECKS[group]):
            try:
                one(plugin)
            except others.Skipped:
                assert one is others.check_costs


# -- what is wrong is found ------------------------------------------------------------------------


class Vague:
    """A plug-in whose options collide, say nothing, or can be changed."""

    SPACE: ClassVar[str] = "darts"

    @dataclass(frozen=True)
    class Options:
        """Without a text."""

        odd: int = 1


def test_options_that_do_not_fit_are_found() -> None:
    with pytest.raises(AssertionError, match="option odd has no text under it"):
        others.check_options("methods", Vague)

    @dataclass
    class Loose:
        """Not frozen."""

    class Loosely(Vague):
        Options = Loose

    with pytest.raises(AssertionError, match="Options is not frozen"):
        others.check_options("methods", Loosely)

    @dataclass(frozen=True)
    class Taken:
        """Named as an option of all searches."""

        epochs: int = 1
        """Passes."""

    class Takes(Vague):
        Options = Taken

    with pytest.raises(AssertionError, match="another setting is called epochs too"):
        others.check_options("methods", Takes)


def operation(build: Callable[..., nn.Module], **changes: Any) -> Operation:
    return replace(Operation("bad", "bad", build), **changes)


def floor(channels: int, stride: int, affine: bool, source: int) -> nn.Module:
    return nn.Conv2d(source, channels, 1 + stride, stride)


@pytest.mark.parametrize(
    ("one", "wrong", "text"),
    [
        (others.check_shapes, operation(floor), "stride 1, affine, 4 to 4 channels: 8 x 8"),
        (others.check_names, operation(floor, short="a b"), "the short name a b is no word"),
        (others.check_kind, operation(lab_plugins.square, parameter_free=True), "1 weights"),
        (
            others.check_costs,
            operation(lab_plugins.square, resources=lambda c, side, s: Resources(1, 1, 1)),
            "size 1, counted 576",
        ),
        (
            others.check_gradients,
            operation(lambda c, s, affine, i: lab_plugins.square(c, s, True, i)),
            "a norm has a scale",
        ),
    ],
)
def test_operations_that_are_wrong_are_found(
    one: Callable[[Operation], None], wrong: Operation, text: str
) -> None:
    with pytest.raises(AssertionError, match=text):
        one(wrong)


class Shifted(lab_plugins.ChainSpace):
    """Derives another chain than was chosen."""

    def derive(self, chosen: Chosen) -> lab_plugins.Chain:
        return lab_plugins.Chain(super().derive(chosen).layers[::-1])


def test_spaces_that_are_wrong_are_found() -> None:
    registry.add("operations", lab_plugins.SQUARE)
    with pytest.raises(AssertionError):
        spaces.check_tables(Shifted)
    with pytest.raises(AssertionError):
        spaces.check_samples(Shifted)


class Growing(lab_plugins.Widths):
    """Gives two jobs one name."""

    def jobs(self, rows: Any) -> list[Any]:
        return [replace(job, name="one") for job in super().jobs(rows)]


class Dumb(lab_plugins.Numbers):
    """Writes no file."""

    def write(self, model: Any, out: Path) -> list[Path]:
        return [out]


class Wrong(lab_plugins.Numbers):
    """Opens as something else."""

    def open(self, out: Path) -> Any:
        return lambda images: np.ones((len(images), 2), np.float32) / 3


def test_studies_and_exports_that_are_wrong_are_found() -> None:
    with pytest.raises(AssertionError, match="a probability differs by"):
        others.check_writes(Wrong)
    with pytest.raises(AssertionError, match="two jobs have the same name"):
        trainings.check_jobs(Growing)
    with pytest.raises(AssertionError, match="there are"):
        others.check_writes(Dumb)
    with pytest.raises(AssertionError, match="as if that were a folder"):
        others.check_refuses(Dumb)


def test_any_error_of_a_plugin_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def check_raises(plugin: object) -> None:
        raise ZeroDivisionError("of\nmine")

    def check_says_nothing(plugin: object) -> None:
        raise AssertionError

    monkeypatch.setattr(others, "EXPORTS", (check_raises, check_says_nothing))
    raises, nothing = check("exports.torch").checks[1:]
    assert (raises.check, raises.reason) == ("raises", "ZeroDivisionError: of mine")
    assert nothing.check == "says nothing"
    assert nothing.reason.endswith("raise AssertionError")
