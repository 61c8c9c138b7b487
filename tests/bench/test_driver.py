"""`edarts bench`: the command, and that it needs no clone of the repository."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import edarts
from edarts import Session, UsageError
from edarts.bench import bench, driver, measure
from edarts.bench.comparisons import group
from edarts.bench.report import BenchRow
from edarts.cli.main import main
from edarts.runs.progress import Progress
from processes import Forked

TINY = """
import edarts, torch
from edarts.bench.pairs import Comparison
from edarts.bench.rows import compare

tiny = Comparison("tiny", "weight", 3, 4, 4, "sep_conv_3x3,skip_connect", "1")
assert "/site/edarts/" in edarts.__file__
row = compare(tiny, 1, torch.device("cpu"))
assert row.ours_s > 0 and row.max_relative_error < 1e-2, row
"""


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder with a copy of the package, without the repository."""
    shutil.copytree(Path(edarts.__file__).parent, tmp_path / "site" / "edarts")
    return tmp_path / "site"


@pytest.mark.processes
def test_outside_a_clone(tmp_path: Path, outside: Path) -> None:
    (tmp_path / "empty").mkdir()
    # Without the compiled loops, as a new copy would have to compile them.
    (tmp_path / "tiny.py").write_text(TINY)
    words, env = [str(tmp_path / "tiny.py")], {"EDARTS_KERNELS": "off"}
    process = Forked(words, tmp_path / "empty", env, [outside])
    assert process.wait() == 0, process.err


@pytest.mark.slow
def test_command_outside_a_clone(tmp_path: Path, outside: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "edarts", "bench", "train", "--rounds", "1", "--json"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(outside)},
        check=True,
        capture_output=True,
        text=True,
    )
    rows = json.loads(done.stdout.splitlines()[-1])["rows"]
    assert [row["what"] for row in rows] == [comparison.name for comparison in group("train")]


def test_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    row = BenchRow("x", 2.0, 1.0, 2.0, 20.0, 10.0, 2.0, 1e-6, 1e-7, 64.0, 5.0)
    monkeypatch.setattr(driver, "compare", lambda *_: row)
    monkeypatch.setattr(measure, "matrix_product", lambda _: 100.0)
    assert main(["bench", "train", "--rounds", "1", "--json"]) == 0
    out = capsys.readouterr().out.splitlines()
    rows = json.loads(out[-1])["rows"]
    assert [r["time_ratio"] for r in rows] == [2.0] * len(group("train"))
    assert "a large matrix product: 100.0 GFLOP/s" in out[0]
    assert main(["bench", "nothing"]) == 2
    assert main(["bench", "step", "--rounds", "0"]) == 2
    assert "rounds" in capsys.readouterr().err


def test_a_session_gives_no_more_than_a_device() -> None:
    with pytest.raises(UsageError, match="bench cannot use --workers; leave it out"):
        bench("step", session=Session(device="cpu", workers=2))
    with pytest.raises(UsageError, match="unknown group of comparisons 'trian'; did you mean tr"):
        bench("trian", session=Session(device="cpu", progress=Progress()))


def test_its_name_needs_no_torch() -> None:
    code = "import sys, edarts.bench; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
