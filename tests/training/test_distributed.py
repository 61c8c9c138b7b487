"""Two processes under torchrun: the same architecture bit for bit, one that writes, clean ends."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from edarts import EdartsError, TrainConfig, registry
from edarts.methods.oneshot import driver as oneshot
from edarts.runtime import Runtime, Session
from edarts.space import zoo
from edarts.testing.problems import tiny_data
from edarts.testing.searches import tiny_config
from edarts.training import device, distributed
from edarts.training import fit as train
from processes import Forked

# standalone: at a free port, since several tests may run at once
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
TINY = [
    *("--limit", "60", "--epochs", "2", "--cells", "3", "--channels", "4", "--batch-size", "8"),
    *("--train.cells", "3", "--train.channels", "4", "--candidates", "found"),
]
METHODS = registry.names("methods")
QUICK = ["edarts", "darts", "snas"]  # updates by epoch, by step, joint


def be_rank(monkeypatch: pytest.MonkeyPatch, rank: int, world: int) -> None:
    monkeypatch.setenv("RANK", str(rank))
    monkeypatch.setenv("WORLD_SIZE", str(world))


def test_shards_are_equal_and_disjoint(monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = torch.arange(22).view(11, 2), torch.arange(11)
    assert distributed.shard(images, labels)[0] is images
    found = []
    for rank in range(3):
        be_rank(monkeypatch, rank, 3)
        part, its = distributed.shard(images, labels)
        assert len(part) == len(its) == 3 and torch.equal(part, images[its])
        found += its.tolist()
    assert sorted(found) == list(range(9))
    with pytest.raises(EdartsError, match=r"2 images for 3 processes.*--batch-size"):
        distributed.shard(labels[:2])


def torchrun(*words: str, cwd: Path, **env: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*TORCHRUN, *words],
        cwd=cwd,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | env,
        capture_output=True,
        text=True,
        check=False,
    )


def ranks(*words: str, cwd: Path) -> list[Forked]:
    """Two processes as torchrun starts them, once both have ended."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    both = [Forked(words, cwd, env | {"RANK": rank, "LOCAL_RANK": rank}) for rank in ("0", "1")]
    for process in both:
        process.wait()
    return both


WORKER = """
import sys
import torch
from edarts.runs.processes import is_main
from edarts.runtime import Session
from edarts.testing.problems import tiny_data
from edarts.testing.searches import run_search, tiny_config
from edarts.training import device, distributed
device.runtime(Session(device="cpu"))
mean = distributed.average([torch.full((2,), float(not is_main())), torch.ones(())])
assert mean[0].tolist() == [0.5, 0.5] and mean[1].item() == 1
assert distributed.average_values({"a": 1.0 - is_main()}) == {"a": 0.5}
assert distributed.agree(is_main()) and not distributed.agree(False)
out, found = sys.argv[1], {}
for method in sys.argv[2:]:
    name, _, order = method.partition(":")
    changes = {"order": 2} if order else {}
    result = run_search(tiny_config(name, **changes), tiny_data())
    found[method] = [str(result.architecture), *result.weights.values(), result.counts.images]
torch.save(found, f"{out}/{'first' if is_main() else 'second'}.pt")
"""


@pytest.mark.processes
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "names",
    [
        QUICK,
        pytest.param([*sorted({*METHODS} - {*QUICK}), "darts:2"], marks=pytest.mark.slow),
    ],
    ids=["quick", "others"],
)
def test_ranks_agree_bit_for_bit(names: list[str], tmp_path: Path) -> None:
    (tmp_path / "worker.py").write_text(WORKER)
    done = torchrun("worker.py", str(tmp_path), *names, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    first, second = (torch.load(tmp_path / f"{r}.pt") for r in ("first", "second"))
    assert list(first) == names
    for name in names:
        assert first[name][0] == second[name][0], name
        assert torch.equal(first[name][1], second[name][1]), name
        assert torch.equal(first[name][2], second[name][2]), name
        # not merely both alike: the updates have moved both from where they began
        assert first[name][3] == second[name][3] > 0


def finished(folder: Path) -> tuple[bytes, bytes, list[dict[str, object]]]:
    lines = [json.loads(s) for s in (folder / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        del line["seconds"]
    genotype, model = folder / "genotype.json", folder / "model.safetensors"
    return genotype.read_bytes(), model.read_bytes(), lines


@pytest.mark.processes
@pytest.mark.timeout(600)
def test_a_killed_rank_ends_the_run_and_it_resumes(tmp_path: Path) -> None:
    find = ["-m", "edarts", "find", "digits", *TINY, "--checkpoint-seconds", "0"]
    first, second = ranks(*find, "--out", "whole", "--json", cwd=tmp_path)
    assert first.poll() == second.poll() == 0, first.err[-2000:] + second.err[-2000:]
    # One speaks for both.
    assert first.out.count("test accuracy") == 1
    assert json.loads(first.out.splitlines()[-1])["run"] == "whole"
    assert second.out == second.err == ""
    environment = json.loads((tmp_path / "whole" / "environment.json").read_text())
    assert environment["processes"] == 2

    process = subprocess.Popen(
        [*TORCHRUN, *find, "--out", "killed"],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (tmp_path / "killed" / "metrics.jsonl").exists():
        assert process.poll() is None
        time.sleep(0.05)
    os.kill(rank_of(process.pid, 1), signal.SIGKILL)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode != 0
    assert not (tmp_path / "killed" / "model.json").exists(), "too late to show anything"
    assert stderr.count("edarts: error: another process of this run is gone") == 1
    first, second = ranks(*find, "--out", "killed", cwd=tmp_path)
    assert first.poll() == second.poll() == 0, first.err[-2000:] + second.err[-2000:]
    assert "continues at epoch" in first.err
    assert finished(tmp_path / "killed") == finished(tmp_path / "whole")


def rank_of(parent: int, rank: int) -> int:
    """The process that torchrun started as that rank."""
    for entry in Path("/proc").iterdir():
        try:
            status = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            if int(status[1]) == parent and f"RANK={rank}".encode() in (
                entry / "environ"
            ).read_bytes().split(b"\0"):
                return int(entry.name)
        except (OSError, IndexError, ValueError):
            continue
    raise AssertionError("no such process")


@pytest.mark.processes
@pytest.mark.timeout(300)
def test_errors_are_told_once(tmp_path: Path) -> None:
    find = ["-m", "edarts", "find", "digits", *TINY, "--out", "run"]
    for words, error in (
        ([*find, "--lr", "1e30"], "the loss became NaN or infinite"),
        (["-m", "edarts", "zoo", "list"], "error: zoo runs in one process; torchrun is for find"),
    ):
        first, second = ranks(*words, cwd=tmp_path)
        assert first.poll() and second.poll()
        assert (first.err + second.err).count(error) == 1


@pytest.mark.parametrize(
    "method",
    [
        pytest.param(name, marks=[] if name in ("edarts", "snas") else [pytest.mark.slow])
        for name in METHODS
    ],
)
def test_searches_take_bf16(method: str) -> None:
    data = tiny_data()
    config, space, _ = oneshot.resolve_config(tiny_config(method), len(data), len(data.classes))
    runtime = Runtime(torch.device("cpu"), precision="bf16")
    found = oneshot.one_shot(data, config, space, runtime)
    assert found.architecture in space


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_training_ends_where_the_plain_one_does() -> None:
    data = tiny_data()
    config = train.resolve_config(
        TrainConfig(epochs=1, cells=1, channels=4, batch_size=24, lr=0.01), len(data)
    )
    found = []
    for compiled in (False, True):
        genotype = zoo.get("darts.v2").architecture
        network = train.build(genotype, config, data, 0)
        names = list(network.state_dict())
        fitted = train.fit(
            network, data, config, device.runtime(Session(device="cpu", compile=compiled))
        )
        assert list(fitted.network.state_dict()) == names
        found.append(fitted.history[-1]["loss"])
    assert found[1] == pytest.approx(found[0], rel=1e-3)
