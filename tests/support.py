"""What several tests build on."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet
from torch import Tensor

from edarts.cli.main import main
from edarts.reporting.model import Plot
from edarts.reporting.plots import Drawn


def write_images(
    root: Path, classes: dict[str, int], size: tuple[int, int] = (12, 10), seed: int = 0
) -> Path:
    """`classes`: name -> number of PNG files; brightness tells the class."""
    generator = np.random.default_rng(seed)
    for index, (name, count) in enumerate(classes.items()):
        folder = root / name
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            pixels = generator.integers(0, 60, (size[1], size[0], 3)) + 60 * index
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
    return root


def counts(labels: Tensor) -> list[int]:
    """Images of each class."""
    return [int(n) for n in labels.bincount()]


def save_npz(path: Path, **arrays: Any) -> str:
    """Write an .npz file; returns its path."""
    np.savez(path, **arrays)
    return str(path)


def grey(count: int) -> Any:
    """(N, 8, 8) uint8."""
    return np.arange(count * 64, dtype=np.uint8).reshape(count, 8, 8)


def table(count: int, names: list[str] | None = None, first_label: int = 0) -> Any:
    """A pyarrow.Table of PNG images (10 x 9, in colour) of three classes."""
    images = [png(Image.new("RGB", (10, 9), (index, 50, 90))) for index in range(count)]
    labels = [first_label if i == 0 else i % 3 for i in range(count)]
    kinds = {"img": IMAGE} | ({"label": class_label(names)} if names else {})
    return described({"img": images, "label": labels}, kinds)


IMAGE = {"_type": "Image"}


def class_label(names: list[str]) -> dict[str, Any]:
    """How Hugging Face describes labels that count in some names."""
    return {"names": names, "_type": "ClassLabel"}


def described(columns: dict[str, list[Any]], kinds: dict[str, Any]) -> Any:
    """A pyarrow.Table as Hugging Face writes them: with what some of its columns are."""
    image = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    types = {name: image for name, kind in kinds.items() if kind == IMAGE}
    made = pa.table({name: pa.array(v, types.get(name)) for name, v in columns.items()})
    info = {"info": {"features": kinds}}
    return made.replace_schema_metadata({"huggingface": json.dumps(info)})


def png(image: Image.Image, **options: Any) -> dict[str, Any]:
    """An image as it stands in a table."""
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    return {"bytes": file.getvalue(), "path": None}


def parquet_bytes(made: Any, **options: Any) -> bytes:
    """A table as a parquet file."""
    file = io.BytesIO()
    parquet.write_table(made, file, **options)
    return file.getvalue()


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> Any:
    """The JSON of a command that works."""
    code = main(list(argv))
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return json.loads(captured.out.splitlines()[-1])


def fails(capsys: pytest.CaptureFixture[str], code: int, *argv: str) -> str:
    """The one line of a command that does not work; notes on its data may stand above."""
    assert main(list(argv)) == code
    every = capsys.readouterr().err.strip().splitlines()
    lines = [line for line in every if not line.startswith("data: ")]
    assert len(lines) == 1, lines
    assert "Traceback" not in lines[0]
    return lines[0]


def help_of(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """What `--help` prints of a command, in one line."""
    with pytest.raises(SystemExit) as end:
        main([*argv, "--help"])
    assert end.value.code == 0
    return " ".join(capsys.readouterr().out.split())


def blank(plot: Plot) -> Drawn:
    """Stands for a drawn plot where a test looks at none."""
    return Drawn("", b"blank", {})


def authors_rule(weights: Tensor, names: tuple[str, ...]) -> set[tuple[str, int, int]]:
    """`genotype()` of the authors' code, from methods.md section 1."""
    none, edges, start = names.index("none"), set(), 0
    for n in range(4):
        rows = weights[start : start + 2 + n].tolist()
        kept = sorted(
            range(2 + n),
            key=lambda j: -max(v for k, v in enumerate(rows[j]) if k != none),
        )[:2]
        for j in kept:
            best = max((k for k in range(len(names)) if k != none), key=lambda k: rows[j][k])
            edges.add((names[best], j, n + 2))
        start += 2 + n
    return edges
