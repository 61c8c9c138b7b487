"""Architecture: what a network is built from, a genotype's cells or a whole network, and its JSON.

Wherever a genotype is asked for, a whole network may be given too.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edarts.config import given
from edarts.nn.densenet import DenseNetBC
from edarts.nn.network import Network
from edarts.nn.trees import ProxylessTrees
from edarts.nn.whole import Whole, WholeNetwork
from edarts.space.genotype import Genotype, read_file

Architecture = Genotype | Whole
Model = Network | WholeNetwork

_WHOLES: dict[str, type[Whole]] = {kind.FORMAT: kind for kind in (DenseNetBC, ProxylessTrees)}


def build(
    architecture: Architecture,
    *,
    cells: int | None,
    channels: int | None,
    classes: int,
    image: tuple[int, int, int],
    auxiliary: bool = False,
) -> Model:
    """The network of `architecture` for (C, H, W) images, its weights drawn at random.

    `cells`, `channels`, `auxiliary`: see `Network`; None and False for a whole network.
    """
    if isinstance(architecture, Whole):
        return architecture.build(classes, image)
    return Network(
        architecture,
        cells=given(cells),
        channels=given(channels),
        classes=classes,
        image=image,
        auxiliary=auxiliary,
    )


def from_dict(fields: Mapping[str, Any]) -> Architecture:
    """The inverse of any architecture's `to_dict`. Raises UsageError."""
    kind = _WHOLES.get(str(fields.get("format"))) if isinstance(fields, Mapping) else None
    return Genotype.from_dict(fields) if kind is None else kind.from_dict(fields)


def parse(text: str) -> Architecture:
    """From JSON, or from the text of a genotype (see `Genotype.parse`). Raises UsageError."""
    try:
        fields = json.loads(text)
    except ValueError:
        return Genotype.parse(text)
    return from_dict(fields)


def load(path: str | Path) -> Architecture:
    """From a file; errors name the file. Raises EdartsError."""
    return read_file(path, parse)
