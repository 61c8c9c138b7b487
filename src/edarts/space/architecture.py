"""Architectures as JSON: which class reads which format."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edarts import registry
from edarts.config.reading import parse_json
from edarts.errors import UsageError
from edarts.space.base import Architecture
from edarts.space.genotype import Genotype, read_file

FORMATS = {
    "edarts.genotype/1": "edarts.space.genotype:Genotype",
    "edarts.densenet_bc/1": "edarts.nn.baselines.densenet_bc:DenseNetBC",
    "edarts.timm/1": "edarts.nn.timm:Timm",
    "edarts.proxyless_trees/1": "edarts.nn.trees:ProxylessTrees",
}


def from_dict(fields: Mapping[str, Any]) -> Architecture:
    """The inverse of any architecture's `to_dict`; without a format it is a genotype.

    The format of a plug-in is `GROUP.NAME/VERSION`: the baseline, or the space's `Architecture`,
    with that name reads it. Raises UsageError.
    """
    if not isinstance(fields, Mapping) or "format" not in fields:
        return Genotype.from_dict(fields)
    kind: type[Architecture] = _class_of(str(fields["format"]))
    return kind.from_dict(fields)


def _class_of(text: str) -> Any:
    if text in FORMATS:
        return registry.locate(FORMATS[text])
    group, _, name = text.partition("/")[0].partition(".")
    if group not in ("spaces", "baselines"):
        raise UsageError(f"an architecture of the unknown format '{text}'")
    plugin = registry.get(group, name)
    return getattr(plugin, "Architecture", plugin)


def parse(text: str) -> Architecture:
    """Read JSON, or the text of a genotype (see `Genotype.parse`). Raises UsageError."""
    try:
        fields = parse_json(text)
    except ValueError:
        return Genotype.parse(text)
    return from_dict(fields)


def load(path: str | Path) -> Architecture:
    """Read a file; errors name the file. Raises EdartsError."""
    return read_file(path, parse)
