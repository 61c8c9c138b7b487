"""What is not trusted: data, run folders, models, genotypes, ledgers that came from elsewhere."""

import errno
import io
import json
import os
import re
import shutil
import socket
import zipfile
from contextlib import suppress
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from edarts.cli.main import main
from edarts.config import DataConfig, TrainConfig
from edarts.data import load
from edarts.errors import EdartsError
from edarts.race.trainer import OnHeldOut
from edarts.reporting import page
from edarts.reporting.model import Summary
from edarts.runs.folder import Run, open_run
from edarts.runtime import Runtime
from edarts.sharing.hub import stage
from edarts.testing.problems import tiny_data
from faults.faulty import faults
from faults.runs import BLACK_BOX, TINY, TRAIN
from faults.trials import judged
from processes import Forked
from support import fails, write_images

SECRET = "the content of a file of the reader's own"


# -- resources -----------------------------------------------------------------------------------


def test_a_small_file_that_unpacks_to_more_than_may_be(tmp_path: Path) -> None:
    file = tmp_path / "bomb.npz"
    images, labels = np.zeros((3000, 32, 32), np.uint8), np.arange(3000) % 3
    np.savez_compressed(file, images=images, labels=labels)
    assert file.stat().st_size < 100_000
    with pytest.raises(EdartsError, match=r"bomb.npz: 0.\d+ GiB when decoded.*--max-gib 0.001"):
        load(DataConfig(str(file), max_gib=0.001))
    assert len(load(DataConfig(str(file), max_gib=0.1)))
    archive = tmp_path / "bomb.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as made:
        for name in ("a/1.png", "b/1.png"):
            made.writestr(name, bytes(3 * 2**20))
    with pytest.raises(EdartsError, match=r"bomb.zip: .* GiB when decoded"):
        load(DataConfig(str(archive), max_gib=0.001))


def test_photographs_of_more_than_may_be(folder: Path) -> None:
    with pytest.raises(EdartsError, match=r"24 images: .* GiB when decoded.*--image-size"):
        load(DataConfig(str(folder), image_size=256, max_gib=0.001))


def test_a_parquet_file_of_more_than_may_be_and_a_null_image(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, "PNG")
    rows = [{"bytes": buffer.getvalue(), "path": None}] * 20
    for odd in (None, {"bytes": None, "path": None}):
        column = pa.array(
            [*rows, *[odd] * 10], pa.struct({"bytes": pa.binary(), "path": pa.string()})
        )
        table = pa.table({"image": column, "label": [n % 3 for n in range(30)]})
        file = tmp_path / "t.parquet"
        parquet.write_table(table, file)
        line = fails(capsys, 1, "train", "darts.v1", str(file), *TINY, "--test-fraction", "0.1",
                     "--out", str(tmp_path / "out"))  # fmt: skip
        assert re.search(r"row 2\d: no image \(and \d more such files\)", line)
    with pytest.raises(EdartsError, match="GiB when decoded"):
        load(DataConfig(str(file), max_gib=1e-6))


def test_aliases(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    (tmp_path / "c.yaml").write_text("\n".join(lines))
    line = fails(capsys, 1, "train", "darts.v1", "--config", str(tmp_path / "c.yaml"))
    assert "c.yaml: cannot be read as YAML: ValueError: it has an alias" in line
    shared = [1, 2]
    with open_run(tmp_path / "r", {"data": "digits", "a": shared, "b": shared}) as run:
        assert "*" not in (run.path / "config.yaml").read_text()


@pytest.fixture(params=["pipe", "socket", "device"])
def strange(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """What is no regular file."""
    path = tmp_path / "strange"
    if request.param == "pipe":
        os.mkfifo(path)
    elif request.param == "socket":
        at = Path.cwd()
        os.chdir(tmp_path)  # the name of a socket is short
        socket.socket(socket.AF_UNIX).bind("strange")
        os.chdir(at)
    else:
        path.symlink_to("/dev/zero")
    return path


def test_only_regular_files_are_opened(
    strange: Path, trained: Path, again: list[str], capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:  # fmt: skip
    needed = "where a regular file is needed"
    assert needed in fails(capsys, 1, "train", str(strange), "digits")
    assert needed in fails(capsys, 1, "train", "darts.v1", "--config", str(strange))
    assert needed in fails(capsys, 1, "predict", str(trained), str(strange))
    assert needed in fails(
        capsys, 1, "search", "digits", "--method", "random_search", "--score",
        f"table:{strange}", "--out", str(tmp_path / "s"))  # fmt: skip
    write_images(tmp_path / "images" / "test", {"a": 2, "b": 2})
    data = write_images(tmp_path / "images" / "train", {"a": 9, "b": 9})
    os.rename(data / "a" / "0.png", tmp_path / "first.png")
    os.rename(strange, data / "a" / "0.png")
    words = ["train", "darts.v1", str(data.parent), *TINY, "--out", str(tmp_path / "t")]
    assert needed in fails(capsys, 1, *words)
    os.rename(data / "a" / "0.png", strange)
    for suffix in (".npz", ".parquet", ".csv", ".zip"):
        place = strange.with_suffix(suffix)
        os.rename(strange, place)
        line = fails(capsys, 1, "train", "darts.v1", str(place), *TINY)
        assert f"{place}: a " in line and needed in line
        os.rename(place, strange)
    verbs = {"checkpoint.pt": again, "model.json": ["evaluate", str(trained)]}
    for name in ("config.yaml", "model.safetensors", "genotype.json", "metrics.jsonl"):
        verbs[name] = [
            ["evaluate", "report"][name in ("genotype.json", "metrics.jsonl")],
            str(trained),
        ]
    for name, words in verbs.items():
        content = (trained / name).read_bytes()
        (trained / name).unlink()
        os.rename(strange, trained / name)
        assert name in fails(capsys, 1, *words)
        os.rename(trained / name, strange)
        (trained / name).write_bytes(content)


# -- values --------------------------------------------------------------------------------------


def test_values_that_no_image_has(tmp_path: Path) -> None:
    """A TIFF of 32 bits below zero; the others stand in tests/data."""
    data = tmp_path / "images"
    for name in "ab":
        (data / name).mkdir(parents=True)
        for number in range(4):
            values = np.full((9, 9), 7 * number - (name == "b" and number == 3) * 300, np.int32)
            Image.fromarray(values).save(data / name / f"{number}.tif")
    with pytest.raises(EdartsError, match=r"b/3.tif: negative values"):
        load(DataConfig(str(data), test_fraction=0.1))


def test_one_image_a_step_with_an_auxiliary_head(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*TRAIN, "--batch-size", "1", "--auxiliary", "0.4", "--out", str(tmp_path / "r")]
    assert "auxiliary: its norm needs more than one image a step" in fails(capsys, 2, *words)
    assert not (tmp_path / "r").exists()


# -- links, pages, what is shared ----------------------------------------------------------------


def test_links_in_a_run_are_not_followed(
    trained: Path, again: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    for name in ("environment.json", "config.yaml", "metrics.jsonl", "model.json", "genotype.json",
                 "pictures-test.json", "digests.json"):  # fmt: skip
        content = (trained / name).read_bytes()
        (trained / name).unlink()
        (trained / name).symlink_to(secret)
        assert f"{name}: a link" in fails(capsys, 1, "report", str(trained))
        assert SECRET not in (trained / "report.html").read_text()
        (trained / name).unlink()
        (trained / name).write_bytes(content)
    # a training that goes on appends and writes, but to no file of others
    (trained / "checkpoint.pt").unlink()
    for name in ("config.yaml.new", "checkpoint.pt.new", "report.html", "digests.json.new"):
        (trained / name).unlink(missing_ok=True)
        (trained / name).symlink_to(secret)
    assert main(again) == 0
    (trained / "metrics.jsonl").unlink()
    (trained / "metrics.jsonl").symlink_to(secret)
    with pytest.raises(EdartsError, match=r"metrics\.jsonl: a link"):
        Run(trained).record(phase="train", epoch=9)
    assert secret.read_text() == SECRET


EVERY = [  # that some verb reads or writes in a run's folder
    *("config.yaml", "environment.json", "metrics.jsonl", "checkpoint.pt", "genotype.json"),
    *("cell.svg", "cell.png", "report.html", "data.npz", "digests.json", ".lock"),
    *("model.safetensors", "model.json", "calibration.safetensors", "predictions.npz"),
    *("pictures-train.json", "pictures-test.json", "evaluation.json", "model.pt2"),
]


@pytest.mark.parametrize("kind", ["link", "pipe", pytest.param("folder", marks=pytest.mark.slow)])
def test_every_file_of_a_received_run(
    kind: str, trained: Path, again: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever lies in its place: no verb waits for it, follows it, or ends in a bug."""
    secret, whole, run = tmp_path / "secret", tmp_path / "whole", str(trained)
    secret.write_text(SECRET)
    trained.rename(whole)
    for name in EVERY:
        shutil.rmtree(trained, ignore_errors=True)
        shutil.copytree(whole, trained)
        verbs = [["report", run], ["evaluate", run], again]
        verbs += [["export", run]] if name.startswith("model") else []
        for words in verbs:
            place(trained / name, kind, secret)
            code, told = main([*words, "--quiet"]), capsys.readouterr().err
            ended = judged(code, told)
            assert ended == "identical" or (ended == "refused" and name in told), (words, told)
        place(trained / name, kind, secret)
        shared = tmp_path / f"shared-{name}"
        shared.mkdir()
        with suppress(EdartsError):
            stage(trained, shared, "someone/some", None)
        assert secret.read_text() == SECRET
        for path in [*trained.iterdir(), *shared.iterdir()]:
            if path.is_file() and not path.is_symlink():
                assert SECRET.encode() not in path.read_bytes(), path


def place(path: Path, kind: str, secret: Path) -> None:
    """What is no regular file."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    if kind == "link":
        path.symlink_to(secret)
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()


def test_a_ledger_that_is_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, secret = tmp_path / "run", tmp_path / "secret"
    secret.touch()  # SQLite would take it for a new database
    assert main([*BLACK_BOX, "--out", str(run)]) == 0
    more = [*BLACK_BOX[:-1], "7", "--out", str(run)]
    (run / "ledger.db").rename(kept := tmp_path / "kept.db")
    for name in ("ledger.db", "ledger.db-wal", "ledger.db-journal"):
        for kind in ("link", "pipe", "folder"):
            place(run / name, kind, secret)
            line = fails(capsys, 1, *more)
            assert f"{name}: a {kind}, where a regular file is needed" in line
            shutil.rmtree(run / name) if kind == "folder" else (run / name).unlink()
        if name == "ledger.db":
            kept.rename(run / name)
    assert secret.read_bytes() == b""


def test_folders_of_a_run_that_are_links(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is written, and nothing deleted, where they lead to."""
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "1-found").mkdir(parents=True)
    (elsewhere / "1-found" / "precious").write_text(SECRET)
    for place in (tmp_path / "race", tmp_path / "found"):
        place.mkdir()
    (tmp_path / "race" / "race").symlink_to(elsewhere)
    (tmp_path / "found" / "race").mkdir()
    (tmp_path / "found" / "race" / "1-found").symlink_to(elsewhere)
    for run in (tmp_path / "race", tmp_path / "found"):
        runtime, config = Runtime(torch.device("cpu"), run=Run(run)), TrainConfig()
        trainer = OnHeldOut(tiny_data(), config, config, runtime, limited=False)
        with pytest.raises(EdartsError, match="a link, which is not"), trainer.folder("1-found"):
            pass
    full = Run(tmp_path / "full")
    with faults(full.path, 1, lambda path: OSError(errno.ENOSPC, "no space", path)):
        trainer = replace(trainer, runtime=replace(runtime, run=full))
        with pytest.raises(EdartsError, match="no space left on the disk"), trainer.folder("x"):
            pass
    (trained / "python").symlink_to(elsewhere)
    assert "python: a link" in fails(capsys, 1, "export", str(trained), "--format", "python",
                                     "--out", str(trained / "python"))  # fmt: skip
    assert [path.name for path in elsewhere.iterdir()] == ["1-found"]


def test_files_of_a_run_that_unpack_to_more_than_may_be(
    trained: Path, again: list[str], capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    (trained / "digests.json").unlink()
    monkeypatch.setattr("edarts.runs.files.LARGEST", 2**20)
    monkeypatch.setattr("edarts.runs.files.check_unpacked.__defaults__", (2**20,))
    np.savez_compressed(trained / "predictions.npz", probabilities=np.zeros(2**20),
                        labels=np.zeros(1))  # fmt: skip
    line = fails(capsys, 1, "report", str(trained), str(trained))
    assert "predictions.npz: damaged: it would unpack to" in line
    (trained / "predictions.npz").unlink()
    with zipfile.ZipFile(trained / "checkpoint.pt") as whole:
        parts = {name: whole.read(name) for name in whole.namelist()}
    with zipfile.ZipFile(trained / "checkpoint.pt", "w", zipfile.ZIP_DEFLATED) as packed:
        for name, part in parts.items():
            packed.writestr(name, part)
        packed.writestr("archive/data/bomb", bytes(10**7))
    assert "checkpoint.pt: damaged: it would unpack to" in fails(capsys, 1, *again)


ACTIVE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(1)</script>",
    "javascript:alert(1)",
    "'\"><svg onload=alert(1)>",
    "<iframe src='javascript:alert(1)'></iframe>",
    "<base href='https://example.org/'>",
    "<meta http-equiv='refresh' content='0;url=javascript:alert(1)'>",
    "<form action='https://example.org'><input autofocus onfocus=alert(1)></form>",
    "<style>@import 'https://example.org/x.css'</style>",
]


class Tags(HTMLParser):
    """The tags and attributes of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: dict[str, set[str]] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        for name, value in attrs:
            self.attributes.setdefault(name, set()).add(value or "")


@pytest.fixture
def hostile(trained: Path) -> Path:
    """A received run, every text in which tries one of ten ways."""
    (trained / "digests.json").unlink()

    def spoilt(value: object, number: list[int]) -> object:
        if isinstance(value, dict):
            return {k: spoilt(v, number) for k, v in value.items()}
        if isinstance(value, list):
            return [spoilt(part, number) for part in value]
        if isinstance(value, str) and not value.startswith("data:image/png"):
            number[0] += 1
            return ACTIVE[number[0] % len(ACTIVE)]
        return value

    count = [0]
    for name in ("environment.json", "pictures-train.json", "pictures-test.json"):
        path = trained / name
        path.write_text(json.dumps(spoilt(json.loads(path.read_text()), count)))
    model = json.loads((trained / "model.json").read_text())
    model |= {"classes": (ACTIVE * 2)[: len(model["classes"])], "data": ACTIVE[0]}
    (trained / "model.json").write_text(json.dumps(model))
    config = trained / "config.yaml"
    config.write_text(config.read_text().replace("data: digits", f'data: "{ACTIVE[0]}"'))
    assert count[0] > 20
    return page.write_run(Run(trained))


def test_nothing_of_a_received_run_is_active(hostile: Path, visit: object) -> None:
    text = hostile.read_text()
    for way in ACTIVE[:3]:
        assert way not in text
    tags = Tags()
    tags.feed(text)
    assert not {name for name in tags.attributes if name.startswith("on")}
    assert not {"iframe", "base", "form", "object", "embed", "link"} & tags.names
    assert tags.attributes.get("http-equiv") == {"Content-Security-Policy"}
    assert "javascript:" not in "".join(tags.attributes.get("href", ()))
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)
    assert policy is not None and "'sha256-" in policy[1] and "unsafe-inline'; img" in policy[1]
    assert "script-src 'sha256-" in policy[1]
    visit(hostile)  # type: ignore[operator]


def test_a_row_links_to_its_own_run_alone(tmp_path: Path, visit: object) -> None:
    rows = {
        str(n): {"name": str(n), "run": run, "x": 1}
        for n, run in enumerate([*ACTIVE, "runs/../../secret", "/etc/passwd", "runs/a b?"])
    }
    run = Run(tmp_path)
    run.write_text("config.yaml", "study: depth\nseeds: 1\ndata: digits\n")
    text = page.write_study(run, Summary("t", ["s"], [], []), rows).read_text()
    assert re.findall(r'href="([^"]+)"', text) == ["runs/a%20b%3F/report.html"]
    visit(tmp_path / "report.html")  # type: ignore[operator]


def test_a_script_that_slipped_in_does_not_run(tmp_path: Path, visit: object) -> None:
    """Even if something were not escaped: the policy lets the page's own script run alone."""
    run = Run(tmp_path)
    run.write_text("config.yaml", "study: depth\nseeds: 1\ndata: digits\n")
    rows = {name: {"name": name, "run": f"runs/{name}"} for name in "ba"}
    path = page.write_study(run, Summary("t", ["s"], [], []), rows)
    evil = "<img src=data:,x onerror='document.title=1'><script>document.title = 2</script>"
    path.write_text(path.read_text().replace("<body>", f"<body>{evil}"))
    tab = visit(path, refused=True)  # type: ignore[operator]
    assert tab.title() not in ("1", "2")
    assert tab.locator("table.sortable").count()
    tab.locator("th button").first.click()
    assert tab.locator("th[aria-sort]").count() == 1  # the page's own runs


def test_what_is_shared_tells_no_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = tmp_path / "home" / "somebody"
    data = write_images(home / "photos", {"ant": 12, "bee": 12})
    out = home / "out"
    words = ["train", "darts.v1", str(data), *TINY, "--epochs", "1", "--valid-fraction", "0.2"]
    assert main([*words, "--out", str(out)]) == 0
    assert main(["evaluate", str(out), "--quiet"]) == 0
    assert main(["export", str(out), "--quiet"]) == 0
    assert main(["report", str(out), "--without-config", "--quiet"]) == 0
    assert "config.yaml</summary>" not in (out / "report.html").read_text()
    assert main(["report", str(out), "--quiet"]) == 0
    assert "config.yaml</summary>" in (out / "report.html").read_text()
    program = zipfile.ZipFile(out / "model.pt2")
    shared = {name: program.read(name) for name in program.namelist()}
    for path in out.iterdir():
        if path.name not in ("config.yaml", "checkpoint.pt", "model.pt2"):
            shared[path.name] = path.read_bytes()
    for name, content in shared.items():
        for word in (str(home), "somebody", str(Path.home()) + "/", str(Path.cwd()) + "/"):
            assert word.encode() not in content, (name, word)
    assert json.loads((out / "model.json").read_text())["data"] == "photos"


@pytest.mark.processes
def test_a_damaged_image_is_one_line(trained: Path, tmp_path: Path) -> None:
    """Pillow warns in lines of its own."""
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / "x.tiff")
    content = (tmp_path / "x.tiff").read_bytes()
    (tmp_path / "x.tiff").write_bytes(content[:60])
    process = Forked(["-m", "edarts", "predict", str(trained), "x.tiff"], tmp_path)
    assert process.wait() == 1
    assert len(process.err.splitlines()) == 1 and "x.tiff: not a readable" in process.err


def test_a_damaged_member_of_an_archive(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = write_images(tmp_path / "images", {"a": 9, "b": 9})
    archive = tmp_path / "images.zip"
    with zipfile.ZipFile(archive, "w") as made:
        for file in images.rglob("*.png"):
            made.write(file, file.relative_to(images))
    content = bytearray(archive.read_bytes())
    for at in range(len(content) - 4):
        if content[at : at + 4] == b"IDAT":
            content[at + 6] ^= 1
    archive.write_bytes(content)
    words = ["train", "darts.v1", str(archive), *TINY, "--out", str(tmp_path / "out")]
    assert re.search(r"images.zip/./\d.png: cannot be read: Bad CRC-32", fails(capsys, 1, *words))
