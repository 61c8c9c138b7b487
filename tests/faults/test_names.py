"""Names that are no text, or steer a terminal: refused at once, or carried through."""

import json
import os
import shutil
from pathlib import Path

import pytest

from edarts.cli.main import main
from edarts.errors import EdartsError, one_line
from faults.runs import TINY, TRAIN
from support import fails

BAD = os.fsdecode(b"\xff\xfe")


def test_a_reason_is_one_line() -> None:
    text = one_line(EdartsError("a\nb\x1b[31m\udcff\u202e.png"))
    assert text == r"a\nb\x1b[31m\udcff\u202e.png"
    assert one_line(ValueError("of a\n  library\x1b")) == r"of a library\x1b"


def test_a_class_that_is_no_text_is_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "ant").rename(folder / BAD)
    out = tmp_path / "out"
    line = fails(capsys, 1, "train", "darts.v1", str(folder), *TINY, "--out", str(out))
    assert r"class '\udcff\udcfe': its name is not UTF-8; rename it" in line
    assert not out.exists()


def test_paths_that_are_no_text_are_carried_through(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = tmp_path / f"data{BAD}", tmp_path / f"out{BAD}\n"
    shutil.copytree(folder, data)
    for image in sorted((data / "ant").iterdir())[:5]:
        image.rename(image.with_name(f"{BAD}\x1b{image.name}"))
    loud = [word for word in TRAIN if word != "--quiet"]
    argv = [*loud[:2], str(data), *loud[3:], "--valid-fraction", "0.2", "--out", str(out)]
    for words in (argv, ["evaluate", str(out)], ["predict", str(out), str(data / "ant")]):
        assert main(words) == 0
        told = capsys.readouterr()
        assert not {"\x1b", *BAD} & set(told.out + told.err)
    assert r"\udcff\udcfe\x1b" in told.out
    assert main(["report", str(out)]) == 0
    assert json.loads((out / "model.json").read_text())["data"]
    assert r"\udcff" in (out / "report.html").read_text()
    predicted = tmp_path / "p.csv"
    assert main(["predict", str(out), str(data / "ant"), "--quiet", "--out", str(predicted)]) == 0
    assert r"\udcff" in predicted.read_text()
