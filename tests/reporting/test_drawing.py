"""Drawings: the same genotype gives the same file, and every operation is written in it."""

import random
from pathlib import Path

from edarts import Space
from edarts.reporting import drawing as report


def test_drawing(tmp_path: Path) -> None:
    genotype = Space().sample(random.Random(4))
    svg, png = report.draw(genotype, tmp_path)
    first = svg.read_bytes()
    assert png.read_bytes()[:4] == b"\x89PNG"
    report.draw(genotype, tmp_path)
    assert svg.read_bytes() == first
    report.draw(Space().sample(random.Random(5)), tmp_path)
    assert svg.read_bytes() != first
