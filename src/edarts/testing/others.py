"""Contract tests of operations, data sources and export formats, and of the options of any plug-in.

Each check takes the plug-in itself, uses plain asserts, and needs no test framework.
"""

import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edarts import registry
from edarts.config import DataConfig, NoOptions, SearchConfig, TrainConfig, docs, option_names
from edarts.data.batches import Transform
from edarts.data.catalogue import Catalogue, check
from edarts.errors import EdartsError
from edarts.nn.operations import build, count_flops
from edarts.runtime import Session
from edarts.space import zoo
from edarts.space.base import Size
from edarts.space.operations import Operation
from edarts.training import evaluation
from edarts.training.models import TrainedModel

Check = Callable[[Any], None]


class Skipped(Exception):
    """A check that cannot be made of this plug-in, and why."""


# -- options -------------------------------------------------------------------------------------

VERB = {"config", "json", "quiet", "help"}
OF_STUDIES = {"study", "kind", "seeds", "dry_run", "search", "train"}
OF_EXPORTS = {"run", "format", "out"}


def check_options(group: str, plugin: Any) -> None:
    """Its options are a frozen dataclass with a default and a text for each, named as nothing else.

    A run's config.yaml is flat, so an option may not be called as another setting of its runs.
    """
    kind = getattr(plugin, "Options", None) or NoOptions
    assert is_dataclass(kind) and isinstance(kind, type), "Options is no dataclass"
    assert kind.__dataclass_params__.frozen, "Options is not frozen"  # type: ignore[attr-defined]
    kind()  # a field without a default raises
    texts, others = docs(kind), _settings(group, plugin)
    for field in fields(kind):
        assert texts.get(field.name), f"option {field.name} has no text under it"
        assert field.name not in others, f"another setting is called {field.name} too"


def _settings(group: str, plugin: Any) -> set[str]:
    """The names of the settings that stand beside the options of a member of `group`."""
    if group == "exports":
        return VERB | OF_EXPORTS
    found = VERB | _names(DataConfig) | _names(Session)
    if group != "sources":
        for _, source in registry.members("sources"):
            found |= option_names(source) if getattr(source, "Options", None) else set()
    if group == "studies":
        return found | OF_STUDIES
    if group in ("methods", "samplers"):
        found |= option_names(registry.get("spaces", plugin.SPACE))
    if group != "recipes":
        found |= _names(SearchConfig)
    if group in ("recipes", "sources"):
        found |= _names(TrainConfig)
    return found


def _names(kind: Any) -> set[str]:
    return {f.name for f in fields(kind)}


# -- operations ----------------------------------------------------------------------------------

CASES = [*product((1, 2), (True, False), (4, 6))]
"""Stride, whether the norms are affine, and the channels of the source."""
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.GroupNorm, nn.InstanceNorm2d)


def _modules(operation: Operation) -> Iterator[tuple[str, nn.Module, int, int]]:
    """What it is in words, the module, its stride and the channels of its source."""
    if operation.build is None:
        raise Skipped("it has no module")
    for stride, affine, source in CASES:
        torch.manual_seed(0)
        text = f"stride {stride}, {'affine' if affine else 'plain'}, {source} to 4 channels"
        yield text, build(operation, 4, stride, affine, source), stride, source


def check_names(operation: Operation) -> None:
    """No other operation has its short name; both names can stand in lists and drawings."""
    assert re.fullmatch(r"\w+", operation.name), f"the name {operation.name} is no single word"
    assert re.fullmatch(r"\w+", operation.short), f"the short name {operation.short} is no word"
    for name, other in registry.members("operations"):
        if name != operation.name:
            assert other.short != operation.short, f"{name} has the short name {other.short} too"


def check_shapes(operation: Operation) -> None:
    """(B, C', H, W) -> (B, C, ceil(H / stride), ceil(W / stride)), odd sizes and one pixel too."""
    for text, module, stride, source in _modules(operation):
        for height, width in ((8, 8), (7, 5), (1, 1)):
            result = module(torch.randn(3, source, height, width))
            wanted = (3, 4, -(-height // stride), -(-width // stride))
            assert result.shape == wanted, f"{text}: {height} x {width} -> {tuple(result.shape)}"
            assert result.isfinite().all(), f"{text}: not finite"


def check_gradients(operation: Operation) -> None:
    """Source and parameters get finite gradients; norms have parameters only where affine."""
    for text, module, _, source in _modules(operation):
        x = torch.randn(3, source, 6, 6, requires_grad=True)
        module(x).square().sum().backward()
        for what, value in [("the source", x), *module.named_parameters()]:
            assert value.grad is not None, f"{text}: {what} gets no gradient"
            assert value.grad.isfinite().all(), f"{text}: the gradient of {what} is not finite"
        norms = [m for m in module.modules() if isinstance(m, NORMS)]
        if "plain" in text:
            assert not any(list(norm.parameters()) for norm in norms), f"{text}: a norm has a scale"


def check_kind(operation: Operation) -> None:
    """`parameter_free` says whether it has no convolution, as it is between maps of one size."""
    if operation.build is None:
        assert operation.parameter_free
        return
    weights = weights_of(build(operation, 4, 1, False))
    assert operation.parameter_free == (not weights), f"it has {len(weights)} weights"


def check_costs(operation: Operation) -> None:
    """What it says that it costs is what its module has and does, by counting."""
    if operation.resources is None:
        raise Skipped("it does not say what it costs")
    for stride in (1, 2):
        stated = operation.resources(8, 6, stride)
        assert min(stated) >= 0, f"stride {stride}: {stated}"
        if operation.build is None:
            continue
        module = build(operation, 8, stride, False)
        size = sum(weight.numel() for weight in weights_of(module))
        assert stated.size == size, f"stride {stride}: size {stated.size}, counted {size}"
        if size:
            flops = count_flops(module, (8, 6 * stride, 6 * stride))
            assert stated.flops == flops, f"stride {stride}: flops {stated.flops}, counted {flops}"


def weights_of(module: nn.Module) -> list[Tensor]:
    """All parameters but those of norms."""
    return [
        parameter
        for part in module.modules()
        if not isinstance(part, NORMS)
        for parameter in part.parameters(recurse=False)
    ]


OPERATIONS: tuple[Check, ...] = (
    check_names,
    check_shapes,
    check_gradients,
    check_kind,
    check_costs,
)


# -- data sources --------------------------------------------------------------------------------


def _example(source: Any, example: str | None) -> str:
    found = example or getattr(source, "example", None)
    if found is None:
        raise Skipped("it offers no `example`, DATA that it reads on any machine")
    return str(found)


def check_accepts(source: Any, example: str | None = None) -> None:
    """It says in a few words what it reads, and leaves what it does not read to others."""
    source = source() if isinstance(source, type) else source
    assert source.describe and "\n" not in source.describe, "`describe` is no line of text"
    for data in ("no such data", "no/such/folder", "such.data"):
        assert not source.accepts(data), f"it accepts '{data}'"
    data = _example(source, example)
    assert source.accepts(data), f"it does not accept its example {data}"
    name, first = registry.locate("edarts.data.sources:source_of")(data)
    assert type(first) is type(source), f"source {name} takes {data} first"


def check_opens(source: Any, example: str | None = None) -> None:
    """Classes, images and labels fit together, and every opening gives the same."""
    source = source() if isinstance(source, type) else source
    data = _example(source, example)
    first, second = (source.open(data, DataConfig(data)) for _ in range(2))
    check(first, data)
    assert first.classes == second.classes and first.name == second.name
    for (items, labels), (others, again) in zip(_splits(first), _splits(second), strict=True):
        assert labels.dtype == np.int64, f"labels are {labels.dtype}, not int64"
        assert len(items) == len(labels)
        assert (labels >= 0).all() and (labels < len(first.classes)).all()
        assert np.array_equal(labels, again), "opened again, the labels are others"
        assert isinstance(items, np.ndarray) == isinstance(others, np.ndarray)
        if isinstance(items, np.ndarray):
            assert items.dtype == np.uint8 and items.ndim == 4, "pixels are not (N, H, W, C) uint8"
            assert np.array_equal(items, others), "opened again, the images are others"
        else:
            assert all(items[i] == others[i] for i in range(len(items)))


def _splits(catalogue: Catalogue) -> list[tuple[Any, Any]]:
    tested = [] if catalogue.test is None else [catalogue.test]
    return [(catalogue.items, catalogue.labels), *tested]


SOURCES: tuple[Check, ...] = (check_accepts, check_opens)


# -- export formats ------------------------------------------------------------------------------


def tiny_model() -> TrainedModel:
    """A network of DARTS' second cell, two cells of four channels, for grey images of 9 x 8."""
    torch.manual_seed(0)
    design, size = zoo.get("darts.v2").architecture, Size(2, 4)
    classes, image = ("a", "b"), (1, 9, 8)
    network = design.build(size, image, len(classes)).eval()
    return TrainedModel.of(
        network, design, size, Transform((0.5,), (0.25,)), classes, image, "tiny"
    )


def check_writes(export: Any) -> None:
    """It writes the files that it names and no others, and leaves the network as it was.

    What it can open says what the model says, of one image and of three.
    """
    model = tiny_model()
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / f"model{export.suffix}"
        made = export(export.Options())
        files = made.write(model, out)
        assert out in files or out in {p for file in files for p in file.parents}, f"no {out.name}"
        there = {path for path in Path(folder).rglob("*") if path.is_file()}
        assert {Path(file) for file in files} == there, f"there are {sorted(p.name for p in there)}"
        assert all(path.stat().st_size for path in there), "an empty file"
        if (answer := made.open(out)) is not None:
            _check_answers(answer, model)
    for name, value in model.network.state_dict().items():
        assert torch.equal(value, before[name]), f"{name} of the network has changed"


def _check_answers(answer: Any, model: TrainedModel) -> None:
    """The probabilities of an export are those of the model."""
    channels, height, width = model.image
    for count in (1, 3):
        images = torch.randint(256, (count, height, width, channels)).byte()
        cpu = torch.device("cpu")
        found = evaluation.predict(model.network, images, model.transform, cpu, model.calibration)
        said, expected = answer(images.numpy()), found.probabilities.numpy()
        assert said.shape == expected.shape, f"{said.shape} for {count} images"
        gap = float(np.abs(said - expected).max())
        assert gap < 1e-4, f"a probability differs by {gap:.1e} from the model's"


def check_refuses(export: Any) -> None:
    """Where it cannot write it raises an EdartsError that names the file, and leaves none."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "a file" / f"model{export.suffix}"
        out.parent.write_text("in the way of a folder")
        try:
            export(export.Options()).write(tiny_model(), out)
        except EdartsError as error:
            assert str(out) in str(error), f"the error does not name the file: {error}"
        else:
            raise AssertionError("it wrote into a file as if that were a folder")
        assert [path.name for path in Path(folder).iterdir()] == ["a file"]


EXPORTS: tuple[Check, ...] = (check_writes, check_refuses)
